"""The guard: a run that unlabelled images have spoilt hands out its control, and a sound one does not train any."""

from __future__ import annotations

import json
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
from bioseg_cli.errors import Interrupted
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.metrics.shapes import ObjectShapes, object_shapes
from bioseg_cli.model.saved import load_model
from bioseg_cli.model.unet import UNet
from bioseg_cli.training import guard, look
from bioseg_cli.training.guard import alarms, harm, suspicious
from bioseg_cli.training.look import Look, Masks, look_at, masks_of
from bioseg_cli.training.loop import Trainer

pytestmark = pytest.mark.slow

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
    # Edges cut most discs: nothing is said of their shapes.
    assert found["run"]["objects"] == [None, None]
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


def test_what_was_seen_stays_where_the_user_stops_the_control(
    unvalidated: Path, bioseg: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> Trainer:
        raise Interrupted("Stopped after 3 of 40 steps; the state is saved")

    monkeypatch.setattr(guard, "_train_control", stopped)
    run = tmp_path / "run"
    assert bioseg("train-uda", unvalidated, "--run", run, *SETTINGS, *CONSTANT, "--quiet").exit_code != 0
    record = manifest(run)
    assert record["status"] == "interrupted" and record["guard"]["hands_out"] == "last"
    assert record["guard"]["suspicions"] and not {"control", "alarms"} & set(record["guard"])


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


def seen(
    shares: list[float],
    constant: float = 0.0,
    steadiness: float = 0.95,
    learnt: float = 0.2,
    size: float = 300,
    solidity: float | None = 0.9,
) -> Look:
    each = np.array([[1 - share, share] for share in shares])
    taught = np.array([0.8, 0.2])
    return Look(each, constant, steadiness, np.array([1 - learnt, learnt]), taught, {1: cells(size, solidity)})


def cells(size: float = 300, solidity: float | None = 0.9) -> ObjectShapes:
    return ObjectShapes(per_map=10, whole=8, whole_share=0.8, size=size, solidity=solidity)


def masks(shares: tuple[float, ...] = (0.8, 0.2), constant: float = 0.0) -> Masks:
    return Masks(np.array(shares), constant, {1: cells()})


def test_what_is_suspicious() -> None:
    for shares in ([0.2, 0.2], [0.07, 0.07], [0.59, 0.59], [0.0, 0.5]):
        assert suspicious(seen(shares), masks(), NAMES) == []
    assert suspicious(seen([0.06, 0.07]), masks(), NAMES) == [
        "'cell' has 6.5% of their pixels, of the labelled ones 20.0%"
    ]
    assert len(suspicious(seen([0.62, 0.60]), masks(), NAMES)) == 1
    assert suspicious(seen([0.2, 0.2], constant=0.25), masks(), NAMES) == []
    assert len(suspicious(seen([0.2, 0.2], constant=0.3), masks(), NAMES)) == 1
    assert suspicious(seen([0.2, 0.2], constant=0.7), masks(constant=0.5), NAMES) == []
    for learnt in (0.135, 0.299):
        assert suspicious(seen([0.2], learnt=learnt), masks(), NAMES) == []
    assert suspicious(seen([0.2], learnt=0.31), masks(), NAMES) == [
        "where there are labels 'cell' has 31.0%, in the masks 20.0%"
    ]
    assert len(suspicious(seen([0.2], learnt=0.13), masks(), NAMES)) == 1
    # Of a rare class one that went missing, and one that never was there.
    same = np.array([0.8, 0.2, 0.0])
    three = Look(same[None], 0.0, 1.0, same, same, {1: cells()})
    assert len(suspicious(three, masks((0.79, 0.2, 0.01)), ("a", "b", "rim"))) == 1
    assert suspicious(three, masks((0.8, 0.2, 0.0)), ("a", "b", "rim")) == []


def test_what_is_an_alarm() -> None:
    control = seen([0.2, 0.2, 0.2, 0.2])
    assert alarms(seen([0.14, 0.29, 0.2, 0.45]), control, masks(), NAMES) == []
    (said_apart,) = alarms(seen([0.1, 0.31, 0.2, 0.2]), control, masks(), NAMES)
    assert said_apart == "on 50% of the images a class has not 0.67 to 1.5 times the control's pixels"
    assert alarms(seen([0.0] * 4), seen([0.0005] * 4), masks(), NAMES) == []
    assert alarms(seen([0.2] * 4, constant=0.25), control, masks(), NAMES) == []
    assert len(alarms(seen([0.2] * 4, constant=0.5), control, masks(), NAMES)) == 1
    assert alarms(seen([0.2] * 4, steadiness=0.935), control, masks(), NAMES) == []
    assert alarms(seen([0.2] * 4, steadiness=0.92), control, masks(), NAMES) == [
        "turned and reflected, 92.0% of the pixels keep their class, by the control 95.0%"
    ]


def test_a_control_that_looks_worse_itself_is_not_handed_out() -> None:
    many, nothing = seen([0.7, 0.7]), seen([0.0, 0.0], constant=1.0)
    assert [len(suspicious(look, masks(), NAMES)) for look in (many, nothing)] == [1, 2]
    assert len(alarms(many, nothing, masks(), NAMES)) == 1
    assert harm(many, nothing, masks(), NAMES) == []
    sound = seen([0.2, 0.2])
    assert harm(many, sound, masks(), NAMES) == alarms(many, sound, masks(), NAMES) != []
    # As many suspicions: the run is no better.
    assert harm(many, seen([0.0, 0.0]), masks(), NAMES) != []


def test_objects_unlike_those_of_the_masks_are_suspicious() -> None:
    for size, solidity in ((101, 0.81), (899, 0.99), (300, None)):
        assert suspicious(seen([0.2], size=size, solidity=solidity), masks(), NAMES) == []
    specks = suspicious(seen([0.2], size=4, solidity=None), masks(), NAMES)
    assert specks == ["objects of 'cell' have 4 pixels, in the masks 300"]
    merged = suspicious(seen([0.2], size=910, solidity=0.79), masks(), NAMES)
    assert merged == [
        "objects of 'cell' have 910 pixels, in the masks 300",
        "objects of 'cell' have a solidity of 0.79, in the masks 0.90",
    ]
    assert len(suspicious(seen([0.2], size=0, solidity=None), masks(), NAMES)) == 1
    # Of a class that the masks have no shapes of nothing is said.
    assert suspicious(seen([0.2], size=4), Masks(np.array([0.8, 0.2]), 0.0, {}), NAMES) == []


def test_objects_farther_from_the_masks_than_those_of_the_control_are_an_alarm() -> None:
    def said_of(run: tuple[float, float | None], control: tuple[float, float | None]) -> list[str]:
        looks = (seen([0.2], size=size, solidity=solidity) for size, solidity in (run, control))
        return alarms(*looks, masks(), NAMES)

    assert said_of((4, None), (280, 0.9)) == ["objects of 'cell' have 4 pixels, by the control 280, in the masks 300"]
    assert len(said_of((0, None), (280, 0.9))) == 1
    assert said_of((2000, 0.6), (320, 0.88)) == [
        "objects of 'cell' have 2000 pixels, by the control 320, in the masks 300",
        "objects of 'cell' have a solidity of 0.60, by the control 0.88, in the masks 0.90",
    ]
    # Both alike, whatever the masks; and a control that is the farther one.
    assert said_of((4, 0.5), (5, 0.55)) == []
    assert said_of((300, 0.9), (4, 0.5)) == said_of((200, 0.9), (1000, 0.9)) == said_of((0, None), (0, None)) == []
    # Less solid than a control that draws smoother than the masks.
    assert said_of((300, 0.82), (300, 0.95)) == []


def test_shares_of_labels_and_of_a_network(unvalidated: Path) -> None:
    with Dataset(unvalidated) as dataset:
        labelled = dataset.label_order[:3]
        learnt = masks_of(dataset, labelled)
        drawn = np.stack([discs(int(dataset.name(int(i)).removeprefix("disc").split(".")[0]))[1] for i in labelled])
        assert learnt.shares == pytest.approx([1 - drawn.mean(), drawn.mean()]) and learnt.constant == 0
        torch.manual_seed(5)
        network = UNet(UNetConfig(in_channels=1, heads={"main": 2}, width=4, depth=2)).eval()
        images = dataset.indices("train")[:2]
        found = look_at(network, dataset, images, images, resolve_precision("fp32", CPU), (1,))
        drawn = np.stack([dataset.labels(int(i)) for i in images])
        with torch.inference_mode():
            stack = torch.from_numpy(np.stack([dataset.normalised(int(i)) for i in images]))
            plain = network(stack)["main"].argmax(dim=1)
            mirrored = network(stack.flip(-1))["main"].argmax(dim=1).flip(-1)
            turned = torch.rot90(network(torch.rot90(stack, 1, (-2, -1)))["main"].argmax(dim=1), -1, (-2, -1))
    assert found.taught[1] == pytest.approx(drawn.mean())
    assert found.shapes == {1: object_shapes(plain.numpy(), 1)}
    assert found.learnt[1] == pytest.approx(float(plain.float().mean()), abs=1e-3)
    np.testing.assert_allclose(found.shares[:, 1], plain.float().mean(dim=(1, 2)), atol=1e-3)
    steady = np.mean([float((other == plain).float().mean()) for other in (mirrored, turned)])
    assert found.steadiness == pytest.approx(steady, abs=1e-3) and found.steadiness < 1


def write_grid(path: Path, drawn: np.ndarray, size: int = 80, padded: int = 0) -> Path:
    """One image with 16 bright squares of 8 x 8 pixels, labelled where `drawn` is true, and padded below."""
    cell = np.pad(np.ones((8, 8), np.uint8), ((6, 6), (6, 6)))
    mask = np.tile(cell, (4, 4))
    image = np.pad(1000 + 1500.0 * mask, ((0, padded), (0, 0)))[None].astype(np.uint16)
    labels = np.pad(np.where(drawn, mask, 255), ((0, padded), (0, 0)), constant_values=255).astype(np.uint8)
    with DatasetWriter(path, count=1, image_shape=image.shape, image_dtype=np.uint16) as writer:
        writer.add(Item(image, labels, "train", "g", ItemSource("d.tif", "0" * 64, 0, (0, 0), (size, size))))
        normalisation = Normalisation(method="minmax", low=(500.0,), high=(3200.0,))
        writer.finish(DatasetInfo("grid", {}, CLASSES, normalisation, PixelSize(0.5, 0.5, "µm")))
    return path


def test_shapes_are_those_of_classes_with_enough_whole_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = np.ones((80, 80), bool)
    with Dataset(write_grid(tmp_path / "d.h5", every)) as dataset:
        found = masks_of(dataset, np.array([0]))
        # The background is one object that the edges cut.
        assert found.shapes == {1: ObjectShapes(per_map=16, whole=16, whole_share=1, size=64, solidity=1)}
        assert list(found.figures().model_dump()["objects"]) == [None, {"per_image": 16, "size": 64, "solidity": 1}]
        monkeypatch.setattr(look, "ENOUGH_OBJECTS", 17)
        assert masks_of(dataset, np.array([0])).shapes == {}
        monkeypatch.setattr(look, "ENOUGH_OBJECTS", 0)
        assert set(masks_of(dataset, np.array([0])).shapes) == {1}


def test_masks_drawn_in_part_have_no_shapes(tmp_path: Path) -> None:
    part = np.ones((80, 80), bool)
    part[0, 0] = False
    with Dataset(write_grid(tmp_path / "d.h5", part)) as dataset:
        assert masks_of(dataset, np.array([0])).shapes == {}
    # Padding is no part of the image.
    with Dataset(write_grid(tmp_path / "p.h5", np.ones((80, 80), bool), padded=16)) as dataset:
        found = masks_of(dataset, np.array([0]))
    assert found.shapes[1].whole == 16


class Broken(torch.nn.Module):
    """Finds every square of the grid, and says what `spoil` makes of them."""

    def __init__(self, spoil: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.spoil = spoil

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        cell = self.spoil((pixels[:, 0] > 0.5).float())
        return {"main": torch.stack([0.5 - cell, cell - 0.5], dim=1)}


def every_other(cell: torch.Tensor) -> torch.Tensor:
    """Single pixels in every other row and column of the squares."""
    spoilt = torch.zeros_like(cell)
    spoilt[:, ::2, ::2] = cell[:, ::2, ::2]
    return spoilt


def bridged(cell: torch.Tensor) -> torch.Tensor:
    """The squares of a row are one, by a bridge of two rows of pixels."""
    spoilt = cell.clone()
    for row in range(10, 80, 20):
        spoilt[:, row : row + 2, 10:70] = 1
    return spoilt


def test_specks_and_merged_objects_are_seen_and_alike_ones_are_not(tmp_path: Path) -> None:
    precision, image = resolve_precision("fp32", CPU), np.array([0])
    with Dataset(write_grid(tmp_path / "d.h5", np.ones((80, 80), bool))) as dataset:
        learnt = masks_of(dataset, image)
        sound, specks, merged = (
            look_at(Broken(spoil), dataset, image, image, precision, learnt.shapes)  # type: ignore[arg-type]
            for spoil in (torch.clone, every_other, bridged)
        )
    assert suspicious(sound, learnt, NAMES) == harm(sound, sound, learnt, NAMES) == []
    assert specks.shapes[1].size == 1 and specks.shapes[1].per_map == 16 * 16
    assert "objects of 'cell' have 1 pixels, by the control 64, in the masks 64" in harm(specks, sound, learnt, NAMES)
    # Four squares with three bridges of 2 x 12 pixels in a hull of 8 x 68.
    assert (merged.shapes[1].per_map, merged.shapes[1].size) == (4, 4 * 64 + 3 * 24)
    # The bridges turn with no image, which the guard saw before.
    assert harm(merged, sound, learnt, NAMES)[1:] == [
        "objects of 'cell' have 328 pixels, by the control 64, in the masks 64",
        "objects of 'cell' have a solidity of 0.60, by the control 1.00, in the masks 1.00",
    ]
    assert harm(merged, merged, learnt, NAMES) == []
    json.dumps(merged.figures().model_dump(), allow_nan=False)
    json.dumps(specks.figures().model_dump(), allow_nan=False)


def test_of_large_images_the_same_square_is_looked_at(unvalidated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    network = UNet(UNetConfig(in_channels=1, heads={"main": 2}, width=4, depth=2)).eval()
    given: list[tuple[int, ...]] = []
    network.register_forward_pre_hook(lambda _, inputs: given.append(tuple(inputs[0].shape)))
    with Dataset(unvalidated) as dataset:
        images = dataset.indices("train")[:2]
        monkeypatch.setattr(look, "SIDE", 32)
        looks = [look_at(network, dataset, images, images, resolve_precision("fp32", CPU), ()) for _ in range(2)]
    assert set(given) == {(1, 1, 32, 32)}
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
    monkeypatch.setattr(look, "SIDE", 32)
    network = UNet(UNetConfig(in_channels=1, heads={"main": 2}, width=4, depth=2)).eval()
    with Dataset(tmp_path / "d.h5") as dataset:
        images = np.array([0])
        learnt = masks_of(dataset, images)
        found = look_at(network, dataset, images, images, resolve_precision("fp32", CPU), learnt.shapes)
    assert (learnt.shares.tolist(), learnt.constant) == ([pytest.approx(2 / 3), pytest.approx(1 / 3)], 0)
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
    (weights,) = (control.initial_weights for control in controls)
    assert weights is not None and all(torch.equal(tensor, began[name]) for name, tensor in weights.items())
    # When the run goes on nobody has them any more.
    result = bioseg("train-uda", "--resume", run, "--steps", 4, "--quiet")
    assert result.exit_code == 0, result.output
    assert len(controls) == 1
    assert "began with the weights of another" in manifest(run)["guard"]["reason"]
