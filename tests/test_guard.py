"""The guard: a run that unlabelled images have spoilt hands out its control, and a sound one does not train any."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import Result
from conftest import CLASSES, SIZE, discs, write_discs

from bioseg_cli.compute.device import resolve_precision
from bioseg_cli.config import UNetConfig
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.model.saved import load_model
from bioseg_cli.model.unet import UNet
from bioseg_cli.training import guard
from bioseg_cli.training.guard import Look, alarms, harm, labelled_shares, look_at, suspicious
from bioseg_cli.training.loop import Trainer

Cli = Callable[..., Result]
CPU = torch.device("cpu")
SETTINGS = ("--labels", 4, "--width", 8, "--steps", 40, "--batch-size", 2, "--lr", 0.01)
CONSTANT = ("--no-stop-gradient", "--unsup-weight", 1000)
"""Both views agree best where nothing depends on the image."""
NAMES = ("background", "cell")


def manifest(run: Path) -> dict[str, Any]:
    return yaml.safe_load((run / "manifest.yaml").read_text())


def said(result: Result) -> str:
    return " ".join(result.stderr.split())


@pytest.fixture(scope="module")
def unvalidated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data") / "discs.h5", ("train",) * 8 + ("test",))


@pytest.fixture(scope="module")
def spoilt(unvalidated: Path, bioseg: Cli, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    run = tmp_path_factory.mktemp("runs") / "spoilt"
    result = bioseg("train-uda", unvalidated, "--run", run, *SETTINGS, *CONSTANT)
    assert result.exit_code == 0, result.output
    return run, result


def test_a_run_that_went_constant_is_caught_and_hands_out_its_control(
    spoilt: tuple[Path, Result], unvalidated: Path, bioseg: Cli, tmp_path: Path
) -> None:
    run, result = spoilt
    found = manifest(run)["guard"]
    assert found["run"]["constant"] == found["run"]["steadiness"] == 1
    # On the labelled images a pixel or two may be left: processors round differently.
    assert found["run"]["shares"] == [1.0, 0.0] and found["run"]["learnt"] == pytest.approx([1.0, 0.0], abs=0.001)
    assert found["labelled"]["shares"][1] == pytest.approx(0.1591, abs=1e-4)
    assert found["control"]["shares"][1] == pytest.approx(0.14, abs=0.03) and found["control"]["constant"] == 0
    assert found["images"] == 4 and found["hands_out"] == "control"
    assert found["suspicions"] == [
        "100% of them are one class throughout, of the labelled ones 0%",
        "'cell' has 0.0% of their pixels, of the labelled ones 15.9%",
        "where there are labels 'cell' has 0.0%, in the masks 15.9%",
    ]
    assert len(found["alarms"]) == 2
    assert f"Warning: The unlabelled images have done harm: {'; '.join(found['alarms'])}. The run hands out" in said(
        result
    )
    assert load_model(run / "checkpoints" / "control.safetensors", CPU).card.method == "supervised"
    # What stands for the run finds the discs of a new image; its last state finds nothing.
    scores = {}
    for state in ((), ("--state", "last")):
        out = tmp_path / f"out{len(state)}"
        assert bioseg("predict", run, unvalidated, "--split", "test", "--out", out, *state, "--quiet").exit_code == 0
        scored = bioseg(
            "evaluate", "--predictions", out, "--truth", unvalidated, "--split", "test", "--csv", f"{out}.csv"
        )
        assert scored.exit_code == 0, scored.output
        header, first = (line.split(",") for line in Path(f"{out}.csv").read_text().splitlines()[:2])
        scores[state] = float(first[header.index("mean_iou")])
    assert scores[()] > 0.85 and scores["--state", "last"] < 0.5
    noted = bioseg("evaluate", run, "--split", "test", "--baselines", "none", "--draws", 100)
    assert "its guard hands out the supervised control" in " ".join(noted.output.split())
    assert "State of every run: control." in " ".join(noted.output.split())


def test_a_resumed_run_may_do_without(spoilt: tuple[Path, Result], bioseg: Cli, tmp_path: Path) -> None:
    run = shutil.copytree(spoilt[0], tmp_path / "run")
    result = bioseg("train-uda", "--resume", run, "--no-guard", "--quiet")
    assert result.exit_code == 0, result.output
    assert "guard" not in manifest(run) and manifest(run)["config"]["guard"] is False
    assert {path.stem for path in (run / "checkpoints").iterdir()} == {"last"}
    again = bioseg("train-uda", "--resume", run, "--lr", 0.5, "--quiet")
    assert again.exit_code == 2 and "Only the budget may change" in " ".join(again.stderr.split())


def test_the_control_is_the_run_without_unlabelled_images(
    spoilt: tuple[Path, Result], unvalidated: Path, bioseg: Cli, tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    result = bioseg("train-uda", unvalidated, "--run", alone, *SETTINGS, "--unsup-loss", "none", "--quiet")
    assert result.exit_code == 0, result.output
    assert "guard" not in manifest(alone)
    own = load_model(spoilt[0] / "checkpoints" / "control.safetensors", CPU).network.state_dict()
    other = load_model(alone / "checkpoints" / "last.safetensors", CPU).network.state_dict()
    assert all(torch.equal(own[name], other[name]) for name in other)


def test_a_sound_run_hands_out_its_last_state_and_trains_no_control(
    unvalidated: Path, bioseg: Cli, tmp_path: Path
) -> None:
    run = tmp_path / "sound"
    result = bioseg("train-uda", unvalidated, "--run", run, *SETTINGS)
    assert result.exit_code == 0, result.output
    found = manifest(run)["guard"]
    assert found["suspicions"] == [] and found["hands_out"] == "last"
    assert found["run"]["shares"][1] == pytest.approx(0.1591, abs=0.06)
    assert {path.stem for path in (run / "checkpoints").iterdir()} == {"last"}
    assert "Warning" not in result.stderr


def test_without_a_need_nothing_is_looked_at(
    unvalidated: Path, disc_dataset: Path, bioseg: Cli, tmp_path: Path
) -> None:
    # The user wants no guard; or validation images with masks choose the state.
    for number, (data, more) in enumerate(((unvalidated, ("--no-guard",)), (disc_dataset, ()))):
        run = tmp_path / str(number)
        short = ("--labels", 2, "--width", 2, "--steps", 2, "--quiet")
        assert bioseg("train-uda", data, "--run", run, *short, *more).exit_code == 0
        assert "guard" not in manifest(run)


def look(shares: list[float], constant: float = 0.0, steadiness: float = 0.95, learnt: float = 0.2) -> Look:
    taught = np.array([0.8, 0.2])
    return Look(
        np.array([[1 - one, one] for one in shares]), constant, steadiness, np.array([1 - learnt, learnt]), taught
    )


def test_what_is_suspicious() -> None:
    labelled = np.array([0.8, 0.2])
    for shares in ([0.2, 0.2], [0.07, 0.07], [0.59, 0.59], [0.0, 0.5]):
        assert suspicious(look(shares), labelled, 0.0, NAMES) == []
    assert suspicious(look([0.06, 0.07]), labelled, 0.0, NAMES) == [
        "'cell' has 6.5% of their pixels, of the labelled ones 20.0%"
    ]
    assert len(suspicious(look([0.62, 0.60]), labelled, 0.0, NAMES)) == 1
    assert suspicious(look([0.2, 0.2], constant=0.25), labelled, 0.0, NAMES) == []
    assert len(suspicious(look([0.2, 0.2], constant=0.3), labelled, 0.0, NAMES)) == 1
    assert suspicious(look([0.2, 0.2], constant=0.7), labelled, 0.5, NAMES) == []
    for learnt in (0.135, 0.299):
        assert suspicious(look([0.2], learnt=learnt), labelled, 0.0, NAMES) == []
    assert suspicious(look([0.2], learnt=0.31), labelled, 0.0, NAMES) == [
        "where there are labels 'cell' has 31.0%, in the masks 20.0%"
    ]
    assert len(suspicious(look([0.2], learnt=0.13), labelled, 0.0, NAMES)) == 1
    # Of a rare class one that went missing, and one that never was there.
    same = np.array([0.8, 0.2, 0.0])
    three = Look(same[None], 0.0, 1.0, same, same)
    assert len(suspicious(three, np.array([0.79, 0.2, 0.01]), 0.0, ("a", "b", "rim"))) == 1
    assert suspicious(three, np.array([0.8, 0.2, 0.0]), 0.0, ("a", "b", "rim")) == []


def test_what_is_an_alarm() -> None:
    control = look([0.2, 0.2, 0.2, 0.2])
    assert (
        alarms(look([0.14, 0.29, 0.2, 0.9]), control) == ["on 25% of the images a class"]
        or alarms(look([0.14, 0.29, 0.2, 0.45]), control) == []
    )
    (said_apart,) = alarms(look([0.1, 0.31, 0.2, 0.2]), control)
    assert said_apart == "on 50% of the images a class has not 0.67 to 1.5 times the control's pixels"
    assert alarms(look([0.0] * 4), look([0.0005] * 4)) == []
    assert alarms(look([0.2] * 4, constant=0.25), control) == []
    assert len(alarms(look([0.2] * 4, constant=0.5), control)) == 1
    assert alarms(look([0.2] * 4, steadiness=0.935), control) == []
    assert alarms(look([0.2] * 4, steadiness=0.92), control) == [
        "turned and reflected, 92.0% of the pixels keep their class, by the control 95.0%"
    ]


def test_a_control_that_looks_worse_itself_is_not_handed_out() -> None:
    labelled = np.array([0.8, 0.2])
    halves, nothing = look([0.5, 0.7]), look([0.0, 0.0], constant=1.0)
    suspicions, doubts = (suspicious(one, labelled, 0.0, NAMES) for one in (look([0.7, 0.7]), nothing))
    assert (len(suspicions), len(doubts)) == (1, 2)
    assert len(alarms(halves, nothing)) == 1
    assert harm(halves, nothing, suspicions, doubts) == []
    assert harm(halves, look([0.2, 0.2]), suspicions, []) == alarms(halves, look([0.2, 0.2])) != []
    assert harm(nothing, look([0.0, 0.9]), doubts, suspicions) != []


def test_shares_of_labels_and_of_a_network(unvalidated: Path) -> None:
    with Dataset(unvalidated) as dataset:
        labelled = dataset.label_order[:3]
        shares, constant = labelled_shares(dataset, labelled)
        masks = np.stack([discs(int(dataset.name(int(i)).removeprefix("disc").split(".")[0]))[1] for i in labelled])
        assert shares == pytest.approx([1 - masks.mean(), masks.mean()]) and constant == 0
        torch.manual_seed(5)
        network = UNet(UNetConfig(in_channels=1, heads={"main": 2}, width=4, depth=2)).eval()
        images = dataset.indices("train")[:2]
        found = look_at(network, dataset, images, images, resolve_precision("fp32", CPU))
        masks = np.stack([dataset.labels(int(i)) for i in images])
        with torch.inference_mode():
            stack = torch.from_numpy(np.stack([dataset.normalised(int(i)) for i in images]))
            plain = network(stack)["main"].argmax(dim=1)
            mirrored = network(stack.flip(-1))["main"].argmax(dim=1).flip(-1)
            turned = torch.rot90(network(torch.rot90(stack, 1, (-2, -1)))["main"].argmax(dim=1), -1, (-2, -1))
    assert found.taught[1] == pytest.approx(masks.mean())
    assert found.learnt[1] == pytest.approx(float(plain.float().mean()), abs=1e-3)
    np.testing.assert_allclose(found.shares[:, 1], plain.float().mean(dim=(1, 2)), atol=1e-3)
    steady = np.mean([float((other == plain).float().mean()) for other in (mirrored, turned)])
    assert found.steadiness == pytest.approx(steady, abs=1e-3) and found.steadiness < 1


def test_of_large_images_the_same_square_is_looked_at(unvalidated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    network = UNet(UNetConfig(in_channels=1, heads={"main": 2}, width=4, depth=2)).eval()
    seen: list[tuple[int, ...]] = []
    network.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
    with Dataset(unvalidated) as dataset:
        images = dataset.indices("train")[:2]
        monkeypatch.setattr(guard, "SIDE", 32)
        looks = [look_at(network, dataset, images, images, resolve_precision("fp32", CPU)) for _ in range(2)]
    assert set(seen) == {(1, 1, 32, 32)}
    assert (looks[0].shares == looks[1].shares).all()


def test_few_labelled_pixels_of_a_large_image_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DatasetWriter(tmp_path / "d.h5", count=1, image_shape=(1, SIZE, SIZE), image_dtype=np.uint16) as writer:
        image, mask = discs(0)
        mask[:] = 255
        mask[:3, :3] = np.eye(3)
        source = ItemSource("d.tif", "0" * 64, 0, (0, 0), (SIZE, SIZE))
        writer.add(Item(image, mask, "train", "g", source))
        normalisation = Normalisation(method="minmax", low=(500.0,), high=(3200.0,))
        writer.finish(DatasetInfo("discs", {}, CLASSES, normalisation, PixelSize(0.5, 0.5, "µm")))
    monkeypatch.setattr(guard, "SIDE", 32)
    network = UNet(UNetConfig(in_channels=1, heads={"main": 2}, width=4, depth=2)).eval()
    with Dataset(tmp_path / "d.h5") as dataset:
        images = np.array([0])
        shares, constant = labelled_shares(dataset, images)
        found = look_at(network, dataset, images, images, resolve_precision("fp32", CPU))
    assert (shares.tolist(), constant) == ([pytest.approx(2 / 3), pytest.approx(1 / 3)], 0)
    assert found.learnt.sum() == pytest.approx(1) and 0 < found.taught.sum() <= 1.001


def test_the_control_begins_with_the_weights_that_its_run_began_with(
    spoilt: tuple[Path, Result], unvalidated: Path, bioseg: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls: list[Trainer] = []

    def control(*arguments: Any) -> Trainer:
        controls.append(Trainer(*arguments))
        return controls[-1]

    monkeypatch.setattr(guard, "Trainer", control)
    monkeypatch.setattr(guard, "suspicious", lambda *_: ["all of it"])
    run, short = tmp_path / "run", ("--labels", 2, "--steps", 2, "--width", 8, "--quiet")
    result = bioseg("train-uda", unvalidated, "--run", run, *short, "--init-from", spoilt[0])
    assert result.exit_code == 0, result.output
    began = load_model(spoilt[0] / "checkpoints" / "control.safetensors", CPU).network.state_dict()
    (weights,) = (one.initial_weights for one in controls)
    assert weights is not None and all(torch.equal(tensor, began[name]) for name, tensor in weights.items())
    # When the run goes on nobody has them any more.
    result = bioseg("train-uda", "--resume", run, "--steps", 4, "--quiet")
    assert result.exit_code == 0, result.output
    assert len(controls) == 1
    assert "began with the weights of another" in manifest(run)["guard"]["reason"]
