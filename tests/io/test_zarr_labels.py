"""Labels beside an OME-Zarr image, read back with the zarr library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from helpers.ome_zarr import write_ome_zarr
from numpy.typing import NDArray

from bioseg_cli.io.ome_zarr import OmeZarrImage
from bioseg_cli.io.zarr_labels import writing_labels

NAMES, COLOURS = ("background", "cell"), ((0, 0, 0), (255, 180, 0))


def write(image: Path, labels: NDArray[Any], step: int = 7, name: str = "run") -> zarr.Group:
    """Write labels (frames, H, W) in blocks of a few rows."""
    path = image / "labels" / name
    with writing_labels(path, OmeZarrImage(image), labels.dtype, NAMES, COLOURS) as writer:
        for frame, page in enumerate(labels):
            for top in range(0, len(page), step):
                writer.write(frame, page[top : top + step])
    return zarr.open_group(path, mode="r")


def metadata_of(group: zarr.Group) -> dict[str, Any]:
    attributes: Any = dict(group.attrs)
    return dict(attributes.get("ome", attributes))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_labels_have_the_axes_scales_and_levels_of_the_image(tmp_path: Path, zarr_format: int) -> None:
    pixels = np.zeros((2, 3, 2, 71, 50), np.uint16)
    image = write_ome_zarr(tmp_path / "a.zarr", pixels, "tczyx", zarr_format=zarr_format, levels=3)
    labels = np.random.default_rng(0).integers(0, 2, (4, 71, 50)).astype(np.uint8)
    group = write(image, labels)
    full: Any = group["0"]
    assert full.shape == (2, 1, 2, 71, 50) and full.dtype == np.uint8 and group.metadata.zarr_format == zarr_format
    np.testing.assert_array_equal(full[...].reshape(labels.shape), labels)
    for level, (height, width) in ((1, (36, 25)), (2, (18, 13))):
        nearest = [np.floor((np.arange(n) + 0.5) * full_n / n).astype(int) for n, full_n in ((height, 71), (width, 50))]
        stored: Any = group[str(level)]
        np.testing.assert_array_equal(stored[...].reshape(4, height, width), labels[:, nearest[0]][:, :, nearest[1]])
    of_image, of_labels = metadata_of(zarr.open_group(image, mode="r")), metadata_of(group)
    theirs, ours = of_image["multiscales"][0], of_labels["multiscales"][0]
    assert ours["axes"] == theirs["axes"]
    transformations = [dataset["coordinateTransformations"] for dataset in theirs["datasets"]]
    assert [dataset["coordinateTransformations"] for dataset in ours["datasets"]] == transformations
    assert [dataset["path"] for dataset in ours["datasets"]] == ["0", "1", "2"]
    assert of_labels["image-label"]["colors"] == [
        {"label-value": 0, "rgba": [0, 0, 0, 0]},
        {"label-value": 1, "rgba": [255, 180, 0, 255]},
    ]
    assert of_labels["image-label"]["properties"][1] == {"label-value": 1, "name": "cell"}
    assert of_labels["image-label"]["source"] == {"image": "../../"}
    version = of_labels["version"] if zarr_format == 3 else ours["version"]
    assert version == {2: "0.4", 3: "0.5"}[zarr_format]


def test_labels_of_an_image_with_columns_first_are_turned(tmp_path: Path) -> None:
    image = write_ome_zarr(tmp_path / "a.zarr", np.zeros((50, 71), np.uint16), "xy")
    labels = np.random.default_rng(0).integers(0, 2, (1, 71, 50)).astype(np.uint8)
    full: Any = write(image, labels)["0"]
    np.testing.assert_array_equal(full[...], labels[0].T)


def test_labels_of_an_image_with_planes_before_time_points_have_its_order(tmp_path: Path) -> None:
    image = write_ome_zarr(tmp_path / "a.zarr", np.zeros((3, 2, 40, 50), np.uint16), "ztyx")
    labels = np.random.default_rng(0).integers(0, 2, (2, 3, 40, 50)).astype(np.uint8)  # T, Z
    full: Any = write(image, labels.reshape(6, 40, 50))["0"]
    np.testing.assert_array_equal(full[...], labels.swapaxes(0, 1))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_list_of_labels_keeps_those_of_others(tmp_path: Path, zarr_format: int) -> None:
    image = write_ome_zarr(tmp_path / "a.zarr", np.zeros((40, 50), np.uint16), "yx", zarr_format=zarr_format)
    for name in ("first", "second", "first"):
        write(image, np.ones((1, 40, 50), np.uint8), name=name)
    labels = zarr.open_group(image / "labels", mode="r")
    assert metadata_of(labels)["labels"] == ["first", "second"]


def test_an_error_leaves_what_stood_there_and_a_killed_writer_is_cleared_away(tmp_path: Path) -> None:
    image = write_ome_zarr(tmp_path / "a.zarr", np.zeros((40, 50), np.uint16), "yx")
    write(image, np.ones((1, 40, 50), np.uint8))
    with (
        pytest.raises(KeyboardInterrupt),
        writing_labels(image / "labels" / "run", OmeZarrImage(image), np.dtype(np.uint8), NAMES, COLOURS) as writer,
    ):
        writer.write(0, np.zeros((33, 50), np.uint8))
        raise KeyboardInterrupt
    kept: Any = zarr.open_group(image / "labels" / "run", mode="r")["0"]
    assert kept[...].all() and sorted(p.name for p in (image / "labels").iterdir() if p.is_dir()) == ["run"]
    with (
        pytest.raises(ValueError, match="not all rows"),
        writing_labels(image / "labels" / "new", OmeZarrImage(image), np.dtype(np.uint8), NAMES, COLOURS) as writer,
    ):
        writer.write(0, np.zeros((33, 50), np.uint8))
    assert not (image / "labels" / "new").exists()
    for name in ("new", "[ab]*"):
        (image / "labels" / f".{name}.1.partial-labels").mkdir()
        (image / "labels" / f".{name}.1-old.partial-labels").mkdir()
        write(image, np.ones((1, 40, 50), np.uint8), name=name)
    assert sorted(p.name for p in (image / "labels").iterdir() if p.is_dir()) == ["[ab]*", "new", "run"]


@pytest.mark.parametrize("name", ["new*", "new", "[mn]ew"])
def test_what_another_writer_has_begun_is_left_alone(tmp_path: Path, name: str) -> None:
    image = write_ome_zarr(tmp_path / "a.zarr", np.zeros((40, 50), np.uint16), "yx")
    write(image, np.ones((1, 40, 50), np.uint8))
    others = [image / "labels" / f".{other}.1.partial-labels" for other in ("new.2", "new2", "newer")]
    for other in others:
        other.mkdir()
    write(image, np.ones((1, 40, 50), np.uint8), name=name)
    assert all(map(Path.is_dir, others))
