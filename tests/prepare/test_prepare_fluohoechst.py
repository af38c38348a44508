from __future__ import annotations

from collections import Counter
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError
from bioseg_cli.prepare import session
from bioseg_cli.prepare.recipes.settings import FluoHoechstConfig
from bioseg_cli.runs.console import ConsoleOutput

pytestmark = pytest.mark.slow

SHAPE = (40, 56)
NAMES = [f"IXMtest_{well}_s{site}_w1ABC" for well in ("A02", "A06", "B04", "C01") for site in (1, 2, 3)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twelve fields of four wells in BBBC039's layout; the last one is empty."""
    root = tmp_path / "BBBC039"
    for folder in ("images", "masks", "metadata"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in NAMES:
        tifffile.imwrite(root / "images" / f"{name}.tif", rng.integers(100, 900, SHAPE).astype(np.uint16))
        mask = np.zeros((*SHAPE, 4), np.uint8)
        mask[..., 3] = 255
        if name != NAMES[-1]:
            mask[10:20, 10:20, 0] = 1
            mask[10:20, 20:28, 0] = 2
        iio.imwrite(root / "masks" / f"{name}.png", mask)
    for file, names in (("training", NAMES[:6]), ("validation", NAMES[6:9]), ("test", NAMES[9:])):
        (root / "metadata" / f"{file}.txt").write_text("".join(f"{name}.png\n" for name in names))
    return root


def prepare(source: Path, **settings: object) -> dict:
    out = source.parent / "set.h5"
    return session.run(
        FluoHoechstConfig(source=source, out=out, **{"crop": 32, **settings}), ConsoleOutput(quiet=True), overwrite=True
    ).to_json()


def test_official_lists(source) -> None:
    summary = prepare(source)
    assert {split: counts["labelled"] for split, counts in summary["images"].items()} == {
        "train": 6, "val": 3, "test": 3,
    }  # fmt: skip
    with Dataset(source.parent / "set.h5") as dataset:
        assert [Path(dataset.source(i).file).stem for i in dataset.indices("val")] == NAMES[6:9]
        assert dataset.group[0] == "A02"
        last = dataset.size - 1
        assert dataset.labelled[last]
        assert not dataset.labels(last).any()


def test_both_touching_nuclei_are_foreground(source) -> None:
    prepare(source, crop=0)
    with Dataset(source.parent / "set.h5") as dataset:
        expected = np.zeros(SHAPE, np.uint8)
        expected[10:20, 10:28] = 1
        np.testing.assert_array_equal(dataset.labels(0), expected)
        assert [len(np.unique(dataset.objects(index)[10:20, 10:28])) for index in (0, 1)] == [2, 2]
        assert not dataset.objects(dataset.size - 1).any()


@pytest.mark.parametrize(("purpose", "side"), [("semi-supervised", 512), ("self-supervised", 128)])
def test_the_crops_of_the_study(source, purpose, side) -> None:
    assert prepare(source, crop=None, purpose=purpose)["image_shape"] == [1, side, side]


def test_a_missing_test_list_is_said(source) -> None:
    (source / "metadata" / "test.txt").unlink()
    summary = prepare(source)
    assert summary["images"]["test"] == {"labelled": 0, "unlabelled": 0}
    assert any("test.txt is not there" in note for note in summary["notes"])
    assert any("3 images stand in no official list" in note for note in summary["notes"])


def test_no_lists(source) -> None:
    for path in (source / "metadata").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="None of the official lists"):
        prepare(source)


def test_wells_stay_together(source) -> None:
    prepare(source, split_by="group")
    with Dataset(source.parent / "set.h5") as dataset:
        assert Counter(dataset.split) == {"train": 6, "val": 3, "test": 3}
        for well in set(dataset.group):
            assert len(set(dataset.split[dataset.group == well])) == 1


def test_a_random_split_warns_of_wells(source, capsys) -> None:
    prepare(source, split_by="random")
    assert "The scores will be too good" in capsys.readouterr().err


def test_fields_without_a_mask_are_unlabelled(source) -> None:
    (source / "masks" / f"{NAMES[0]}.png").unlink()
    assert prepare(source)["images"]["train"] == {"labelled": 5, "unlabelled": 1}


def test_a_listed_field_that_is_missing(source) -> None:
    (source / "images" / f"{NAMES[0]}.tif").unlink()
    with pytest.raises(DataError, match=f"1 listed fields have no image: {NAMES[0]}"):
        prepare(source)


def test_a_list_that_is_no_text(source) -> None:
    (source / "metadata" / "test.txt").write_bytes(b"\xff\xfea.png\n")
    with pytest.raises(DataError, match="1 listed fields have no image"):
        prepare(source)


def test_a_field_in_two_lists(source) -> None:
    (source / "metadata" / "test.txt").write_text(f"{NAMES[0]}.png\n")
    with pytest.raises(DataError, match="two official lists"):
        prepare(source)


def test_another_layout(source) -> None:
    with pytest.raises(DataError, match="no such folder") as caught:
        prepare(source / "masks")
    assert "DIR/images/*.tif" in str(caught.value)


def test_offline(tmp_path) -> None:
    config = FluoHoechstConfig(out=tmp_path / "set.h5", mirror="http://127.0.0.1:9")
    with pytest.raises(DataError) as caught:
        session.run(config, ConsoleOutput(quiet=True), overwrite=False)
    assert caught.value.exit_code == 3
    assert "--source DIR: DIR/images/*.tif" in str(caught.value)


def test_real_fields(real_data, tmp_path) -> None:
    source = real_data / "BBBC039"
    summary = session.run(
        FluoHoechstConfig(source=source, out=tmp_path / "set.h5", purpose="self-supervised", normalize="minmax"),
        ConsoleOutput(quiet=True),
        overwrite=False,
    ).to_json()
    assert summary["images"]["train"] == {"labelled": 100, "unlabelled": 0}
    assert summary["images"]["val"] == {"labelled": 50, "unlabelled": 0}
    with Dataset(tmp_path / "set.h5") as dataset:
        first = dataset.source(0)
        pixels = tifffile.imread(source / "images" / first.file)
        np.testing.assert_array_equal(dataset.image(0)[0], pixels[196 : 196 + 128, 284 : 284 + 128])
        mask = iio.imread(source / "masks" / f"{Path(first.file).stem}.png")
        np.testing.assert_array_equal(dataset.labels(0), mask[196 : 196 + 128, 284 : 284 + 128, 0] > 0)
