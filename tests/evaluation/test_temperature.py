"""Temperature scaling: what is fitted, where it is stored, and that it changes nothing but probabilities."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
from click.testing import Result
from conftest import CLASSES, SIZE, discs, write_discs
from scipy.optimize import minimize_scalar

from bioseg_cli.compute.device import resolve_precision
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.metrics.temperature import LIMITS, fit_temperature, negative_log_likelihood, tempered
from bioseg_cli.model.saved import ModelCard, load_model, save_model
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.training import calibrate

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
CPU = torch.device("cpu")


def softmax(scores: np.ndarray, axis: int) -> np.ndarray:
    raised = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return raised / raised.sum(axis=axis, keepdims=True)


def overconfident(count: int = 20000, factor: float = 2.5) -> tuple[np.ndarray, np.ndarray]:
    """Logits of three classes that are `factor` times too large for labels drawn by them."""
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (count, 3))
    labels = (softmax(logits, 1).cumsum(axis=1) < random.random((count, 1))).sum(axis=1)
    return (factor * logits).astype(np.float32), labels


def manifest(run: Path) -> dict[str, Any]:
    return yaml.safe_load((run / "manifest.yaml").read_text())


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.5])
def test_the_temperature_is_the_factor_by_which_logits_are_too_large(factor: float) -> None:
    assert fit_temperature(*overconfident(factor=factor)) == pytest.approx(factor, rel=0.03)


def test_no_other_temperature_makes_the_labels_likelier() -> None:
    logits, labels = overconfident()
    fitted = fit_temperature(logits, labels)
    best = minimize_scalar(
        lambda temperature: negative_log_likelihood(logits, labels, temperature), bounds=LIMITS, method="bounded"
    )
    assert fitted == pytest.approx(best.x, rel=1e-3)
    by_hand = -np.log(softmax(logits.astype(float) / fitted, 1)[np.arange(len(labels)), labels]).mean()
    assert negative_log_likelihood(logits, labels, fitted) == pytest.approx(by_hand)


def test_pixels_that_are_all_right_or_all_wrong_have_the_end_of_the_range() -> None:
    logits = np.array([[3.0, 0.0], [0.0, 2.0]])
    assert fit_temperature(logits, np.array([0, 1])) == LIMITS[0]
    assert fit_temperature(logits, np.array([1, 0])) == LIMITS[1]


@pytest.mark.parametrize("temperature", [0.3, 1.7, 8.0])
def test_probabilities_are_those_of_logits_divided_by_the_temperature(temperature: float) -> None:
    logits = np.random.default_rng(0).normal(0, 4, (2, 3, 16, 16))
    probabilities = softmax(logits, 1).astype(np.float32)
    found = tempered(probabilities, temperature)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, softmax(logits / temperature, 1), atol=2e-6)
    assert (found.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    # Certainty to the last digit of float32 is no division by zero.
    sure = np.array([1.0, 0.0], dtype=np.float32).reshape(2, 1, 1)
    assert tempered(sure, temperature)[0, 0, 0] == pytest.approx(1, abs=1e-4)
    assert tempered(probabilities, 1) is probabilities


def test_every_state_has_the_temperature_that_its_validation_images_ask_for(disc_run: Path, disc_dataset: Path) -> None:
    record = manifest(disc_run)["calibration"]
    assert (record["images"], record["pixels"]) == (3, 3 * SIZE * SIZE)
    assert record["states"].keys() == {"best-supervised", "best-final", "best-miou", "last"}
    for state, fitted in record["states"].items():
        model = load_model(disc_run / "checkpoints" / f"{state}.safetensors", CPU)
        assert model.card.temperature == fitted["temperature"]
        before, after = fitted["nll"]
        assert after < before
        predictor = Predictor(model, resolve_precision("auto", CPU))
        with Dataset(disc_dataset) as dataset:
            indices = dataset.indices("val").tolist()
            scores = np.log(
                np.concatenate([predictor.probabilities(dataset.image(i)).reshape(2, -1).T for i in indices])
            )
            labels = np.concatenate([dataset.labels(i).ravel() for i in indices])
        assert fitted["temperature"] == pytest.approx(fit_temperature(scores, labels), rel=0.02)
        assert before == pytest.approx(negative_log_likelihood(scores, labels), rel=0.02)


def test_states_of_one_epoch_are_one_network(disc_run: Path) -> None:
    record = manifest(disc_run)
    of_epoch: dict[int, set[float]] = {}
    for state in record["calibration"]["states"]:
        card = load_model(disc_run / "checkpoints" / f"{state}.safetensors", CPU).card
        of_epoch.setdefault(card.epoch, set()).add(card.temperature)
    assert all(len(temperatures) == 1 for temperatures in of_epoch.values())
    assert len(of_epoch) > 1 and len(set.union(*of_epoch.values())) == len(of_epoch)


def test_without_a_labelled_validation_image_there_is_no_temperature_and_it_is_said(
    bioseg: Cli, tmp_path: Path
) -> None:
    data = write_discs(tmp_path / "discs.h5", ("train",) * 3 + ("val",), unlabelled=(3,))
    run = tmp_path / "run"
    result = bioseg("train-uda", data, "--run", run, "--labels", 2, "--width", 2, "--steps", 2, "--unsup-loss", "none")
    assert result.exit_code == 0, result.output
    said = "No validation image has a mask: probabilities are not calibrated"
    assert said in " ".join(result.stderr.split())
    assert manifest(run)["calibration"] == {"images": 0, "states": {}, "reason": said}
    assert load_model(run / "checkpoints" / "last.safetensors", CPU).card.temperature == 1


def test_ignored_pixels_are_left_out_and_of_many_some_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DatasetWriter(tmp_path / "d.h5", count=2, image_shape=(1, SIZE, SIZE), image_dtype=np.uint16) as writer:
        for index in range(2):
            image, mask = discs(index)
            mask[: 10 * (index + 1)] = 255
            source = ItemSource(f"d{index}.tif", f"{index:064x}", 0, (0, 0), (SIZE, SIZE))
            writer.add(Item(image, mask, "val" if index else "train", f"g{index}", source))
        normalisation = Normalisation(method="minmax", low=(500.0,), high=(3200.0,))
        writer.finish(DatasetInfo("discs", {}, CLASSES, normalisation, PixelSize(0.5, 0.5, "µm")))
    with Dataset(tmp_path / "d.h5") as dataset:
        images = np.array([0, 1])
        first, second = calibrate.drawn_pixels(dataset, images)
        assert not first[:10].any() and first[10:].all() and not second[:20].any() and second[20:].all()
        monkeypatch.setattr(calibrate, "MOST_PIXELS", 800)
        fewer = calibrate.drawn_pixels(dataset, images)
    assert not (fewer[0] & ~first).any() and not (fewer[1] & ~second).any()
    assert sum(drawn.sum() for drawn in fewer) == pytest.approx(800, abs=100)
    assert fewer[0].sum() / fewer[1].sum() == pytest.approx(38 / 28, rel=0.25)


def test_a_model_of_an_earlier_version_has_none(disc_run: Path) -> None:
    card = load_model(disc_run / "checkpoints" / "last.safetensors", CPU).card
    earlier = {name: value for name, value in json.loads(card.model_dump_json()).items() if name != "temperature"}
    assert ModelCard.model_validate(earlier).temperature == 1


def test_predict_writes_calibrated_probabilities_and_the_same_masks(
    bioseg: Cli, disc_run: Path, tmp_path: Path
) -> None:
    model = load_model(disc_run / "checkpoints" / "best-supervised.safetensors", CPU)
    images = tmp_path / "images"
    images.mkdir()
    for number in range(2):
        tifffile.imwrite(images / f"i{number}.tif", discs(50 + number, 160)[0][0])
    written = {}
    for temperature in (1.0, 3.0):
        path = tmp_path / f"{temperature}.safetensors"
        save_model(path, model.network.state_dict(), model.card.model_copy(update={"temperature": temperature}))
        # Tiles and views are means of probabilities: their order is kept as well.
        for name, more in {"whole": (), "tiled": ("--tile", 64, "--overlap", 16, "--tta")}.items():
            out = tmp_path / f"{name}-{temperature}"
            result = bioseg("predict", path, images, "--out", out, "--probabilities", "--quiet", *more)
            assert result.exit_code == 0, result.output
            record = yaml.safe_load((out / "predictions.yaml").read_text())
            assert record["temperature"] == (None if temperature == 1 else temperature)
            written[name, temperature] = [
                (tifffile.imread(out / f"i{number}.tif"), tifffile.imread(out / "probabilities" / f"i{number}.tif"))
                for number in range(2)
            ]
    for name in ("whole", "tiled"):
        for (mask, raw), (same, calm) in zip(written[name, 1.0], written[name, 3.0], strict=True):
            assert (mask == same).all()
            raised = raw.astype(float) ** (1 / 3)
            np.testing.assert_allclose(calm, raised / raised.sum(axis=0), atol=1e-5)
            assert abs(calm - raw).max() > 0.1
