"""A data set that was edited after it was made is noticed: as it is opened, as it is read, and whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers.datasets import EDITS, brighter_pixel, edited, other_label, without_digests

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.verification import verify_content
from bioseg_cli.errors import DataError


@pytest.mark.parametrize(("named", "change"), EDITS.items(), ids=list(EDITS))
def test_what_was_edited_is_named_when_it_is_used(named: str, change, disc_dataset: Path, tmp_path: Path) -> None:
    path = edited(disc_dataset, tmp_path / "edited.h5", change)
    with pytest.raises(DataError, match="was changed after it was made") as caught, Dataset(path) as dataset:
        for index in range(dataset.size):
            dataset.image(index), dataset.labels(index)
    assert named in caught.value.what and caught.value.where == str(path)
    assert "bioseg prepare" in str(caught.value.fix)


def test_images_and_masks_beside_an_edited_one_are_read(disc_dataset: Path, tmp_path: Path) -> None:
    with (
        Dataset(edited(disc_dataset, tmp_path / "edited.h5", brighter_pixel)) as dataset,
        Dataset(disc_dataset) as whole,
    ):
        assert dataset.verified_as_read
        for index in set(range(dataset.size)) - {9}:
            np.testing.assert_array_equal(dataset.image(index), whole.image(index))
        np.testing.assert_array_equal(dataset.labels(9), whole.labels(9))
        with pytest.raises(DataError):
            dataset.image(9)


@pytest.mark.parametrize("change", EDITS.values(), ids=list(EDITS))
def test_the_whole_of_an_earlier_version_is_compared_with_its_hash(change, disc_dataset: Path, tmp_path: Path) -> None:
    path = edited(disc_dataset, tmp_path / "edited.h5", change, earlier=True)
    with Dataset(path) as dataset:
        assert not dataset.verified_as_read
        dataset.image(9), dataset.labels(3)
        with pytest.raises(DataError, match="not that of its content hash"):
            verify_content(dataset)


@pytest.mark.parametrize("earlier", [False, True])
def test_what_nobody_edited_is_what_it_was(earlier: bool, disc_dataset: Path, tmp_path: Path) -> None:
    path = edited(disc_dataset, tmp_path / "copy.h5", lambda file: None, earlier=earlier)
    tracked = []
    with Dataset(path) as dataset:
        verify_content(dataset, lambda parts: (tracked.append(part) or part for part in parts))
    assert len(tracked) == 13


def test_digests_are_not_dropped_one_by_one(disc_dataset: Path, tmp_path: Path) -> None:
    def drop_one(file: h5py.File) -> None:
        other_label(file)
        del file["digest/labels"]

    with pytest.raises(DataError), Dataset(edited(disc_dataset, tmp_path / "edited.h5", drop_one)):
        pass


def test_the_digest_of_an_image_is_that_of_its_pixels_in_any_version(disc_dataset: Path, tmp_path: Path) -> None:
    earlier = edited(disc_dataset, tmp_path / "earlier.h5", lambda file: None, earlier=True)
    with Dataset(disc_dataset) as dataset, Dataset(earlier) as other:
        digests = [dataset.digest(index) for index in range(dataset.size)]
        assert digests == [other.digest(index) for index in range(other.size)]
        assert len(set(digests)) == dataset.size


def test_the_content_hash_does_not_depend_on_the_digests(disc_dataset: Path, tmp_path: Path) -> None:
    path = shutil.copy(disc_dataset, tmp_path / "d.h5")
    with h5py.File(path, "r+") as file:
        assert file["digest/images"].shape == file["digest/labels"].shape == (13, 32)
        without_digests(file)
    with Dataset(disc_dataset) as dataset, Dataset(Path(path)) as other:
        assert dataset.content_hash == other.content_hash
