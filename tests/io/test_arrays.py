"""Arrays of a program: what are no intensities is named by its type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bioseg_cli
from bioseg_cli.errors import DataError
from bioseg_cli.io.arrays import checked_values

COMPOUND = np.dtype([("red", "u1"), ("green", "u1")])
NO_NUMBERS: list[tuple[Any, str]] = [
    ("datetime64[s]", "datetime64"),
    ("timedelta64[ms]", "timedelta64"),
    (object, "object"),
    (COMPOUND, "red"),
    ("U5", "<U5"),
    ("S5", "S5"),
    ("V3", "V3"),
    ("c8", "complex64"),
]


@pytest.mark.parametrize(("dtype", "named"), NO_NUMBERS)
def test_what_are_no_intensities_is_named(dtype: Any, named: str):
    with pytest.raises(DataError, match="are no intensities") as caught:
        checked_values(np.zeros((1, 4, 4), dtype), "a")
    assert named in caught.value.what and caught.value.where == "a"


@pytest.mark.parametrize(("dtype", "named"), NO_NUMBERS)
def test_no_data_set_is_made_of_it(tmp_path: Path, dtype: Any, named: str):
    images = [np.zeros((16, 16), dtype) for _ in range(6)]
    labels = [np.eye(16, dtype=np.uint8) for _ in range(6)]
    with pytest.raises(DataError, match="are no intensities") as caught:
        bioseg_cli.prepare_arrays(images, labels, class_names=["a", "b"], out=tmp_path / "x.h5")
    assert named in caught.value.what
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [">u2", "<u2", ">f4", "?", "i8", "f2"])
def test_numbers_keep_their_value_in_the_byte_order_of_the_machine(dtype: str):
    found = checked_values(np.ones((1, 2, 2), dtype), None)
    assert found.dtype.isnative and (found == 1).all()
