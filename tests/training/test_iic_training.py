"""`bioseg train-iic` from the command line: no label is used, collapses are named, clusters are mapped afterwards."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from conftest import CLASSES, SIZE, SPLITS, discs, write_discs
from helpers.runs import manifest, rows, same, weights

from bioseg_cli.compute import signals
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.metrics.mapping import contingency, hungarian, many_to_one
from bioseg_cli.model.saved import ModelCard, load_model
from bioseg_cli.runs.directory import RunDirectory, default_state
from bioseg_cli.training.iic import IIC
from bioseg_cli.training.iic_settings import TrainIICConfig

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
CPU = torch.device("cpu")
SMALL = ("--width", 2, "--batch-size", 4, "--quiet")
SHORT = (*SMALL, "--epochs", 2)
ALL = tuple(range(len(SPLITS)))


def card(run: Path, state: str = "best-final") -> ModelCard:
    return load_model(run / "checkpoints" / f"{state}.safetensors", CPU).card


def trained(bioseg: Cli, data: Path, run: Path, *options: object) -> Path:
    result = bioseg("train-iic", data, "--run", run, *options)
    assert result.exit_code == 0, result.output
    return run


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data") / "unlabelled.h5", unlabelled=ALL)


@pytest.fixture(scope="module")
def short_run(tmp_path_factory: pytest.TempPathFactory, bioseg: Cli, disc_dataset: Path) -> Path:
    return trained(bioseg, disc_dataset, tmp_path_factory.mktemp("runs") / "short", *SHORT)


def test_labels_change_neither_the_weights_nor_the_choice_of_the_state(
    bioseg: Cli, unlabelled: Path, short_run: Path, tmp_path: Path
) -> None:
    without = trained(bioseg, unlabelled, tmp_path / "without", *SHORT)
    wrong = trained(bioseg, write_discs(tmp_path / "wrong.h5", wrong=ALL), tmp_path / "wrong", *SHORT)
    for run in (without, wrong):
        for state in ("best-final", "last"):
            assert same(weights(run, state), weights(short_run, state)), state
        assert rows(run) == rows(short_run)
        assert manifest(run)["best"] == manifest(short_run)["best"]
    # The labels do decide what a cluster is called.
    assert card(wrong).mappings["main"].classes == card(short_run).mappings["main"].classes[::-1]


def test_no_label_is_read_while_the_network_is_trained(
    bioseg: Cli, disc_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bool] = []
    run = tmp_path / "run"
    original = Dataset.labels

    def watching(self: Dataset, index: int) -> np.ndarray:
        log = run / "metrics.csv"
        # Before there is a run, which classes the images show that will name the clusters; after it, the masks.
        read.append(not run.exists() or (log.is_file() and len(log.read_text().splitlines()) == 3))
        return original(self, index)

    monkeypatch.setattr(Dataset, "labels", watching)
    trained(bioseg, disc_dataset, run, *SHORT)
    assert read
    assert all(read)


def test_the_test_split_is_never_read(
    bioseg: Cli, disc_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()
    original = Dataset._read

    def recording(self: Dataset, name: str, index: int) -> np.ndarray:
        seen.add(index)
        return original(self, name, index)

    monkeypatch.setattr(Dataset, "_read", recording)
    trained(bioseg, disc_dataset, tmp_path / "run", *SHORT)
    assert seen == {index for index, split in enumerate(SPLITS) if split != "test"}


def test_the_saved_model_knows_what_its_clusters_mean(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    run = trained(bioseg, disc_dataset, tmp_path / "run", *SHORT, "--map-labels", 3, "--aux-clusters", 5)
    model = load_model(run / "checkpoints" / "last.safetensors", CPU)
    with Dataset(disc_dataset) as dataset:
        tables = {head: np.zeros((count, 2), dtype=np.int64) for head, count in (("main", 2), ("aux", 5))}
        for index in dataset.label_order[:3].tolist():
            with (
                torch.no_grad(),
                torch.autocast("cpu", torch.bfloat16, enabled=manifest(run)["precision"]["name"] == "bf16"),
            ):
                logits = model.network(torch.from_numpy(dataset.normalised(index))[None])
            for head, table in tables.items():
                clusters = logits[head].float().argmax(1)[0].numpy()
                table += contingency(clusters, dataset.labels(index), len(table), 2)
        names = [dataset.name(index) for index in dataset.label_order[:3]]
    for head, fit in (("main", hungarian), ("aux", many_to_one)):
        mapping = model.card.mappings[head]
        assert mapping.classes == tuple(fit(tables[head]))
        assert (mapping.split, mapping.images) == ("train", 3)
        np.testing.assert_allclose(mapping.areas, tables[head].sum(1) / tables[head].sum())
    assert model.card.outputs == "clusters"
    assert manifest(run)["mapped_by"] == {"split": "train", "images": names, "unseen": []}
    assert manifest(run)["mappings"]["last"]["aux"]["classes"] == list(model.card.mappings["aux"].classes)


def test_without_any_label_there_is_no_mapping_and_that_is_said(bioseg: Cli, unlabelled: Path, tmp_path: Path) -> None:
    result = bioseg("train-iic", unlabelled, "--run", tmp_path / "run", "--width", 2, "--epochs", 1)
    assert result.exit_code == 0, result.output
    assert "the clusters stay clusters" in result.output
    assert "not mapped" in result.output
    assert card(tmp_path / "run").mappings == {}
    assert card(tmp_path / "run").outputs == "clusters"


def test_masks_that_leave_every_pixel_out_name_no_cluster(
    bioseg: Cli, disc_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dataset, "labels", lambda self, index: np.full((SIZE, SIZE), self.ignore, dtype=np.uint8))
    result = bioseg("train-iic", disc_dataset, "--run", tmp_path / "run", *SHORT)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "no class at all, every pixel is ignored: no cluster can be named by them" in said
    assert "No mask is read in training" not in said
    assert not card(tmp_path / "run").mappings


def test_each_epoch_has_the_signs_of_collapse(short_run: Path) -> None:
    with (short_run / "metrics.csv").open() as stream:
        log = list(csv.DictReader(stream))
    assert len(log) == 2
    for head in ("main", "aux"):
        for row in log:
            assert 0 <= float(row[f"val_{head}_marginal_entropy"]) <= 1
            assert 0 <= float(row[f"val_{head}_pixel_entropy"]) <= 1
            assert 0 <= float(row[f"val_{head}_constant_images"]) <= 1
            assert 1 <= float(row[f"val_{head}_live_clusters"]) <= (2 if head == "main" else 10)
            assert float(row[f"val_{head}_mi_share"]) <= 1
    assert not any("iou" in name for name in log[0])


def test_an_epoch_is_described_on_the_screen(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    result = bioseg("train-iic", disc_dataset, "--run", tmp_path / "run", "--width", 2, "--epochs", 2)
    assert "epoch 2 (4 updates" in result.output
    assert "of 0.693, entropy" in result.output
    assert "of 10 clusters" in result.output
    assert "afterwards 8 labelled training images decide" in " ".join(result.output.split())


def test_masks_of_the_validation_name_clusters_where_the_training_has_none(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "d.h5", ("train", "train", "val", "val"), unlabelled=(0, 1))
    with Dataset(data) as dataset:
        remarks = IIC(dataset, TrainIICConfig(width=2), CPU).remarks
    assert any("afterwards 2 labelled validation images decide" in remark for remark in remarks)


@pytest.mark.parametrize(
    "options",
    [
        ("--heads", "joint"),
        ("--views", "rotation,flip,photometric"),
        ("--views", "photometric"),
        ("--shift", 2),
        ("--shift", 2, "--shift-loss", "collapsed"),
        ("--clusters", 3, "--aux-clusters", 3),
        ("--lamb", 1.5),
        ("--optimizer", "adam"),
        ("--crop", 32),
        ("--preset", "stable"),
        ("--unet", "original", "--precision", "fp32"),
        ("--ema", 0.9),
    ],
    ids=str,
)
def test_every_option_trains_something_else_and_repeatably(
    options: tuple[object, ...], bioseg: Cli, disc_dataset: Path, short_run: Path, tmp_path: Path
) -> None:
    first, again = (trained(bioseg, disc_dataset, tmp_path / name, *SMALL, "--steps", 2, *options) for name in "ab")
    assert same(weights(first), weights(again))
    assert rows(first) == rows(again)
    assert not same(weights(first), weights(short_run))
    parts = torch.load(first / "resume.pt", weights_only=True)["parts"]
    assert same(weights(first), parts["average" if "--ema" in options else "network"])


def test_the_manifest_of_a_run_repeats_it(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    options = ("--preset", "stable", "--map-labels", 2, "--epochs", 1)
    first = trained(bioseg, disc_dataset, tmp_path / "first", *SMALL, *options)
    result = bioseg("train-iic", "--config", first / "manifest.yaml", "--run", tmp_path / "again")
    assert result.exit_code == 0, result.output
    assert same(weights(first), weights(tmp_path / "again"))
    assert manifest(tmp_path / "again")["config"] == manifest(first)["config"]


def test_a_run_has_a_name_of_its_own(
    bioseg: Cli, disc_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert bioseg("train-iic", disc_dataset, *SMALL, "--steps", 1, "--seed", 4).exit_code == 0
    assert (tmp_path / "runs" / "discs-iic-paper-2+10clusters-seed4" / "manifest.yaml").is_file()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--clusters", 1), 2, "--clusters"),
        (("--aux-clusters", 1), 2, "--aux-clusters"),
        (("--clusters", 4, "--aux-clusters", 3), 2, "--aux-clusters 3 is less than --clusters 4"),
        (("--clusters", 4, "--aux-clusters", 4, "--heads", "both"), 2, "heads"),
        (("--views", "rotation,shear"), 2, "'shear' (known: rotation, flip, photometric)"),
        (("--shift", 48), 2, "--shift 48 displaces the maps by more than they are large (48 pixels)"),
        (("--shift", 32, "--crop", 32), 2, "(32 pixels)"),
        (("--shift", -1), 2, "--shift"),
        (("--map-labels", 9), 2, "9 labelled images were asked for, the train split has 8"),
        (("--map-labels", 0), 2, "--map-labels"),
        (("--map-labels", "some"), 2, "--map-labels"),
        (("--restarts", 0), 2, "--restarts"),
        (("--preset", "fast"), 2, "preset"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_its_reason(
    options: tuple[object, ...], code: int, message: str, bioseg: Cli, disc_dataset: Path, tmp_path: Path
) -> None:
    result = bioseg("train-iic", disc_dataset, "--run", tmp_path / "run", *SMALL, *options)
    assert result.exit_code == code
    assert message in " ".join(result.output.replace("│", " ").split())
    assert "Traceback" not in result.output
    assert not (tmp_path / "run").exists()


class StopAfter:
    """A signal that comes after so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> StopAfter:
        return self

    def __enter__(self) -> Callable[[], bool]:
        return self.ask

    def __exit__(self, *_: object) -> None:
        return None

    def ask(self) -> bool:
        self.left -= 1
        return self.left == -1


def stopped(bioseg: Cli, data: Path, run: Path, steps: int, monkeypatch: pytest.MonkeyPatch, *options: object) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(signals, "stop_signals", StopAfter(steps))
        result = bioseg("train-iic", data, "--run", run, *options)
    assert result.exit_code == 130, result.output
    assert f"--resume {run}" in " ".join(result.output.split())
    assert manifest(run)["status"] == "interrupted"


def assert_equal_runs(resumed: Path, whole: Path) -> None:
    for state in ("best-final", "last"):
        assert same(weights(resumed, state), weights(whole, state)), state
        assert card(resumed, state) == card(whole, state)
    assert rows(resumed) == rows(whole)
    for key in ("status", "best", "mappings", "collapse", "config", "restarts"):
        assert manifest(resumed).get(key) == manifest(whole).get(key), key


@pytest.mark.parametrize("steps", [0, 1, 3, 4, 7])
def test_a_stopped_run_resumes_to_the_same_weights_bit_for_bit(
    steps: int, bioseg: Cli, disc_dataset: Path, short_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    stopped(bioseg, disc_dataset, run, steps, monkeypatch, *SHORT)
    assert bioseg("train-iic", "--resume", run).exit_code == 0
    assert_equal_runs(run, short_run)


def test_a_resumed_run_of_the_stable_preset_keeps_its_settings(
    bioseg: Cli, disc_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (*SHORT, "--preset", "stable")
    whole, run = trained(bioseg, disc_dataset, tmp_path / "whole", *options), tmp_path / "run"
    stopped(bioseg, disc_dataset, run, 2, monkeypatch, *options)
    assert bioseg("train-iic", "--resume", run, "--preset", "stable").exit_code == 0
    assert_equal_runs(run, whole)
    refused = bioseg("train-iic", "--resume", run, "--optimizer", "rmsprop")
    assert refused.exit_code == 2
    assert "optimizer (adam, not rmsprop)" in refused.output


def test_a_budget_that_is_spent_in_the_middle_of_an_epoch_ends_the_run(
    bioseg: Cli, disc_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    stopped(bioseg, disc_dataset, run, 3, monkeypatch, *SHORT)
    result = bioseg("train-iic", "--resume", run, "--steps", 2)
    assert result.exit_code == 0, result.output
    assert [row["updates"] for row in rows(run)] == ["3"]
    assert card(run, "last").mappings


@pytest.mark.parametrize("restarts", [1, 2])
def test_a_resumed_run_may_find_its_data_elsewhere_but_no_other_data(
    restarts: int, bioseg: Cli, unlabelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    write_discs(Path("cells.h5"))
    stopped(bioseg, Path("cells.h5"), run, 1, monkeypatch, *SHORT, "--restarts", restarts)
    Path("cells.h5").rename("moved.h5")
    refused = bioseg("train-iic", unlabelled, "--resume", run)
    assert refused.exit_code == 3
    assert "not the one this run was trained on" in refused.output
    result = bioseg("train-iic", "moved.h5", "--resume", run)
    assert result.exit_code == 0, result.output
    assert manifest(run)["data"]["path"] == str(tmp_path / "moved.h5")


# Long enough, and gentle enough, that not every restart is a collapsed one.
GENTLE = ("--optimizer", "adam", "--heads", "joint", "--norm", "instance", "--epochs", 6)
RESTARTS = (*SMALL, *GENTLE, "--restarts", 3, "--seed", 5)


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory, bioseg: Cli, disc_dataset: Path) -> Path:
    return trained(bioseg, disc_dataset, tmp_path_factory.mktemp("runs") / "restarted", *RESTARTS)


def test_of_the_restarts_the_most_informative_is_kept(
    bioseg: Cli, disc_dataset: Path, unlabelled: Path, restarted: Path, tmp_path: Path
) -> None:
    record = manifest(restarted)
    restarts = record["restarts"]
    assert [restart["seed"] for restart in restarts] == [5, 6, 7]
    (kept,) = (restart for restart in restarts if restart["kept"])
    assert set(record["times"]) == {"started", "ended"}
    rivals = [restart for restart in restarts if restart["status"] == "finished"] or restarts
    assert kept["information"] == max(restart["information"] for restart in rivals)
    assert len({restart["information"] for restart in restarts}) == 3
    alone = trained(bioseg, disc_dataset, tmp_path / "alone", *RESTARTS, "--restarts", 1, "--seed", kept["seed"])
    for state in ("best-final", "last"):
        assert same(weights(restarted, state), weights(alone, state))
    assert card(restarted).mappings == card(alone).mappings
    assert rows(restarted) == rows(alone)
    assert record["config"]["restarts"] == 3
    assert manifest(restarted / "restarts" / f"seed{kept['seed']}")["config"]["restarts"] == 1
    assert record["config"]["seed"] == 5
    # And no label had a part in it.
    without = trained(bioseg, unlabelled, tmp_path / "without", *RESTARTS)
    assert manifest(without)["restarts"] == restarts


@pytest.mark.parametrize("steps", [0, 13, 35])
def test_stopped_restarts_are_resumed(
    steps: int, bioseg: Cli, disc_dataset: Path, restarted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    stopped(bioseg, disc_dataset, run, steps, monkeypatch, *RESTARTS)
    result = bioseg("train-iic", "--resume", run)
    assert result.exit_code == 0, result.output
    # The restart that was stopped, of 12 steps each, went on and did not begin anew.
    assert len(manifest(run / "restarts" / f"seed{5 + steps // 12}")["times"]["resumed"]) == 1
    assert_equal_runs(run, restarted)
    assert set(manifest(run)["times"]) == {"started", "resumed", "ended"}


def test_restarts_that_go_on_keep_what_is_said_of_the_states_until_all_have_ended(
    bioseg: Cli, disc_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(bioseg, disc_dataset, tmp_path / "run", *SMALL, "--epochs", 1, "--restarts", 2)
    before = manifest(run)
    assert before["device"] == manifest(run / "restarts" / "seed0")["device"]
    # The first restart goes on to its second epoch, and the other does not begin.
    stopped(bioseg, disc_dataset, run, 1, monkeypatch, "--resume", run, "--epochs", 2)
    after = manifest(run)
    for key in ("best", "metrics", "progress", "clusters", "mappings", "mapped_by", "collapse", "restarts"):
        assert after[key] == before[key], key
    assert after["times"]["started"] == before["times"]["started"]
    assert (after["config"]["epochs"], after["config"]["restarts"]) == (2, 2)
    assert default_state(RunDirectory.open(run)) == "best-final"


def test_restarts_are_replaced_only_when_asked(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    run = trained(bioseg, disc_dataset, tmp_path / "run", *RESTARTS, "--restarts", 2)
    assert bioseg("train-iic", disc_dataset, "--run", run, *RESTARTS, "--restarts", 2).exit_code == 2
    trained(bioseg, disc_dataset, run, *RESTARTS, "--restarts", 2, "--seed", 0, "--overwrite")
    assert {path.name for path in (run / "restarts").iterdir()} == {"seed0", "seed1"}
    trained(bioseg, disc_dataset, run, *SHORT, "--overwrite")
    assert not (run / "restarts").exists()


def write_constant(path: Path) -> Path:
    """Images of one grey level each."""
    with DatasetWriter(path, count=10, image_shape=(1, SIZE, SIZE), image_dtype=np.uint16) as writer:
        for index in range(10):
            image = np.full((1, SIZE, SIZE), 1000 + 100 * index, dtype=np.uint16)
            source = ItemSource(f"flat{index}.tif", f"{index:064x}", 0, (0, 0), (SIZE, SIZE))
            writer.add(Item(image, discs(index)[1], "train" if index < 7 else "val", f"g{index}", source))
        writer.finish(DatasetInfo("flat", {}, CLASSES, Normalisation("minmax", (500.0,), (3200.0,))))
    return path


@pytest.mark.parametrize(
    ("constant", "options"),
    [(True, ()), (True, ("--preset", "stable", "--epochs", 5)), (False, ("--lr", 1000, "--epochs", 5))],
    ids=["constant images", "constant images, stable", "learning rate far too high"],
)
def test_a_collapsed_run_says_so_and_keeps_its_states(
    constant: bool, options: tuple[object, ...], bioseg: Cli, disc_dataset: Path, tmp_path: Path
) -> None:
    data = write_constant(tmp_path / "flat.h5") if constant else disc_dataset
    run = tmp_path / "run"
    result = bioseg("train-iic", data, "--run", run, "--width", 4, "--batch-size", 4, "--quiet", *options)
    assert result.exit_code == 0, result.output
    assert "Warning: the " in result.output
    assert "head has collapsed" in result.output
    record = manifest(run)
    assert record["status"] == "collapsed"
    kinds = {*record["collapse"]["last"].values(), *record["collapse"]["best-final"].values()}
    assert kinds <= {"uniform", "one cluster", "one map", "no information", "half and half"}
    assert record["collapse"]["last"] or record["collapse"]["best-final"]
    assert (run / "checkpoints" / "best-final.safetensors").is_file()


def test_a_run_on_the_demo_data_does_not_collapse(bioseg: Cli, tmp_path: Path) -> None:
    data, run = tmp_path / "demo.h5", tmp_path / "run"
    assert bioseg("prepare", "demo", "--images", 24, "--size", 128, "--out", data, "--quiet").exit_code == 0
    result = bioseg(
        "train-iic", data, "--run", run, "--preset", "stable", "--width", 8, "--crop", 64, "--quiet", "--json"
    )
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["status"] == "finished", document["collapse"]
    assert document["metrics"]["val_aux_mi_share"] > 0.05


def test_json_has_what_the_screen_has(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    result = bioseg("train-iic", disc_dataset, "--run", tmp_path / "run", *SHORT, "--json")
    document = json.loads(result.stdout)
    assert document["run"] == str(tmp_path / "run")
    assert document["clusters"] == {"main": 2, "aux": 10}
    assert set(document["mappings"]) == {"best-final", "last"}
    assert document["metrics"]["val_information"] == pytest.approx(float(rows(tmp_path / "run")[-1]["val_information"]))
