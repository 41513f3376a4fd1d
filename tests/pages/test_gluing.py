"""What a cell hands to the prose reaches the book and, beneath the cell, Jupyter."""

import base64

import IPython.display
import matplotlib.pyplot as plt
import nbformat
import pytest
from myst_nb.ext.glue import GLUE_PREFIX, extract_glue_data_cell

from splithistory.pages import figures, findings, gluing


@pytest.fixture
def cell(monkeypatch):
    """A code cell that receives what is displayed."""
    cell = nbformat.v4.new_code_cell()

    def display(data, raw, metadata):
        assert raw
        cell.outputs.append(nbformat.v4.new_output("display_data", data=data, metadata=metadata))

    monkeypatch.setattr(IPython.display, "display", display)
    return cell


def test_the_book_finds_a_number_and_jupyter_shows_it_by_its_name(cell):
    findings.quote(change="-0.5 ± 0.1, 3 % < 4 % of feed-forward")
    text = "−0.5\u00a0±\u00a00.1, 3\u00a0% < 4\u00a0% of feed-forward"
    assert cell.outputs[0].data["text/html"] == f"<code>change</code> = {text.replace('<', '&lt;')}"
    ((name, glued),) = extract_glue_data_cell(cell)
    assert (name, glued.data["text/plain"]) == ("change", repr(text)) and "text/html" not in glued.data
    assert cell.outputs == []  # on the page nothing stands beneath the cell


def test_texts_and_numbers_are_read_back_as_they_were_handed_over_and_a_figure_is_neither(cell):
    findings.quote(text="it's 0.41")
    findings.record(number=2.5)
    cell.outputs.append(nbformat.v4.new_output("display_data", data={"text/plain": "2"}))  # not handed over
    figure = {f"{gluing.PREFIX}text/plain": "<Figure size 1x1 with 1 Axes>"}
    cell.outputs.append(nbformat.v4.new_output("display_data", data=figure))
    assert [gluing.glued_name(output) for output in cell.outputs] == ["text", "number", None, None]
    assert [gluing.glued_value(output) for output in cell.outputs] == ["it's 0.41", 2.5, None, None]
    assert gluing.PREFIX == GLUE_PREFIX


def test_the_book_finds_a_figure_and_jupyter_shows_a_picture_that_it_draws_without_trust(cell):
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell.instance()
    figures.use_house_style()
    fig, _ = plt.subplots(figsize=(2, 1))
    figures.keep(fig, "fig-line")
    output = cell.outputs[0]
    picture = base64.b64decode(output.data["image/png"])
    assert picture.startswith(b"\x89PNG") and output.metadata["image/png"]["width"] > 50
    assert "image/svg+xml" not in output.data  # Jupyter leaves one empty in a notebook that was downloaded
    ((name, glued),) = extract_glue_data_cell(cell)
    assert name == "fig-line" and "image/png" not in glued.data and cell.outputs == []
    assert not plt.get_fignums()
