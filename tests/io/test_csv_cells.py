"""Tables in which a spreadsheet finds no formula."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioseg_cli.io.csv_cells import defused, restored, write_csv


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "-", "--", "'=1"])
def test_what_a_spreadsheet_would_compute_begins_with_an_apostrophe(text: str):
    assert defused(text) == f"'{text}"
    assert restored(defused(text)) == text


@pytest.mark.parametrize("cell", [-1.5, -3, 0, None, True, "-1.5", "+3", "-1e-5", "-inf", "a=b", "a-1.tif", "'a'", ""])
def test_numbers_and_other_texts_stay_as_they_are(cell: Any):
    assert defused(cell) is cell
    assert restored(str(cell)) == str(cell)


@given(st.text(st.sampled_from(list("'=+-@\t\ra1.")), max_size=6))
def test_every_name_can_be_had_back(text: str):
    shown = defused(text)
    assert restored(shown) == text
    assert shown[:1] not in {*"=+-@\t\r"} or float(shown) == float(text)


def test_a_table_with_names_of_columns_that_are_formulas():
    stream = io.StringIO()
    write_csv(stream, ["image", "=x"], [{"image": "=1\n2", "=x": -1.5}, {"image": "b"}])
    assert stream.getvalue() == "image,'=x\n\"'=1\n2\",-1.5\nb,\n"
    assert list(csv.reader(io.StringIO(stream.getvalue())))[1] == ["'=1\n2", "-1.5"]
