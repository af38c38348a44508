"""Images that come twice are found, whatever was done to the copy; images of other cells are not."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import discs, write_discs
from numpy.typing import NDArray
from PIL import Image

from bioseg_cli.dataset import copies
from bioseg_cli.dataset.copies import (
    ALIKE,
    copies_across_splits,
    copies_warning,
    is_blank,
    near_duplicates,
    signature,
)
from bioseg_cli.dataset.identity import ImageIdentity, KnownImages
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter

Pixels = NDArray[np.uint16]


def jpeg(image: Pixels) -> Pixels:
    grey = ((image[0] - 400.0) / 3000 * 255).clip(0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "jpeg", quality=80)
    return np.asarray(Image.open(stream))[None].astype(np.uint16)


ALTERED: dict[str, Callable[[Pixels], Pixels]] = {
    "itself": lambda image: image,
    "brighter": lambda image: (3 * image + 500).astype(np.uint16),
    "inverted": lambda image: (60000 - image).astype(np.uint16),
    "turned": lambda image: np.rot90(image, axes=(1, 2)),
    "mirrored": lambda image: image[:, :, ::-1],
    "mirrored and turned": lambda image: np.rot90(image[:, :, ::-1], 3, axes=(1, 2)),
    "noisier": lambda image: (image + np.random.default_rng(5).normal(0, 60, image.shape)).astype(np.uint16),
    "as JPEG": jpeg,
    "smaller": lambda image: image[:, ::2, ::2],
    "shaded": lambda image: (image * np.linspace(0.6, 1.4, image.shape[2])).astype(np.uint16),
}
NOT_FOUND = {"inverted"}
"""Its correlation is that of a negative."""


@pytest.mark.parametrize("how", ALTERED)
def test_a_copy_looks_alike_whatever_was_done_to_it(how: str) -> None:
    images = [discs(index, size=160)[0] for index in range(12)]
    altered = ALTERED[how](images[4])
    found = list(near_duplicates([signature(altered)], [signature(image) for image in images]))
    assert [pair[:2] for pair in found] == ([] if how in NOT_FOUND else [(0, 4)])


def test_images_of_other_cells_do_not_look_alike() -> None:
    signatures = [signature(discs(index)[0]) for index in range(60)]
    pairs = [pair for pair in near_duplicates(signatures, signatures) if pair[0] < pair[1]]
    assert pairs == []
    assert [pair[:2] for pair in near_duplicates(signatures[:3], signatures[:3])] == [(0, 0), (1, 1), (2, 2)]


def test_all_pairs_are_compared_however_many_there_are() -> None:
    random = np.random.default_rng(0)
    many = [signature(random.normal(size=(1, 40, 40))) for _ in range(600)]
    found = list(near_duplicates(many, many[::-1]))
    assert [(first, second) for first, second, _ in found] == [(i, 599 - i) for i in range(600)]
    assert all(likeness == pytest.approx(1, abs=1e-5) for *_, likeness in found)
    assert list(near_duplicates(many, [])) == list(near_duplicates([], many)) == []


@pytest.mark.parametrize("value", [0, 7, 65535])
def test_an_image_without_contrast_looks_like_none(value: int) -> None:
    blank = np.full((2, 50, 70), value, np.uint16)
    assert is_blank(blank) and not signature(blank).any()
    assert list(near_duplicates([signature(blank)], [signature(blank), signature(discs(0)[0])])) == []


def test_empty_fields_of_one_camera_do_not_look_alike() -> None:
    """They share the uneven light, and noise hides it from the eye; with cells, the same light is of no account."""
    random = np.random.default_rng(2)
    light = 1 + 0.004 * random.normal(size=(12, 12)).repeat(20, axis=0).repeat(20, axis=1)
    empty = [(1000 * light + random.normal(0, 15, light.shape))[None] for _ in range(4)]
    assert list(near_duplicates([signature(image) for image in empty], [signature(image) for image in empty])) == []
    clear = [(1000 * light + random.normal(0, 3, light.shape))[None] for _ in range(2)]
    assert len(list(near_duplicates([signature(clear[0])], [signature(clear[1])]))) == 1
    fields = [discs(index, size=240)[0] * light for index in range(4)]
    found = near_duplicates([signature(image) for image in fields], [signature(image) for image in fields])
    assert [pair[:2] for pair in found] == [(index, index) for index in range(4)]


@pytest.mark.parametrize("shape", [(3, 5), (31, 200), (32, 32), (97, 64)])
def test_parts_of_any_size_are_exact_means(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Enlarging an image by whole pixels changes nothing: means over equal parts are the same."""
    monkeypatch.setattr(copies, "LEAST_DETAIL", 0)  # the images are noise
    image = np.random.default_rng(1).integers(0, 4000, (2, *shape)).astype(np.uint16)
    larger = image.repeat(3, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(signature(image), signature(larger), atol=1e-4)
    assert np.linalg.norm(signature(image)) == pytest.approx(1, abs=1e-5)


def test_values_that_are_no_numbers_do_not_hide_a_copy() -> None:
    image = discs(0, size=160)[0].astype(np.float32)
    torn = image.copy()
    torn[0, 3, 3] = np.nan
    ((_, _, likeness),) = near_duplicates([signature(image)], [signature(torn)])
    assert likeness > ALIKE


# Copies within a data set ---------------------------------------------------------------------------------------------


def write_parts(path: Path, parts: list[tuple[str, int, int, tuple[int, int]]], *, blank: bool = False) -> Path:
    """A data set of 16 pixel parts: split, file, frame and corner of each."""
    with DatasetWriter(path, count=len(parts), image_shape=(1, 16, 16), image_dtype=np.uint16) as writer:
        for split, file, frame, (row, column) in parts:
            image, mask = discs(100 * file + frame, size=64)
            image = np.zeros_like(image) if blank else image
            window = slice(row, row + 16), slice(column, column + 16)
            source = ItemSource(f"{file}.tif", f"{file:064x}", frame, (row, column), (64, 64))
            writer.add(Item(image[:, *window], mask[window], split, f"g{file}", source))
        with Dataset(write_discs(path.with_name("discs.h5"), ("train", "val"))) as other:
            writer.finish(DatasetInfo("parts", {}, other.classes, other.info.normalisation))
    return path


def test_equal_pixels_and_common_parts_are_copies(tmp_path: Path) -> None:
    parts = [
        ("train", 1, 0, (0, 0)),
        ("train", 2, 0, (10, 10)),
        ("val", 1, 1, (0, 0)),  # another frame
        ("val", 1, 0, (0, 16)),  # beside it
        ("test", 1, 0, (15, 15)),  # one pixel in common
        ("test", 2, 0, (10, 10)),
        ("val", 3, 0, (0, 0)),
    ]
    with Dataset(write_parts(tmp_path / "parts.h5", parts)) as dataset:
        assert copies_across_splits(dataset) == [(0, 4), (1, 5)]
        warning = copies_warning(dataset)
    assert warning is not None and warning.startswith(
        "2 images for validation or test can be seen in training images too ("
    )


def test_blank_images_of_other_files_are_no_copies(tmp_path: Path) -> None:
    parts = [("train", 1, 0, (0, 0)), ("val", 2, 0, (0, 0))]
    with Dataset(write_parts(tmp_path / "parts.h5", parts, blank=True)) as dataset:
        assert dataset.digest(0) == dataset.digest(1)
        assert copies_across_splits(dataset) == [] and copies_warning(dataset) is None


def identity(rows: tuple[int, int], columns: tuple[int, int], pixels: str = "p", **changes: object) -> ImageIdentity:
    about = {"file": "a.tif", "sha256": "s", "frame": 0, "in_volume": False, "pixels": pixels} | changes
    return ImageIdentity(rows=rows, columns=columns, **about)  # type: ignore[arg-type]


def test_slices_of_a_volume_are_told_apart_by_their_pixels_alone() -> None:
    known = KnownImages[str]()
    known.add(identity((0, 9), (0, 9), "p", in_volume=True), "slice")
    same_place, same_pixels = identity((0, 9), (0, 9), "q", in_volume=True), identity((3, 5), (0, 9), in_volume=True)
    assert list(known.overlapping(same_place)) == [] and known.of_one_volume(same_place)
    assert list(known.equal(same_pixels)) == ["slice"] and list(known.equal(same_place)) == []
    assert not known.of_one_volume(identity((0, 9), (0, 9))) and not known.of_one_volume(
        identity((0, 9), (0, 9), in_volume=True, sha256="t")
    )


@pytest.mark.parametrize(
    ("rows", "columns", "overlapping"),
    [((0, 10), (0, 10), True), ((9, 20), (9, 20), True), ((10, 20), (0, 10), False), ((0, 10), (10, 12), False)],
)
def test_parts_overlap_where_they_have_a_pixel_in_common(
    rows: tuple[int, int], columns: tuple[int, int], overlapping: bool
) -> None:
    first, second = identity((0, 10), (0, 10)), identity(rows, columns)
    assert first.overlaps(second) == second.overlaps(first) == overlapping
    assert not first.overlaps(identity(rows, columns, frame=1)) and not first.overlaps(
        identity(rows, columns, sha256="t")
    )
