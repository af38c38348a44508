"""The IoU that `predict` estimates without a label: by hand, by drawing, and whatever way an image is predicted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
import torch
import yaml
from click.testing import Result
from conftest import discs

from bioseg_cli.metrics.expected_iou import ExpectedIoU, summed
from bioseg_cli.model.saved import load_model, save_model
from bioseg_cli.prediction.estimate import estimate_sentence
from bioseg_cli.prediction.record import EstimatedIoU, FileEntry

Cli = Callable[..., Result]


def entries(out: Path) -> dict[str, dict[str, Any]]:
    record = yaml.safe_load((out / "predictions.yaml").read_text())
    return {entry["name"]: entry for entry in record["files"]}


def test_the_estimate_is_the_one_computed_by_hand() -> None:
    of_cell = np.array([[0.9, 0.6], [0.2, 0.1]], dtype=np.float32)
    estimate = ExpectedIoU(3)
    rim = np.full_like(of_cell, 0.05)
    estimate.add(np.stack([1 - of_cell - rim, of_cell, rim]), np.array([[1, 1], [0, 0]]))
    # Cell: 1.5 of 2 predicted pixels, and 0.3 more outside. Background: 1.6 of 2, and 0.4 more. Rim: no pixel.
    background, cell, absent = estimate.per_class()
    assert (background, cell) == pytest.approx((1.6 / 2.4, 1.5 / 2.3))
    assert np.isnan(absent)
    assert estimate.mean() == pytest.approx((1.6 / 2.4 + 1.5 / 2.3) / 2)


def test_it_is_what_labels_drawn_by_the_probabilities_score() -> None:
    random = np.random.default_rng(0)
    of_cell = random.beta(0.4, 0.6, (60, 80)).astype(np.float32)
    predicted = of_cell > 0.5
    estimate = ExpectedIoU(2)
    estimate.add(np.stack([1 - of_cell, of_cell]), predicted)
    scores = []
    for _ in range(200):
        true = random.random(of_cell.shape) < of_cell
        scores.append(
            [(predicted == code)[true == code].sum() / ((predicted == code) | (true == code)).sum() for code in (0, 1)]
        )
    np.testing.assert_allclose(estimate.per_class(), np.mean(scores, axis=0), atol=2e-3)


def test_parts_add_up() -> None:
    random = np.random.default_rng(1)
    probabilities = random.dirichlet([1, 1, 1], (9, 40)).astype(np.float32).transpose(2, 0, 1)
    predicted = probabilities.argmax(axis=0)
    whole, parts = ExpectedIoU(3), [ExpectedIoU(3) for _ in range(3)]
    whole.add(probabilities, predicted)
    for number, part in enumerate(parts):
        part.add(probabilities[:, 3 * number : 3 * number + 3], predicted[3 * number : 3 * number + 3])
    np.testing.assert_allclose(summed(parts).per_class(), whole.per_class())
    slices = ExpectedIoU(3)
    slices.add(np.stack([probabilities, probabilities]), np.stack([predicted, predicted]))
    np.testing.assert_allclose(slices.per_class(), whole.per_class())


@pytest.fixture(scope="module")
def model(disc_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of discs with a temperature that shows."""
    loaded = load_model(disc_run / "checkpoints" / "best-supervised.safetensors", torch.device("cpu"))
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, loaded.network.state_dict(), loaded.card.model_copy(update={"temperature": 2.0}))
    return path


def by_hand(out: Path, name: str) -> dict[str, float]:
    """The estimate from the written masks and calibrated probabilities, of one frame or all."""
    mask = tifffile.imread(out / f"{name}.tif")
    likely = np.moveaxis(tifffile.imread(out / "probabilities" / f"{name}.tif").astype(float), -3, 0)
    found = {}
    for code, which in enumerate(("background", "cell")):
        both = likely[code][mask == code].sum()
        found[which] = both / ((mask == code).sum() + likely[code].sum() - both)
    return found


def test_predict_estimates_every_image_whatever_its_size(bioseg: Cli, model: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    tifffile.imwrite(images / "small.tif", discs(60)[0][0])
    tifffile.imwrite(images / "large.tif", discs(61, 300)[0][0])
    movie = np.stack([discs(number)[0][0] for number in (62, 63, 64)])
    tifffile.imwrite(images / "movie.tif", movie, photometric="minisblack", metadata={"axes": "TYX"})
    out = tmp_path / "out"
    # Tiles of 64 pixels: the large image comes in rows.
    more = ("--tile", 64, "--overlap", 16)
    result = bioseg("predict", model, images, "--out", out, "--probabilities", "--json", *more)
    assert result.exit_code == 0, result.output
    found = entries(out)
    for name in ("small", "large", "movie"):
        estimate, expected = found[name]["estimated_iou"], by_hand(out, name)
        assert estimate["iou"] == pytest.approx(expected, abs=1e-4)
        assert estimate["mean_iou"] == pytest.approx(np.mean(list(expected.values())), abs=1e-4)
        assert 0.3 < estimate["mean_iou"] < 1
    assert "frames" not in found["small"]["estimated_iou"]
    frames = found["movie"]["estimated_iou"]["frames"]
    assert len(frames) == 3 and min(frames) < found["movie"]["estimated_iou"]["mean_iou"] < max(frames)
    assert json.loads(result.stdout)["files"][0]["estimated_iou"] == next(iter(found.values()))["estimated_iou"]
    values = {name: row["estimated_iou"]["mean_iou"] for name, row in found.items()}
    worst = min(values, key=lambda name: values[name])
    said = f"median {np.median(list(values.values())):.3f}, lowest {values[worst]:.3f} ({worst})"
    assert f"Mean IoU estimated without labels: {said}" in " ".join(result.stderr.split())


def test_a_volume_has_one_estimate_of_all_its_slices(bioseg: Cli, model: Path, tmp_path: Path) -> None:
    slices = np.stack([discs(number)[0][0] for number in range(70, 75)])
    volume = nibabel.Nifti1Image(slices.transpose(2, 1, 0), np.eye(4))
    nibabel.save(volume, tmp_path / "volume.nii.gz")
    tifffile.imwrite(tmp_path / "slices.tif", slices, photometric="minisblack", metadata={"axes": "TYX"})
    found = {}
    for name in ("volume.nii.gz", "slices.tif"):
        out = tmp_path / f"out-{name}"
        result = bioseg("predict", model, tmp_path / name, "--out", out, "--quiet")
        assert result.exit_code == 0, result.output
        (entry,) = entries(out).values()
        found[name] = entry["estimated_iou"]
    assert found["volume.nii.gz"]["iou"] == pytest.approx(found["slices.tif"]["iou"], abs=2e-4)
    assert "frames" not in found["volume.nii.gz"]


def test_an_estimate_without_a_temperature_is_doubted() -> None:
    estimates = {"b": EstimatedIoU(mean_iou=0.9), "a": EstimatedIoU(mean_iou=0.8)}
    files = [FileEntry(name=name, estimated_iou=estimate) for name, estimate in estimates.items()]
    assert estimate_sentence(files, calibrated=True) == (
        "Mean IoU estimated without labels: median 0.850, lowest 0.800 (a)"
    )
    assert estimate_sentence(files[:1], calibrated=False) == (
        "Mean IoU estimated without labels: 0.900; of probabilities that no validation image has calibrated, so it may "
        "be far off"
    )
    assert estimate_sentence([FileEntry(name="clusters")], calibrated=False) is None
