"""`prepare` warns of images that look alike across splits, and of no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from conftest import discs

import bioseg_cli
from bioseg_cli.api.data import PreparedDataset

SPLITS = ("train", "train", "train", "val", "test")


def prepared(path: Path, change: dict[int, int], splits: tuple[str, ...] = SPLITS) -> PreparedDataset:
    """Five images of discs; in place of each in `change`, another one of them, mirrored, brighter and noisier."""
    images, masks = map(list, zip(*(discs(index, size=64) for index in range(5)), strict=True))
    random = np.random.default_rng(0)
    for index, other in change.items():
        noise = random.normal(0, 20, images[0].shape)
        images[index] = (images[other][:, :, ::-1] * 1.5 + noise + 100).astype(np.uint16)
        masks[index] = masks[other][:, ::-1]
    return bioseg_cli.prepare_arrays(
        images, masks, out=path, class_names=["background", "cell"], axes="CYX", splits=splits
    )


def test_an_altered_copy_in_another_split_is_named(tmp_path: Path) -> None:
    made = prepared(tmp_path / "one.h5", {3: 1})
    (warning,) = made.warnings
    assert "1 image for validation or test looks like a training image (image_003 like image_001)" in warning
    assert "`bioseg check` lists all pairs" in warning
    (warning,) = prepared(tmp_path / "two.h5", {3: 1, 4: 0}).warnings
    assert warning.startswith("2 images for validation or test look like")


def test_other_images_and_copies_in_one_split_are_not(tmp_path: Path) -> None:
    assert prepared(tmp_path / "none.h5", {}).warnings == ()
    assert prepared(tmp_path / "within.h5", {1: 0}).warnings == ()
    assert prepared(tmp_path / "held.h5", {4: 3}).warnings == ()
