"""Tables in the house's form: one header row, true signs, scopes, and no digit changed."""

import re

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import pandas as frames

from splithistory.pages import tables


def parts(frame):
    """Header rows and body rows of a rendered table, as texts."""
    table = BeautifulSoup(tables.render(frame), "html.parser").table
    return [
        [[cell.get_text(strip=True) for cell in row.find_all(["th", "td"])] for row in part.find_all("tr")]
        for part in (table.thead, table.tbody)
    ]


def test_names_of_the_index_stand_beside_those_of_the_columns():
    index = pd.MultiIndex.from_product([["grid"], [1, 2]], names=["world", "L"])
    head, body = parts(pd.DataFrame({"Op": [1.0, -2.5]}, index=index))
    assert head == [["world", "L", "Op"]]
    assert body == [["grid", "1", "1.0"], ["2", "−2.5"]]


def test_a_long_text_is_not_cut():
    text = "word " * 40
    _, body = parts(pd.DataFrame({"said": [text]}, pd.Index([text], name="asked")))
    assert body == [[text.strip(), text.strip()]]


def test_a_name_of_the_columns_stands_above_them():
    frame = pd.DataFrame([[1, 2]], index=pd.Index(["Op"], name="by"), columns=pd.Index([200, 3000], name="n"))
    assert parts(frame)[0] == [["", "n"], ["by", "200", "3000"]]


def test_two_levels_of_columns_keep_both_header_rows():
    frame = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")]))
    assert parts(frame)[0] == [["", "a"], ["", "x", "y"]]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("-0.5 ± 0.1", "−0.5\u00a0±\u00a00.1"),
        ("95 %", "95\u00a0%"),
        ("a-1", "a-1"),
        ("0.2 (-.1 to 1)", "0.2 (−.1 to 1)"),
    ],
)
def test_signs_are_true_and_numbers_do_not_break(given, shown):
    assert tables.typeset(given) == shown


def test_only_columns_of_numbers_are_marked_as_such():
    frame = pd.DataFrame({"value": ["0.1 ± 0.2", "−3"], "why": ["2 of them", "no"], "none": [np.nan, 1.0]})
    soup = BeautifulSoup(tables.render(frame), "html.parser")
    assert [cell.get_text() for cell in soup.thead.find_all(class_="number")] == ["value", "none"]
    assert [cell.get_text() for cell in soup.tbody.find_all("td")[:3]] == [
        "0.1\u00a0±\u00a00.2",
        "2 of them",
        "–",
    ]


def test_every_header_says_what_it_heads_and_none_is_empty():
    index = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["group", None])
    html = tables.render(pd.DataFrame({"x": range(4)}, index=index))
    for cell in BeautifulSoup(html, "html.parser").find_all("th"):
        assert cell.get_text(strip=True) and cell["scope"] in ("row", "rowgroup", "col", "colgroup")


def test_what_looks_like_markup_in_a_cell_stays_text():
    html = tables.render(pd.DataFrame({"<b>x</b>": ["<script>1</script>"]}))
    assert "<script>" not in html and "<b>" not in html


@given(
    frames.data_frames([frames.column("x", dtype=float), frames.column("name", elements=st.text(max_size=5))])
)
def test_no_digit_of_what_pandas_shows_is_lost_or_changed(frame):
    def digits(html):
        return re.findall(r"\d+", BeautifulSoup(html, "html.parser").get_text(" "))

    assert digits(tables.render(frame)) == digits(frame.to_html(border=0, na_rep="–"))
