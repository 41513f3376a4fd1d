"""What pages say of numbers: findings asserted, numbers quoted as text, tables of intervals."""

import json

import numpy as np
import pandas as pd
import pytest

from splithistory.pages import findings
from splithistory.pages.tables import typeset
from splithistory.study.store import write_manifest


def test_what_a_trend_could_have_shown_is_said_for_each_interval():
    changes = [(0.0, 0.1), (0.5, 0.2)]
    said = findings.could_see(changes, 5, "nats")
    assert said == "true changes of 0.14, 0.27 nats would be found clear with probability 0.8"
    assert findings.could_see(changes, 5) == said.replace(" nats", "")  # a rate, a ratio


def test_a_number_that_was_not_rounded_to_text_is_refused():
    with pytest.raises(ValueError, match=r"op: given 0.1, allowed is text"):
        findings.quote(op=0.1)


@pytest.mark.parametrize("number", ["0.1", True, [0.1], None, 1j])
def test_what_is_no_number_is_not_recorded(number):
    with pytest.raises(ValueError, match=r"^op: given .*, allowed is a number$"):
        findings.record(op=number)


@pytest.mark.parametrize(
    ("text", "number"),
    [("+0.013", 0.013), ("1e+06", 1e6), ("-2.5e-3", -2.5e-3), ("1,500", 1500), ("12 %", 12), ("+", None)],
)
def test_a_text_that_is_a_number_is_recorded_as_one_whatever_its_sign(text, number):
    value = findings._row("a", typeset(text))["value"]
    assert np.isnan(value) if number is None else value == number


def test_a_finding_that_fails_stops_the_chapter_only_where_it_is_asserted(capsys):
    findings.found("it rises", False, asserted=False)
    findings.found("it rises", None, asserted=False)
    assert capsys.readouterr().out == "it rises: no\nit rises: too small to tell\n"
    for holds in (False, None):
        with pytest.raises(AssertionError, match="it no longer shows that it rises"):
            findings.found("it rises", holds, asserted=True)


def test_a_table_of_intervals_leaves_what_is_missing_empty():
    shown = findings.table({"Op": {2: (0.5, 0.1), 4: (1.0, 0.25)}, "Imp": {2: (0.25, 0.125)}}, digits=2)
    assert shown.loc["Op"].tolist() == ["0.50 ± 0.10", "1.00 ± 0.25"]
    assert shown.loc["Imp"].tolist() == ["0.25 ± 0.12", ""]


def test_an_interval_gets_the_word_that_it_allows():
    words = "fewer", "as many", "more"
    intervals = [(-2.0, 1.0), (-1.0, 1.0), (0.5, 1.0), (2.0, 1.0)]
    assert [findings.word(each, *words) for each in intervals] == ["fewer", "as many", "as many", "more"]


def test_a_cell_of_a_table_may_be_a_text_or_missing():
    shown = findings.table({"a": {2: (0.5, 0.25), "note": "by hand"}, "b": {4: (1.0, 0.0)}}, digits=2)
    assert shown.loc["a"].to_dict() == {2: "0.50 ± 0.25", "note": "by hand", 4: ""}
    assert shown.loc["b"].to_dict() == {2: "", "note": "", 4: "1.00 ± 0.00"}


def test_a_table_shows_ranges_and_texts_too():
    shown = findings.table({"a": {"auc": (0.9, (0.85, 1.0)), "of": "3 of 4"}}, digits=2, index="arm")
    assert shown.loc["a"].tolist() == ["0.90 (0.85 to 1.00)", "3 of 4"] and shown.index.name == "arm"


def test_a_table_of_what_is_not_there_yet_is_empty():
    assert findings.table({}, index=["arm", "size"]).empty


def test_cells_are_laid_out_in_the_order_in_which_they_come():
    cells = {("b", "op", "53k"): (1.0, 0.5), ("b", "op", "18k"): "2", ("a", "op", "18k"): "3"}
    shown = findings.laid_out(cells, ["arm", "by"], digits=1)
    assert shown.index.tolist() == [("b", "op"), ("a", "op")] and shown.columns.tolist() == ["53k", "18k"]
    assert shown.to_numpy().tolist() == [["1.0 ± 0.5", "2"], ["", "3"]]


def test_texts_of_arms_are_one_sentence():
    cells = {"sampled": "1 of 2", "exact": (0.5, 0.25), "acted": (0.5, (0.25, 0.75))}
    said = "1 of 2 (sampled arm); 0.50 ± 0.25 (exact arm); 0.50 (0.25 to 0.75; acted arm)"
    assert findings.by_arm(cells, 2) == said


def test_shares_are_in_percent_with_the_ends_of_their_interval():
    assert findings.percent(0.894) == "89 %"
    assert findings.percent(0.875, (0.853, 0.895), 1) == "87.5 % (85.3 to 89.5)"


def test_columns_and_their_errors_become_one_text_each():
    index = pd.Index([20, 200], name="n")
    rows = pd.DataFrame({"bias": [0.5, 0.25], "bias_error": [0.1, 0.05], "runs": 3}, index)
    shown = findings.with_errors(rows, "bias", digits=2)
    assert shown["bias"].tolist() == ["0.50 ± 0.10", "0.25 ± 0.05"]
    assert list(shown.columns) == ["bias"] and shown.index.equals(index)


def test_timings_of_the_benchmark_are_read_by_device_medians_of_rounds(tmp_path):
    reports = [{"device": "cpu", "solve": {"2": [1.0, 9.0, 3.0], "4": 5.0}}, {"device": "gpu"}]
    for number, report in enumerate(reports):
        (tmp_path / f"{number}.json").write_text(json.dumps(report))
    write_manifest(tmp_path, {})
    found = findings.benchmarked(tmp_path, "solve")
    assert list(found) == ["cpu"] and found["cpu"].tolist() == [[2, 4], [3.0, 5.0]]


@pytest.mark.parametrize("what", ["missing", "altered", "manifest", "all"])
def test_reports_that_are_not_as_they_were_written_are_refused_in_a_line(what, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"device": name, "solve": {"2": [1.0]}}))
    write_manifest(tmp_path, {})
    gone = {"missing": ["b.json"], "manifest": ["manifest.json"], "altered": []}
    for name in gone.get(what, ["a.json", "b.json", "manifest.json"]):
        (tmp_path / name).unlink()
    if what == "altered":
        (tmp_path / "b.json").write_text(json.dumps({"device": "b", "solve": {"2": [0.5]}}))
    with pytest.raises(ValueError, match=r"^store: \S+ is missing( or altered)?; restore it with git$"):
        findings.benchmarked(tmp_path, "solve")


@pytest.mark.parametrize(
    ("device", "maker"),
    [
        ("cpu-2-amd-epyc", "AMD"),
        ("cpu-16-intel-r-xeon-r-processor", "Intel"),
        ("nvidia-h100", "Nvidia"),
        ("cpu", "CPU"),
    ],
)
def test_a_machine_is_called_by_its_maker(device, maker):
    assert findings.maker(device) == maker
