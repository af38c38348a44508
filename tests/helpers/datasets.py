"""Data sets that somebody has edited, and those of an earlier version."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py


def edited(source: Path, path: Path, change: Callable[[h5py.File], None], *, earlier: bool = False) -> Path:
    """A copy of a data set after something was done to it; with `earlier`, as a version without digests wrote it."""
    shutil.copy(source, path)
    with h5py.File(path, "r+") as file:
        if earlier:
            without_digests(file)
        change(file)
    return path


def without_digests(file: h5py.File) -> None:
    """Remove what an earlier version did not write."""
    del file.attrs["digests"], file["digest"]


def brighter_pixel(file: h5py.File) -> None:
    image = file["images"][9]
    image[0, 5, 7] += 1
    file["images"][9] = image


def other_label(file: h5py.File) -> None:
    labels = file["labels"][3]
    labels[20, 20] = 1 - labels[20, 20]
    file["labels"][3] = labels


def other_label_order(file: h5py.File) -> None:
    file["label_order"][:] = file["label_order"][:][::-1]


def other_normalisation(file: h5py.File) -> None:
    file.attrs["info"] = file.attrs["info"].replace("3200.0", "3210.0")


def other_split(file: h5py.File) -> None:
    file["split"][11] = "val"


EDITS = {
    "images[9] (disc9)": brighter_pixel,
    "labels[3] (disc3)": other_label,
    "`label_order`": other_label_order,
    "`info`": other_normalisation,
    "`split`": other_split,
}
"""By what the message names."""
