"""How far `--preset best` changes the exposure of labelled images: what changes take from the grey levels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import Result

from bioseg_cli.augment.microscopy import draw_capture
from bioseg_cli.config import ClassInfo, build_config
from bioseg_cli.dataset.batches import grey_level_spread
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.training.fit import EXPOSURES, LARGEST_COST, fitted_to_images
from bioseg_cli.training.grey_levels import DRAWS, accuracy_lost
from bioseg_cli.training.uda_settings import TrainUDAConfig

Cli = Callable[..., Result]
CPU = torch.device("cpu")
SIZE = 64
ALIKE, APART = (60, 110, 150), (20, 128, 250)
"""Grey levels of three classes that changes of exposure mix up, and of three that stay apart."""


def write_bands(
    path: Path, levels: tuple[int, ...], *, channels: int = 1, noise: float = 7.0, drawn: slice = np.s_[:]
) -> Path:
    """Two images with a band of each class: its grey level in the first channel, noise in the others."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(levels)), SIZE // len(levels) + 1)[:SIZE, None].repeat(SIZE, 1).astype(np.uint8)
    shown = np.full_like(labels, 255)
    shown[:, drawn] = labels[:, drawn]
    with DatasetWriter(path, count=2, image_shape=(channels, SIZE, SIZE), image_dtype=np.uint8) as writer:
        for number in range(2):
            image = random.integers(0, 256, (channels, SIZE, SIZE)).astype(float)
            image[0] = np.take(levels, labels) + random.normal(0, noise, labels.shape)
            source = ItemSource(f"{number}.tif", f"{number:064x}", 0, (0, 0), (SIZE, SIZE))
            writer.add(Item(image.clip(0, 255).astype(np.uint8), shown, "train", f"g{number}", source))
        writer.finish(
            DatasetInfo(
                recipe="bands",
                settings={},
                classes=tuple(ClassInfo(name=f"class {code}", colour=(40 * code, 0, 0)) for code in range(len(levels))),
                normalisation=Normalisation(method="minmax", low=(0.0,) * channels, high=(255.0,) * channels),
                pixel_size=None,
            )
        )
    return path


def best(**values: object) -> TrainUDAConfig:
    return build_config(TrainUDAConfig, {"preset": "best", **values})


def lost(path: Path, *exposures: float) -> list[float]:
    with Dataset(path) as dataset:
        return accuracy_lost(dataset, [0, 1], exposures)


def test_what_changes_take_is_the_recall_that_a_threshold_loses(tmp_path: Path) -> None:
    path = write_bands(tmp_path / "d.h5", (60, 80), noise=0)
    with Dataset(path) as dataset:
        spread = grey_level_spread(dataset)
        found = accuracy_lost(dataset, [0], [1.0])[0]
        levels = np.unique(dataset.normalised(0))
    assert len(levels) == 2
    drawn = draw_capture(DRAWS, spread, np.random.default_rng(0), severity=0.5)
    changed = drawn.expose(torch.from_numpy(levels).expand(DRAWS, 1, 1, 2))[:, 0, 0].numpy()
    cells = np.stack([np.bincount((of_class * 32).astype(int), minlength=32) for of_class in changed.T])
    recalls = [cells[code][cells.argmax(axis=0) == code].sum() / DRAWS for code in range(2)]
    assert 0 < found == pytest.approx(1 - np.mean(recalls))


def test_classes_that_lie_apart_lose_nothing_and_smaller_changes_take_less(tmp_path: Path) -> None:
    assert lost(write_bands(tmp_path / "apart.h5", APART), 1.0)[0] < LARGEST_COST
    whole, half, none = lost(write_bands(tmp_path / "alike.h5", ALIKE), 1.0, 0.5, 0.0)
    assert whole > LARGEST_COST and half < whole / 2
    assert none == pytest.approx(0, abs=1e-9)


def test_a_rare_class_counts_as_much_as_a_common_one(tmp_path: Path) -> None:
    path = write_bands(tmp_path / "d.h5", ALIKE)
    even = lost(path, 1.0)[0]
    with Dataset(path) as dataset:
        labels = dataset.labels

        def rare(index: int) -> np.ndarray:
            codes = labels(index).copy()
            codes[codes == 2] = np.where(np.arange((codes == 2).sum()) % 20, dataset.ignore, 2)
            return codes

        dataset.labels = rare  # type: ignore[method-assign]
        assert accuracy_lost(dataset, [0, 1], [1.0])[0] == pytest.approx(even, abs=0.03)


def test_what_nobody_drew_is_of_no_class(tmp_path: Path) -> None:
    part = lost(write_bands(tmp_path / "part.h5", ALIKE, drawn=np.s_[:20]), 1.0)[0]
    assert part == pytest.approx(lost(write_bands(tmp_path / "all.h5", ALIKE), 1.0)[0], abs=0.03)


def test_channels_are_looked_at_together(tmp_path: Path) -> None:
    assert lost(write_bands(tmp_path / "two.h5", ALIKE, channels=2), 1.0)[0] > 3 * LARGEST_COST
    # What a classifier learns by heart of few pixels is not what changes take.
    assert abs(lost(write_bands(tmp_path / "same.h5", (100, 100, 100), channels=2), 1.0)[0]) < LARGEST_COST
    # With many channels there is no level to tell apart: nothing is lost, as nothing is known.
    assert lost(write_bands(tmp_path / "many.h5", ALIKE, channels=10), 1.0) == [0.0]


def test_the_preset_changes_the_exposure_as_far_as_the_classes_stay_apart(tmp_path: Path) -> None:
    alike = write_bands(tmp_path / "alike.h5", ALIKE)
    with Dataset(alike) as dataset:
        config, said = fitted_to_images(best(width=4, crop=64), dataset, CPU)
        assert 0 < config.exposure < 1
        assert said == [
            f"Chosen by --preset best: --exposure {config.exposure:g}, as larger changes of exposure would mix up the "
            "classes"
        ]
        costs = dict(zip(EXPOSURES, accuracy_lost(dataset, [0, 1], EXPOSURES), strict=True))
        assert costs[config.exposure] <= LARGEST_COST < costs[2 * config.exposure]
        assert fitted_to_images(best(width=4, crop=64, exposure=1), dataset, CPU)[0].exposure == 1
        assert fitted_to_images(best(width=4, crop=64, augment="paper"), dataset, CPU)[0].exposure == 1
    with Dataset(write_bands(tmp_path / "apart.h5", APART)) as dataset:
        config, said = fitted_to_images(best(width=4, crop=64), dataset, CPU)
        assert (config.exposure, said) == (1, [])


def test_where_the_least_change_is_too_much_none_is_made(tmp_path: Path) -> None:
    with Dataset(write_bands(tmp_path / "d.h5", tuple(range(100, 148, 8)), noise=0)) as dataset:
        assert fitted_to_images(best(width=4, crop=64), dataset, CPU)[0].exposure == 0


def test_the_run_keeps_what_was_chosen(tmp_path: Path, bioseg: Cli) -> None:
    data = write_bands(tmp_path / "d.h5", ALIKE)
    run = tmp_path / "run"
    given = ("--preset", "best", "--steps", 2, "--width", 4, "--crop", 64, "--run", run)
    result = bioseg("train-uda", data, *given)
    assert result.exit_code == 0, result.output
    config = yaml.safe_load((run / "manifest.yaml").read_text())["config"]
    assert 0 < config["exposure"] < 1 and config["augment"] == "microscopy"
    assert f"--exposure {config['exposure']:g}, as larger changes" in " ".join(result.output.split())


def test_a_share_of_changes_that_are_not_made_is_refused(tmp_path: Path, bioseg: Cli) -> None:
    data = write_bands(tmp_path / "d.h5", ALIKE)
    result = bioseg("train-uda", data, "--exposure", 0.5)
    assert result.exit_code == 2 and "--exposure is for --augment microscopy" in " ".join(result.output.split())
