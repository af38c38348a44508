"""bioseg as a library: the numbers of the commands, from any thread, without a word on any stream."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from click.testing import Result
from conftest import discs
from safetensors.numpy import load_file

import bioseg_cli as bioseg
from bioseg_cli.api.settings import ArgumentNames
from bioseg_cli.io.arrays import channels_first
from bioseg_cli.prediction.settings import PredictConfig
from bioseg_cli.training.uda_settings import TrainUDAConfig

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
ROOT = Path(__file__).parents[2]
SHORT = {"labels": 2, "width": 2, "steps": 6, "lr": 0.01}


@pytest.fixture(autouse=True)
def silent(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing that a test of this file calls in this process may print, but for the command line itself."""
    yield
    printed = capfd.readouterr()
    assert printed.err == "" and printed.out == ""


def test_what_is_exported_is_sorted_and_there() -> None:
    assert list(bioseg.__all__) == sorted(bioseg.__all__)
    placed = [name for names in bioseg._MODULES.values() for name in names]
    assert sorted([*placed, "__version__"]) == list(bioseg.__all__)
    assert set(bioseg.__all__) <= set(dir(bioseg))
    for name in bioseg.__all__:
        assert getattr(bioseg, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        bioseg.predict  # noqa: B018


def test_type_checkers_are_told_of_the_same_names() -> None:
    stub = ast.parse((ROOT / "bioseg_cli" / "__init__.pyi").read_text())
    told = {
        (statement.module, alias.name)
        for statement in stub.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert told == {(f"bioseg_cli.{module}", name) for module, names in bioseg._MODULES.items() for name in names}


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, bioseg_cli; dir(bioseg_cli); "
        "print([name for name in ('torch', 'numpy', 'scipy', 'h5py', 'matplotlib', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("settings", [{}, {"tta": True}, {"tile": 64, "overlap": 16}], ids=str)
def test_predictions_are_those_of_the_command(
    settings: dict[str, object], disc_run: Path, bioseg_quietly: Cli, tmp_path: Path
) -> None:
    image = discs(40, size=100)[0][0]
    tifffile.imwrite(tmp_path / "image.tif", image)
    flags = [part for name, value in settings.items() for part in (f"--{name}", *(() if value is True else (value,)))]
    options = ("--probabilities", "--precision", "fp32", "--out", tmp_path / "masks", *flags)
    bioseg_quietly("predict", disc_run, tmp_path / "image.tif", *options)
    model = bioseg.load_model(disc_run, precision="fp32")
    assert model.classes == ("background", "cell") and model.channels == 1 and model.state == "best-supervised"
    entry = yaml.safe_load((tmp_path / "masks" / "predictions.yaml").read_text())["files"][0]
    for given in (image, image[None], image[:, :, None]):
        found = model.predict(given, **settings)  # type: ignore[arg-type]
        written = tifffile.imread(tmp_path / "masks" / "image.tif")
        assert np.array_equal(found.labels, written) and found.labels.dtype == written.dtype
        assert np.array_equal(found.probabilities, tifffile.imread(tmp_path / "masks" / "probabilities" / "image.tif"))
        assert found.expected_iou == pytest.approx(entry["estimated_iou"]["mean_iou"], abs=1e-4)
    assert found.labels.any() and not found.warnings


def test_an_image_of_another_pixel_size_is_predicted_with_a_warning(disc_run: Path) -> None:
    model = bioseg.load_model(disc_run)
    assert model.predict(discs(3)[0], pixel_size=0.5).warnings == ()
    found = model.predict(discs(3)[0], pixel_size=1.0)
    assert found.pixel_size == bioseg.PixelSize(1.0, 1.0) and "Its pixels are 1 x 1 µm" in found.warnings[0]


def test_a_prediction_tells_its_progress_and_stops_when_told_to(disc_run: Path) -> None:
    model = bioseg.load_model(disc_run, precision="fp32")
    image, shares = discs(40, size=100)[0], list[float]()
    told = model.predict(image, tile=64, overlap=16, progress=shares.append)
    assert shares == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1])
    shares.clear()
    with pytest.raises(bioseg.Interrupted):
        model.predict(image, tile=64, overlap=16, progress=lambda share: shares.append(share) or share < 0.5)
    assert len(shares) == 2
    assert np.array_equal(model.predict(image, tile=64, overlap=16).probabilities, told.probabilities)
    assert len(shares) == 2 and model.colours[0] == (0, 0, 0) != model.colours[1]


@pytest.mark.parametrize(
    ("image", "settings", "error", "message"),
    [
        (np.zeros((48, 48), np.float32), {}, bioseg.DataError, "or any_dtype=True if"),
        (np.zeros((3, 48, 48), np.uint16), {}, bioseg.DataError, "no axis of 1 channel"),
        (np.zeros((1, 48, 1), np.uint16), {}, bioseg.UsageError, "Give axes='YXC' or axes='CYX'"),
        (np.zeros((48, 48), np.uint16), {"axes": "CYX"}, bioseg.UsageError, "axes='CYX' does not fit"),
        (np.zeros((1, 1, 48, 48), np.uint16), {}, bioseg.DataError, "one image at a time"),
        (np.zeros((0, 48), np.uint16), {}, bioseg.DataError, "holds no pixel"),
        (np.full((48, 48), np.nan), {"any_dtype": True}, bioseg.DataError, "2304 values are not finite"),
        (np.zeros((48, 48), np.uint16), {"tile": 3}, bioseg.UsageError, "tile=: .*greater"),
        (
            np.zeros((48, 48), np.uint16),
            {"tile": 64, "overlap": 40},
            bioseg.UsageError,
            "overlap= must be .* tile=, 32",
        ),
    ],
)
def test_an_image_that_does_not_fit_is_refused(
    image: np.ndarray, settings: dict[str, object], error: type[Exception], message: str, disc_run: Path
) -> None:
    model = bioseg.load_model(disc_run)
    with pytest.raises(error) as raised:
        model.predict(image, **settings)  # type: ignore[arg-type]
    assert re.search(message, str(raised.value)), str(raised.value)
    assert "--" not in str(raised.value)
    assert model.predict(discs(0)[0]).labels.shape == (48, 48)


def test_channels_are_found_by_their_number_or_said() -> None:
    image = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    assert np.array_equal(channels_first(image, None, 3), image)
    assert np.array_equal(channels_first(image.transpose(1, 2, 0), None, 3), image)
    assert np.array_equal(channels_first(image.transpose(1, 2, 0), "yxc", None), image)
    assert np.array_equal(channels_first(image[0].T, "XY", None), image[:1])


def arrays(count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    pairs = [discs(index) for index in range(count)]
    return [image[0] for image, _ in pairs], [mask for _, mask in pairs]


def test_a_data_set_of_arrays_holds_their_pixels(tmp_path: Path) -> None:
    images, masks = arrays(12)
    masks[1] = masks[1].astype(bool)
    masks[2] = np.where(np.arange(48) < 20, masks[2], 200)
    labels = [*masks[:10], None, np.full((48, 48), 200)]
    names = ["background", "cell"]
    settings = {"class_names": names, "unlabelled_value": 200, "pixel_size": 0.5, "val_share": 0.3, "test_share": 0.0}
    made = [bioseg.prepare_arrays(images, labels, out=tmp_path / f"{name}.h5", **settings) for name in "ab"]
    assert made[0].content_hash == made[1].content_hash and made[0].classes == ("background", "cell")
    assert made[0].images["train"] == {"labelled": 7, "unlabelled": 2} and made[0].images["val"]["labelled"] == 3
    with bioseg.open_dataset(made[0]) as dataset:
        assert dataset.info.pixel_size == bioseg.PixelSize(0.5, 0.5) and dataset.drawn_in_part
        assert not dataset.labelled[10:].any()
        for index, image in enumerate(images):
            assert np.array_equal(dataset.image(index)[0], image)
        assert np.array_equal(dataset.labels(1), masks[1])
        assert np.array_equal(dataset.labels(2), np.where(np.arange(48) < 20, masks[2], 255))
    masks[0] = 1 - masks[0]
    other = bioseg.prepare_arrays(images, [*masks[:10], None, None], out=tmp_path / "c.h5", **settings)
    assert other.content_hash != made[0].content_hash


def test_splits_and_groups_are_kept(tmp_path: Path) -> None:
    images, masks = arrays(6)
    splits = ["train", "val", "train", "test", "train", "val"]
    given = {"class_names": ["a", "b"], "splits": splits, "groups": list("abcdef"), "names": list("uvwxyz")}
    made = bioseg.prepare_arrays(images, masks, out=tmp_path / "d.h5", **given)
    with bioseg.open_dataset(made) as dataset:
        assert dataset.split.tolist() == splits and dataset.group.tolist() == list("abcdef")
        assert dataset.name(2) == "w"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": [None]}, bioseg.UsageError, "labels= holds 1, and there are 6 images"),
        ({"labels": [np.full((48, 48), 7)] * 6}, bioseg.DataError, "holds 7, and the classes are 0 to 1"),
        ({"labels": [np.zeros((48, 47), int)] * 6}, bioseg.DataError, "has the height and width"),
        ({"labels": [np.zeros((48, 48))] * 6}, bioseg.DataError, "The mask is float64"),
        ({"images": [np.zeros((3, 48, 48))] * 6}, bioseg.UsageError, "Give axes='YXC' or axes='CYX'"),
        ({"class_names": ["a"]}, bioseg.UsageError, "class_names="),
        ({"class_names": ["a", "a"]}, bioseg.UsageError, "class_names=: each class needs a name of its own"),
        ({"unlabelled_value": 1}, bioseg.UsageError, "unlabelled_value=1 is the number of a class"),
        ({"names": ["a"] * 6}, bioseg.UsageError, "names=: two images have one name"),
        ({"splits": ["trian"] * 6}, bioseg.UsageError, "splits=: unknown 'trian'"),
        ({"val_share": 2}, bioseg.UsageError, "val_share=: "),
        ({"colour": 2}, bioseg.UsageError, "Unknown key 'colour'"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    change: dict[str, object], error: type[Exception], message: str, tmp_path: Path
) -> None:
    images, masks = arrays(6)
    given = {"images": images, "labels": masks, "class_names": ["background", "cell"], "out": tmp_path / "d.h5"}
    with pytest.raises(error) as raised:
        bioseg.prepare_arrays(**{**given, **change})  # type: ignore[arg-type]
    assert message in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_images_of_several_types_are_refused(tmp_path: Path) -> None:
    images, masks = arrays(6)
    images[4] = images[4].astype(np.float32)
    with pytest.raises(bioseg.DataError, match="1 channels of float32, image_000 1 of uint16"):
        bioseg.prepare_arrays(images, masks, out=tmp_path / "d.h5", class_names=["a", "b"])


def test_a_folder_is_prepared_as_by_the_command(tmp_path: Path, bioseg_quietly: Cli) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for index, (image, mask) in enumerate(zip(*arrays(10), strict=True)):
        tifffile.imwrite(tmp_path / "images" / f"{index}.tif", image)
        tifffile.imwrite(tmp_path / "masks" / f"{index}.tif", 255 * mask)
    folders = (tmp_path / "images", tmp_path / "masks")
    made = bioseg.prepare_folder(*folders, out=tmp_path / "a.h5", classes=["background", "cell"])
    options = ("--masks", folders[1], "--classes", "background,cell", "--out", tmp_path / "b.h5", "--json")
    told = json.loads(bioseg_quietly("prepare", "folder", "--images", folders[0], *options).stdout)
    assert (made.content_hash, made.masks) == (told["content_hash"], told["masks"])
    with pytest.raises(bioseg.UsageError, match="exists already") as raised:
        bioseg.prepare_folder(*folders, out=tmp_path / "a.h5")
    assert "Choose another out=, or give overwrite=True." in str(raised.value)


def test_a_training_in_a_thread_is_that_of_the_command(disc_dataset: Path, tmp_path: Path, bioseg_quietly: Cli) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    seen: list[bioseg.TrainingProgress] = []
    during: list[object] = []
    ended: list[bioseg.TrainedRun] = []

    def progressed(progress: bioseg.TrainingProgress) -> None:
        seen.append(progress)
        during.append({number: signal.getsignal(number) for number in handlers})

    def train() -> None:
        ended.append(bioseg.train_uda(disc_dataset, run=tmp_path / "run", progress=progressed, **SHORT))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    (run,) = ended
    assert all(found == handlers for found in during)
    flags = [part for name, value in SHORT.items() for part in (f"--{name}", value)]
    bioseg_quietly("train-uda", disc_dataset, "--run", tmp_path / "command", "--quiet", *flags)
    ours, theirs = (load_file(tmp_path / name / "checkpoints" / "last.safetensors") for name in ("run", "command"))
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    steps = [progress for progress in seen if progress.metrics is None]
    epochs = [progress for progress in seen if progress.metrics is not None]
    assert [progress.step for progress in steps] == [1, 2, 3, 4, 5, 6] and {progress.steps for progress in seen} == {6}
    assert all(progress.losses["total"] > 0 for progress in seen)
    assert "val_mean_iou" in epochs[-1].metrics and epochs[-1].step == 6
    assert run.status == "finished" and run.path == tmp_path / "run"
    assert run.best.keys() == {"best-supervised", "best-final", "best-miou"}
    assert run.metrics["val_mean_iou"] == epochs[-1].metrics["val_mean_iou"]


@pytest.mark.parametrize("by", ["callback", "event"])
def test_a_stopped_training_goes_on_to_the_same_weights(by: str, disc_dataset: Path, tmp_path: Path) -> None:
    whole = bioseg.train_uda(disc_dataset, run=tmp_path / "whole", **SHORT)
    event = threading.Event()

    def progressed(progress: bioseg.TrainingProgress) -> bool | None:
        if progress.step < 3:
            return None
        if by == "callback":
            return False
        event.set()
        return True

    with pytest.raises(bioseg.Interrupted, match="Stopped after 3 of 6 steps") as stopped:
        bioseg.train_uda(disc_dataset, run=tmp_path / "run", progress=progressed, stop=event, **SHORT)
    done = stopped.value.done
    assert (done.path, done.status) == (tmp_path / "run", "interrupted")
    assert f"resume={str(tmp_path / 'run')!r}" in str(stopped.value)
    run = bioseg.train_uda(resume=done.path)
    assert run.best == whole.best
    ours, theirs = (load_file(result.path / "checkpoints" / "last.safetensors") for result in (run, whole))
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_iic_tells_of_its_progress_and_stops(disc_dataset: Path, tmp_path: Path) -> None:
    settings = {"width": 2, "epochs": 2, "batch_size": 4}
    seen: list[bioseg.TrainingProgress] = []
    run = bioseg.train_iic(disc_dataset, run=tmp_path / "run", progress=seen.append, **settings)
    assert run.status in ("finished", "collapsed") and [report.epoch for report in seen if report.metrics] == [1, 2]
    with pytest.raises(bioseg.Interrupted) as stopped:
        bioseg.train_iic(disc_dataset, run=tmp_path / "two", restarts=2, progress=lambda _: False, **settings)
    assert stopped.value.done.path == tmp_path / "two"


def test_scores_are_those_of_the_command(disc_run: Path, bioseg_quietly: Cli) -> None:
    result = bioseg.evaluate(disc_run, draws=100)
    told = json.loads(bioseg_quietly("evaluate", disc_run, "--draws", 100, "--json", "--quiet").stdout)
    assert json.loads(json.dumps(result.to_json())) == told
    assert result.evaluations[0].score.mean_iou == told["runs"][0]["mean_iou"]


def test_a_partial_failure_carries_what_was_scored(disc_run: Path, tmp_path: Path) -> None:
    with pytest.raises(bioseg.PartialFailure) as failed:
        bioseg.evaluate([disc_run, tmp_path / "none"], baselines=["none"])
    done = failed.value.done
    assert len(done.evaluations) == 1
    assert list(done.failures) == [tmp_path / "none"] and "Left out" in done.warnings[0]


def test_a_study_is_listed(disc_dataset: Path, tmp_path: Path) -> None:
    plan = {"data": {"discs": str(disc_dataset)}, "labels": [2], "losses": ["kl"], "draws": 1, "steps": 1}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    result = bioseg.run_study(tmp_path / "plan.yaml", out=tmp_path / "study", dry_run=True)
    assert result.results is None and {run.loss for run, _, _ in result.runs} >= {"none", "kl"}
    assert [entry["name"] for entry in result.entries] == [planned.name for planned, _, _ in result.runs]
    assert result.to_json() == {"study": str(tmp_path / "study"), "runs": result.entries}


def test_a_study_runs(disc_dataset: Path, tmp_path: Path) -> None:
    plan = {"data": {"discs": str(disc_dataset)}, "labels": [2], "losses": ["kl"], "draws": 1, "steps": 2}
    plan |= {"uda": {"width": 2, "batch_size": 1}, "baselines": ["otsu"]}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    result = bioseg.run_study(tmp_path / "plan.yaml", out=tmp_path / "study")
    assert [entry["status"] for entry in result.entries] == ["finished"] * len(result.runs)
    assert result.results is not None and not result.failures
    told = json.loads(json.dumps(result.to_json()))
    assert told["study"] == str(tmp_path / "study") and {cell["loss"] for cell in told["cells"]} == {"none", "kl"}
    for loss in ("none", "kl"):
        (score,) = result.results.values("discs", loss, 2, "best-supervised").values()
        assert 0 < score <= 1


def run_alone(code: str, folder: Path) -> str:
    """Run code in a process of its own; returns what it prints."""
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


def test_the_documentation_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
    assert len(blocks) == 8
    printed = run_alone("\n".join(blocks), tmp_path)
    assert "12 (1, 64, 64) ['background', 'cell']" in printed and "epoch 1: " in printed
    assert yaml.safe_load((tmp_path / "runs" / "stopped" / "manifest.yaml").read_text())["status"] == "finished"


def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook = json.loads((ROOT / "examples" / "python.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert notebook["nbformat"] == 4 and not any(cell["outputs"] for cell in cells)
    printed = run_alone("\n".join("".join(cell["source"]) for cell in cells), tmp_path)
    assert "(64, 64) (2, 64, 64)" in printed and (tmp_path / "runs" / "cells").is_dir()


def test_errors_name_arguments() -> None:
    names = ArgumentNames(PredictConfig)
    assert names("Give --tile 512, or --any-dtype.") == "Give tile=512, or any_dtype=True."
    assert (
        names("Give `bioseg predict` --tile 64. --nproc-per-node") == "Give `bioseg predict` tile=64. --nproc-per-node"
    )
    assert names("See `bioseg predict --tile 64`.") == "See `bioseg predict --tile 64`."
    assert ArgumentNames(TrainUDAConfig)("(--no-guard leaves it)") == "(guard=False leaves it)"


@pytest.fixture
def bioseg_quietly(bioseg: Cli) -> Cli:
    """The command line, which has to end well."""

    def run(*arguments: object) -> Result:
        result = bioseg(*arguments)
        assert result.exit_code == 0, result.output
        return result

    return run
