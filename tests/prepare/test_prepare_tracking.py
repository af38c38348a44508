from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError
from bioseg_cli.prepare import session
from bioseg_cli.prepare.recipes.settings import FluoGFPConfig, PhCConfig
from bioseg_cli.runs.console import ConsoleOutput

pytestmark = pytest.mark.slow

SHAPE = (60, 80)
FRAMES = 20
GOLD = (3, 9, 17)
CELLS = {1: np.s_[20:30, 20:34], 2: np.s_[20:30, 34:50], 7: np.s_[0:8, 0:8]}
"""Two cells that touch, and one in the corner."""


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, compression="lzw")


def mask_of(numbers) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint16)
    for number in numbers:
        mask[CELLS[number]] = number
    return mask


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two videos as the challenge publishes them, LZW-compressed, with HeLa's offset; gold frame 9 lacks cell 2."""
    root = tmp_path / "Fluo-N2DL-HeLa"
    rng = np.random.default_rng(0)
    for video in ("01", "02"):
        for frame in range(FRAMES):
            pixels = 32768 + rng.integers(0, 60, SHAPE) + 400 * (mask_of(CELLS) > 0)
            write(root / video / f"t{frame:03d}.tif", pixels.astype(np.uint16))
            write(root / f"{video}_ST" / "SEG" / f"man_seg{frame:03d}.tif", mask_of(CELLS))
            write(root / f"{video}_ERR_SEG" / f"mask{frame:03d}.tif", 1 - (mask_of(CELLS) > 0).astype(np.uint16))
            write(root / f"{video}_GT" / "TRA" / f"man_track{frame:03d}.tif", mask_of(CELLS))
        for frame in GOLD:
            drawn = [1, 7] if frame == 9 else CELLS
            write(root / f"{video}_GT" / "SEG" / f"man_seg{frame:03d}.tif", mask_of(drawn))
    return root


def prepare(source: Path, **settings: object) -> dict:
    settings = {"crop": 0, **settings}
    config = FluoGFPConfig(source=source, out=source.parent / "set.h5", **settings)
    return session.run(config, ConsoleOutput(quiet=True), overwrite=True).to_json()


def splits_of(source: Path) -> dict[str, str]:
    with Dataset(source.parent / "set.h5") as dataset:
        return {dataset.source(i).file: str(dataset.split[i]) for i in range(dataset.size)}


def test_the_second_video_tests_and_the_end_of_the_first_validates(source) -> None:
    summary = prepare(source)
    assert {split: counts["labelled"] for split, counts in summary["images"].items()} == {
        "train": 11, "val": 4, "test": 20,
    }  # fmt: skip
    splits = splits_of(source)
    assert splits["01/t010.tif"] == "train"
    assert splits["01/t016.tif"] == "val"
    assert not {f"01/t{frame:03d}.tif" for frame in range(11, 16)} & set(splits)
    assert {splits[f"02/t{frame:03d}.tif"] for frame in range(FRAMES)} == {"test"}
    assert any("5 frames between the blocks" in note for note in summary["notes"])


def test_names_are_unique_and_groups_are_videos(source) -> None:
    prepare(source)
    with Dataset(source.parent / "set.h5") as dataset:
        assert set(dataset.group) == {"01", "02"}
        assert len({dataset.name(i) for i in range(dataset.size)}) == dataset.size


def test_silver_masks_are_foreground_and_the_border_is_ignored(source) -> None:
    prepare(source, border=5)
    expected = (mask_of(CELLS) > 0).astype(np.uint8)
    expected[:5] = expected[-5:] = 255
    expected[:, :5] = expected[:, -5:] = 255
    with Dataset(source.parent / "set.h5") as dataset:
        np.testing.assert_array_equal(dataset.labels(0), expected)


def test_the_offset_is_kept_and_normalised_away(source) -> None:
    prepare(source)
    with Dataset(source.parent / "set.h5") as dataset:
        assert dataset.image(0).min() >= 32768
        normalised = dataset.normalised(0)[0]
        assert normalised[mask_of(CELLS) > 0].mean() > 0.8
        assert normalised[mask_of(CELLS) == 0].mean() < 0.2


def test_gold_masks(source) -> None:
    summary = prepare(source, truth="gold", val_share=0.4, gap=0)
    assert summary["images"]["train"] == {"labelled": 2, "unlabelled": 15}
    assert any("4 of 6 gold masks show every tracked cell" in note for note in summary["notes"])
    with Dataset(source.parent / "set.h5") as dataset:
        labels = {dataset.source(i).file: dataset.labels(i) for i in range(dataset.size)}
    assert set(np.unique(labels["01/t003.tif"]).tolist()) == {0, 1}
    incomplete = labels["01/t009.tif"]
    np.testing.assert_array_equal(incomplete == 1, mask_of([1, 7]) > 0)
    assert set(np.unique(incomplete).tolist()) == {1, 255}
    assert (labels["01/t000.tif"] == 255).all()


def test_one_video_is_cut_in_three(source) -> None:
    summary = prepare(source, sequences="01", gap=2)
    assert {split: counts["labelled"] for split, counts in summary["images"].items()} == {
        "train": 10, "val": 2, "test": 4,
    }  # fmt: skip


def test_a_random_split_warns(source, capsys) -> None:
    summary = prepare(source, split_by="random", sequences="01")
    assert {split: counts["labelled"] for split, counts in summary["images"].items()} == {
        "train": 12, "val": 4, "test": 4,
    }  # fmt: skip
    assert "Warning: images of one group train and are scored (01)" in capsys.readouterr().err


def test_the_folder_above_may_be_given(source) -> None:
    prepare(source.parent)


def test_frames_without_a_mask_are_unlabelled(source) -> None:
    (source / "01_ST" / "SEG" / "man_seg004.tif").unlink()
    assert prepare(source)["images"]["train"]["unlabelled"] == 1


def test_the_field_of_interest_is_ignored_when_asked(tmp_path) -> None:
    rng = np.random.default_rng(0)
    for frame in range(12):
        write(tmp_path / "01" / f"t{frame:03d}.tif", rng.integers(0, 255, (130, 140)).astype(np.uint8))
        mask = np.zeros((130, 140), np.uint16)
        mask[55:70, 55:75] = 3
        write(tmp_path / "01_ST" / "SEG" / f"man_seg{frame:03d}.tif", mask)
    summary = session.run(
        PhCConfig(source=tmp_path, out=tmp_path / "set.h5", gap=1, border=50),
        ConsoleOutput(quiet=True),
        overwrite=False,
    ).to_json()
    assert summary["image_shape"] == [1, 512, 512]
    assert summary["pixel_size"] == {"y": 0.65, "x": 0.65, "unit": "µm"}
    with Dataset(tmp_path / "set.h5") as dataset:
        assert (dataset.labels(0) != 255).sum() == 30 * 40
        assert (dataset.labels(0) == 1).sum() == 15 * 20


@pytest.mark.parametrize("folder", ["01_ERR_SEG", "02_ERR_SEG"])
def test_deliberately_wrong_masks_are_refused(source, folder) -> None:
    with pytest.raises(DataError, match="deliberately wrong"):
        prepare(source / folder)


def test_no_masks_of_that_truth(source) -> None:
    for path in source.glob("0?_ST/SEG/*"):
        path.unlink()
    with pytest.raises(DataError, match="no silver masks"):
        prepare(source)


def test_a_mask_without_a_frame(source) -> None:
    (source / "01" / "t004.tif").unlink()
    with pytest.raises(DataError, match=r"1 masks have no frame: man_seg004\.tif"):
        prepare(source)


def test_a_mask_of_another_shape(source) -> None:
    write(source / "01_ST" / "SEG" / "man_seg004.tif", np.ones((50, 80), np.uint16))
    with pytest.raises(DataError, match="50 x 80 pixels, the image 60 x 80"):
        prepare(source)


@pytest.mark.parametrize("where", ["nowhere", "01"])
def test_another_layout(source, where) -> None:
    with pytest.raises(DataError, match=r"There (are no videos|is no such folder)") as caught:
        prepare(source / where)
    assert "DIR/01/t000.tif" in str(caught.value)


def test_offline(tmp_path) -> None:
    config = PhCConfig(out=tmp_path / "set.h5", mirror="http://127.0.0.1:9")
    with pytest.raises(DataError, match="No connection") as caught:
        session.run(config, ConsoleOutput(quiet=True), overwrite=False)
    assert "--source DIR: DIR/01/t000.tif" in str(caught.value)
