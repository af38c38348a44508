"""`evaluate --cross-validate --calibrate`: the temperature of held-out predictions, where it goes, for which runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
from click.testing import Result
from conftest import SIZE, discs, write_discs

from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.metrics.temperature import fit_temperature, negative_log_likelihood
from bioseg_cli.model.saved import ModelCard, load_model
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.training import calibrate

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
SETTINGS = ("--unsup-loss", "none", "--width", 4, "--lr", 0.02, "--steps", 30, "--epoch-steps", 30)
OPTIONS = ("--cross-validate", "--json", "--quiet", "--draws", 100, "--baselines", "none")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labelled training images, two of another split, and no validation image."""
    return write_discs(tmp_path_factory.mktemp("few") / "few.h5", ("train",) * 3 + ("test",) * 2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Path, bioseg: Cli) -> Path:
    path = tmp_path_factory.mktemp("runs") / "three"
    result = bioseg("train-uda", data, "--run", path, "--labels", 3, *SETTINGS)
    assert result.exit_code == 0, result.output
    assert f"`bioseg evaluate {path} --cross-validate --calibrate` does it" in result.stderr
    return path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy that may be written to."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Pixels, np.ndarray]]:
    """Every image that a network of a cross-validation predicts, and what it says."""
    seen = []
    predict = Predictor.probabilities

    def noted(self: Predictor, pixels: Pixels, where: Path | None = None) -> np.ndarray:
        seen.append((pixels, predict(self, pixels, where)))
        return seen[-1][1]

    monkeypatch.setattr(Predictor, "probabilities", noted)
    return seen


def manifest(run: Path) -> dict[str, Any]:
    return yaml.safe_load((run / "manifest.yaml").read_text())


def change(run: Path, **values: object) -> None:
    (run / "manifest.yaml").write_text(yaml.safe_dump({**manifest(run), **values}))


def card(run: Path, state: str = "last") -> ModelCard:
    return load_model(run / "checkpoints" / f"{state}.safetensors", torch.device("cpu")).card


def evaluated(bioseg: Cli, run: Path, *options: object) -> dict[str, Any]:
    result = bioseg("evaluate", run, *OPTIONS, *options)
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)["runs"]
    return found


def refused(bioseg: Cli, run: Path) -> str:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    result = bioseg("evaluate", run, "--cross-validate", "--calibrate")
    assert result.exit_code == 2 and "training 1 of" not in result.output
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    return " ".join(result.output.split())


def test_the_temperature_is_that_of_predictions_for_what_was_left_out(
    bioseg: Cli, run: Path, predicted: list[tuple[Pixels, np.ndarray]]
) -> None:
    found = evaluated(bioseg, run)["cross_validation"]
    assert len(predicted) == 3
    masks = {discs(index)[0].tobytes(): discs(index)[1] for index in range(3)}
    logits = np.concatenate([np.log(said).reshape(2, -1).T for _, said in predicted])
    labels = np.concatenate([masks[np.asarray(pixels).tobytes()].ravel() for pixels, _ in predicted])
    assert found["temperature"] == pytest.approx(fit_temperature(logits, labels), rel=1e-4)
    for value, temperature in zip(found["nll"], (1, found["temperature"]), strict=True):
        assert value == pytest.approx(negative_log_likelihood(logits, labels, temperature), rel=1e-4)
    assert found["nll"][1] < found["nll"][0]
    assert (found["folds"], found["updates"], found["stored"]) == (3, 30, False)


def test_of_parts_only_the_left_out_labels_count(
    bioseg: Cli, data: Path, tmp_path: Path, predicted: list[tuple[Pixels, np.ndarray]]
) -> None:
    run = tmp_path / "one"
    bioseg("train-uda", data, "--run", run, "--labels", 1, *SETTINGS, "--quiet")
    found = evaluated(bioseg, run, "--calibrate")["cross_validation"]
    (index,) = (int(name.removeprefix("disc")) for name in manifest(run)["labels"]["images"])
    bands = np.array_split(np.arange(SIZE), 4)
    logits = np.concatenate(
        [np.log(said)[:, band].reshape(2, -1).T for band, (_, said) in zip(bands, predicted, strict=True)]
    )
    labels = np.concatenate([discs(index)[1][band].ravel() for band in bands])
    assert found["temperature"] == pytest.approx(fit_temperature(logits, labels), rel=1e-4)
    record = manifest(run)["calibration"]
    assert record["cross_validation"] == {"folds": 4, "updates": 30}
    assert (record["images"], record["pixels"]) == (1, SIZE * SIZE)


def test_no_more_pixels_are_drawn_than_for_validation_images(
    bioseg: Cli, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "MOST_PIXELS", 800)
    evaluated(bioseg, run, "--calibrate")
    assert manifest(run)["calibration"]["pixels"] == pytest.approx(800, abs=100)


def test_without_the_option_it_is_said_and_nothing_is_written(bioseg: Cli, run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    found = evaluated(bioseg, run)
    said = f"{run}: the temperature {found['cross_validation']['temperature']:.3g} is the best for the predictions"
    (note,) = (note for note in found["notes"] if note.startswith(said))
    assert note.endswith("nothing was written, --calibrate stores it in the run.")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_it_is_stored_with_where_it_came_from_and_applied(
    bioseg: Cli, run: Path, trained: Path, tmp_path: Path
) -> None:
    found = evaluated(bioseg, run, "--calibrate")
    fitted = found["cross_validation"]
    assert fitted["stored"] is True
    assert card(run).temperature == fitted["temperature"] != 1
    assert manifest(run)["calibration"] == {
        "images": 3,
        "pixels": 3 * SIZE * SIZE,
        "cross_validation": {"folds": 3, "updates": 30},
        "states": {"last": {"temperature": fitted["temperature"], "nll": fitted["nll"]}},
    }
    assert {**manifest(run), "calibration": None} == {**manifest(trained), "calibration": None}
    said = f"{run}: its saved states have the temperature {fitted['temperature']:.3g} now"
    assert any(note.startswith(said) for note in found["notes"])
    # The weights are the same, and so are the masks.
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images" / "a.tif", discs(9)[0][0])
    for name, path in (("before", trained), ("after", run)):
        assert bioseg("predict", path, tmp_path / "images", "--out", tmp_path / name, "--quiet").exit_code == 0
    first, second = (tifffile.imread(tmp_path / name / "a.tif") for name in ("before", "after"))
    np.testing.assert_array_equal(first, second)
    record = yaml.safe_load((tmp_path / "after" / "predictions.yaml").read_text())
    assert record["temperature"] == fitted["temperature"]
    result = bioseg("evaluate", run, "--split", "test", "--json", "--quiet", "--draws", 100)
    calibration = json.loads(result.stdout)["runs"][0]["calibration"]
    assert calibration["temperature"] == fitted["temperature"] and calibration["ece"] != calibration["ece_before"]
    # Once more is no harm: it is not one of validation images.
    assert evaluated(bioseg, run, "--calibrate")["cross_validation"] == fitted


def test_the_control_is_calibrated_too(bioseg: Cli, run: Path, trained: Path, data: Path, tmp_path: Path) -> None:
    control = Path(shutil.copytree(trained, tmp_path / "control"))
    found = evaluated(bioseg, run, "--calibrate", "--control", control)
    assert found["control"]["cross_validation"]["stored"] is True
    assert card(control).temperature == found["control"]["cross_validation"]["temperature"] == card(run).temperature


def test_averaged_views_have_no_temperature(bioseg: Cli, run: Path) -> None:
    found = evaluated(bioseg, run, "--tta")
    assert found["cross_validation"]["temperature"] is None
    assert not any("temperature" in note for note in found["notes"])


def test_a_run_with_a_temperature_of_validation_images_is_refused(bioseg: Cli, disc_run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(disc_run, tmp_path / "validated"))
    assert "The run has temperatures already, fitted on 3 validation images" in refused(bioseg, copy)
    found = evaluated(bioseg, copy)
    assert any(note.endswith("the run keeps its own.") for note in found["notes"])


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_a_run_that_has_not_ended_is_refused(bioseg: Cli, run: Path, status: str) -> None:
    change(run, status=status)
    assert f"has not come to its end (its status is {status!r})" in refused(bioseg, run)


def test_a_run_that_hands_out_its_control_is_refused(bioseg: Cli, run: Path) -> None:
    change(run, guard={"hands_out": "control"})
    shutil.copy(run / "checkpoints" / "last.safetensors", run / "checkpoints" / "control.safetensors")
    assert "The guard of the run hands out its supervised control" in refused(bioseg, run)


def test_every_run_is_looked_at_before_any_is_trained(bioseg: Cli, run: Path, disc_run: Path) -> None:
    result = bioseg("evaluate", run, disc_run, "--cross-validate", "--calibrate")
    assert result.exit_code == 2 and "fitted on 3 validation images" in " ".join(result.output.split())
    assert "training 1 of" not in result.output
    assert card(run).temperature == 1


def test_a_resumed_run_has_none(bioseg: Cli, run: Path) -> None:
    evaluated(bioseg, run, "--calibrate")
    # Not a single update more: the weights stay, and card and manifest still say the same.
    result = bioseg("train-uda", "--resume", run, "--quiet")
    assert result.exit_code == 0, result.output
    assert card(run).temperature == 1
    assert manifest(run)["calibration"]["states"] == {}
