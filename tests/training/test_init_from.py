"""A training that starts from the weights of another run: what is taken, new, refused, recorded and repeated."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result
from conftest import SIZE, new_manifest, write_discs
from helpers.launches import COUNT, together
from helpers.plans import runs_of, write_plan
from helpers.runs import manifest, same, weights

from bioseg_cli.compute.device import resolve_precision
from bioseg_cli.config import ClassInfo, build_config
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.model.saved import load_model, save_model
from bioseg_cli.runs.directory import checkpoint_of
from bioseg_cli.runs.manifest import Manifest
from bioseg_cli.training.alike import unlike_control, unlike_repeat
from bioseg_cli.training.distributed import Alone
from bioseg_cli.training.iic import IIC
from bioseg_cli.training.iic_settings import TrainIICConfig
from bioseg_cli.training.initial import start_of
from bioseg_cli.training.loop import Trainer, build_network
from bioseg_cli.training.record import UnwrittenRun
from bioseg_cli.training.settings import TrainConfig
from bioseg_cli.training.uda import UDA
from bioseg_cli.training.uda_settings import TrainUDAConfig

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
CPU = torch.device("cpu")
OTHER_ORDER = "; the head main is new, as that of the run has its classes in another order (cell, background)"
TENSORS = 118
"""Of a network with batch norm and one head."""
STILL = ("--labels", 2, "--steps", 1, "--lr", 1e-9, "--schedule", "constant", "--quiet")
"""A training that moves the weights by less than can be told."""


def said(result: Result) -> str:
    return " ".join(result.output.split())


def trained(bioseg: Cli, data: Path, run: Path, *arguments: object) -> Path:
    result = bioseg("train-uda", data, "--run", run, *STILL, *arguments)
    assert result.exit_code == 0, result.output
    return run


@pytest.fixture(scope="module")
def clusters(bioseg: Cli, disc_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without labels, of as many clusters as there are classes."""
    run = tmp_path_factory.mktemp("iic") / "clusters"
    small = ("--width", 2, "--steps", 1, "--crop", 32, "--batch-size", 2, "--quiet")
    assert bioseg("train-iic", disc_dataset, "--run", run, *small).exit_code == 0
    return run


def beginning(data: Path, config: TrainConfig, method: type[UDA | IIC] = UDA) -> tuple[Trainer, str]:
    """A training at its first step, and what is said of the weights it starts from."""
    with Dataset(data) as dataset:
        start = start_of(config)
        assert start is not None
        built = method(dataset, config, CPU)  # type: ignore[arg-type]
        taken = start.fitting(config, dataset, built)
        precision = resolve_precision("fp32", CPU)
        run = UnwrittenRun(Path("unwritten"), new_manifest())
        trainer = Trainer(built, dataset, config, precision, run, None, bool, Alone(), taken.tensors)  # type: ignore[arg-type]
        return trainer, taken.said


def test_a_training_begins_with_the_state_that_evaluate_chooses(disc_run: Path, disc_dataset: Path) -> None:
    config = TrainUDAConfig(labels=2, width=8, init_from=disc_run, ema=0.9)
    trainer, sentence = beginning(disc_dataset, config)
    expected = weights(disc_run, "best-supervised")
    assert len(expected) == TENSORS
    assert same(trainer.network.state_dict(), expected)
    assert same(trainer.kept.state_dict(), expected)
    assert not same(expected, weights(disc_run, "last"))
    assert sentence == f"Weights of 118 of 118 tensors taken from {disc_run}"
    # One state of it, by its file.
    config = TrainUDAConfig(labels=2, width=8, init_from=disc_run / "checkpoints" / "last.safetensors")
    assert same(beginning(disc_dataset, config)[0].network.state_dict(), weights(disc_run, "last"))


def test_a_head_of_clusters_is_new_and_the_trunk_is_not(clusters: Path, disc_dataset: Path) -> None:
    config = TrainUDAConfig(labels=2, width=2, init_from=clusters, seed=3)
    trainer, sentence = beginning(disc_dataset, config)
    expected, found = weights(clusters, "best-final"), trainer.network.state_dict()
    trunk = {name for name in expected if not name.startswith("heads.")}
    assert len(trunk) == TENSORS - 2
    assert all(torch.equal(found[name], expected[name]) for name in trunk)
    with Dataset(disc_dataset) as dataset:
        drawn = build_network(config, dataset, {"main": 2}).state_dict()
    heads = {"heads.main.weight", "heads.main.bias"}
    assert all(torch.equal(found[name], drawn[name]) for name in heads)
    assert not torch.equal(found["heads.main.weight"], expected["heads.main.weight"])
    assert sentence == (
        f"Weights of 116 of 118 tensors taken from {clusters}; the head main is new, as that of the run has clusters"
    )


def test_of_clusters_the_head_with_another_number_is_new(clusters: Path, disc_dataset: Path) -> None:
    trainer, sentence = beginning(
        disc_dataset, TrainIICConfig(width=2, clusters=3, aux_clusters=10, init_from=clusters), IIC
    )
    expected, found = weights(clusters, "best-final"), trainer.network.state_dict()
    assert torch.equal(found["heads.aux.weight"], expected["heads.aux.weight"])
    assert found["heads.main.weight"].shape[0] == 3
    assert sentence.endswith("; the head main is new, as that of the run has 2 clusters and not 3")


def test_classes_train_clusters(disc_run: Path, disc_dataset: Path) -> None:
    _, sentence = beginning(disc_dataset, TrainIICConfig(width=8, init_from=disc_run), IIC)
    assert sentence.startswith("Weights of 116 of 120 tensors taken")
    assert sentence.endswith(
        "; the head main is new, as that of the run has classes; the head aux is new, as there is none"
    )


@pytest.mark.parametrize(
    ("names", "tensors", "words"),
    [
        (("cell", "background"), 116, OTHER_ORDER),
        (("background", "nucleus"), 118, "; its head of background, nucleus is taken for background, cell"),
    ],
)  # fmt: skip
def test_classes_of_other_names(
    names: tuple[str, ...], tensors: int, words: str, disc_run: Path, disc_dataset: Path, tmp_path: Path
) -> None:
    model = load_model(checkpoint_of(disc_run, None), CPU)
    classes = tuple(ClassInfo(name=name, colour=(0, 0, 0)) for name in names)
    other = tmp_path / "other.safetensors"
    save_model(other, model.network.state_dict(), model.card.model_copy(update={"classes": classes}))
    _, sentence = beginning(disc_dataset, TrainUDAConfig(labels=2, width=8, init_from=other))
    assert sentence == f"Weights of {tensors} of 118 tensors taken from {other}{words}"


@pytest.mark.parametrize(
    ("given", "differ", "advice"),
    [
        (("--width", 16), "width 8 and not 16", "Give --width 8."),
        ((), "width 8 and not 64", "Give --width 8."),
        (("--width", 8, "--norm", "group"), "norm batch and not group", "Give --norm batch."),
        (("--width", 4, "--unet", "original"),
         "variant same and not original, width 8 and not 4, norm batch and not none",
         "Give --unet same --width 8 --norm batch."),
    ],
)  # fmt: skip
def test_another_network_is_refused_with_what_to_give(
    given: tuple[object, ...], differ: str, advice: str, bioseg: Cli, disc_run: Path, disc_dataset: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = ("train-uda", disc_dataset, "--init-from", disc_run, "--run", run, *STILL)
    result = bioseg(*arguments, *given)
    assert result.exit_code == 2
    assert f"The run to start from has another network than this training: {differ} in {disc_run} {advice}" in said(
        result
    )
    assert not run.exists()
    # What is advised is accepted.
    result = bioseg(*arguments, *given, *advice.removeprefix("Give ").removesuffix(".").split())
    assert result.exit_code == 0, result.output


def test_of_an_original_network_its_name_says_all(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    first = trained(bioseg, disc_dataset, tmp_path / "first", "--width", 2, "--unet", "original", "--dropout", 0)
    result = bioseg("train-uda", disc_dataset, "--init-from", first, "--run", tmp_path / "run", "--width", 2, *STILL)
    assert said(result).endswith("Give --unet original.")
    trained(bioseg, disc_dataset, tmp_path / "run", "--init-from", first, "--width", 2, "--unet", "original")


def test_images_of_other_channels_are_refused(bioseg: Cli, disc_run: Path, tmp_path: Path) -> None:
    data = tmp_path / "two.h5"
    with (
        Dataset(write_discs(tmp_path / "one.h5")) as discs,
        DatasetWriter(data, count=8, image_shape=(2, SIZE, SIZE), image_dtype=discs.image_dtype) as writer,
    ):
        for index in range(8):
            source = ItemSource(f"{index}.tif", f"{index:064x}", 0, (0, 0), (SIZE, SIZE))
            image = discs.image(index).repeat(2, axis=0)
            writer.add(Item(image, discs.labels(index), "train" if index < 6 else "val", f"g{index}", source))
        scale = Normalisation(method="minmax", low=(500.0,) * 2, high=(3200.0,) * 2)
        writer.finish(DatasetInfo(recipe="d", settings={}, classes=discs.classes, normalisation=scale, pixel_size=None))
    result = bioseg("train-uda", data, "--init-from", disc_run, "--width", 8, "--run", tmp_path / "run", *STILL)
    assert result.exit_code == 2
    assert f"The run to start from was trained on images of 1 channel, and those of {data} have 2" in said(result)
    assert not (tmp_path / "run").exists()


def test_the_preset_takes_the_width_of_the_run(bioseg: Cli, disc_run: Path, disc_dataset: Path, tmp_path: Path) -> None:
    arguments = ("train-uda", disc_dataset, "--preset", "best", "--crop", 32, "--steps", 1, "--run", tmp_path / "run")
    result = bioseg(*arguments, "--init-from", disc_run)
    assert result.exit_code == 0, result.output
    assert f"Chosen by --preset best: width 8, which {disc_run} has" in said(result)
    assert manifest(tmp_path / "run")["config"]["width"] == 8
    assert "Give --width 8." in said(bioseg(*arguments, "--overwrite", "--init-from", disc_run, "--width", 4))


def test_the_hash_is_of_the_weights_and_not_of_their_place(
    bioseg: Cli, disc_run: Path, disc_dataset: Path, tmp_path: Path
) -> None:
    elsewhere = shutil.copytree(disc_run, tmp_path / "elsewhere")
    last = disc_run / "checkpoints" / "last.safetensors"
    runs = [
        trained(bioseg, disc_dataset, tmp_path / name, "--width", 8, *start)
        for name, start in {
            "a": ("--init-from", disc_run),
            "b": ("--init-from", elsewhere),
            "c": ("--init-from", last),
            "d": (),
        }.items()
    ]
    hashes = [manifest(run)["hash"] for run in runs]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
    assert same(weights(runs[0]), weights(runs[1])) and not same(weights(runs[0]), weights(runs[2]))
    record = manifest(runs[1])
    assert record["initial_weights"] == {
        "path": str(elsewhere),
        "hash": manifest(runs[0])["initial_weights"]["hash"],
        "state": "best-supervised",
        "tensors": 118,
        "of": 118,
        "new_heads": [],
    }
    assert "initial_weights" not in manifest(runs[3])
    # The manifest repeats it.
    again = tmp_path / "again"
    assert bioseg("train-uda", "--config", runs[0] / "manifest.yaml", "--run", again, "--quiet").exit_code == 0
    assert same(weights(again), weights(runs[0])) and manifest(again)["hash"] == hashes[0]
    # A control starts from the same weights, wherever they lie.
    unlike = unlike_control(Manifest.read(runs[0]), Manifest.read(runs[3]))
    assert "the weights they start from" in unlike
    assert unlike_repeat(Manifest.read(runs[0]), Manifest.read(runs[1])) == []
    assert unlike_repeat(Manifest.read(runs[0]), Manifest.read(runs[2])) == ["the weights they start from"]


def test_a_resumed_run_does_not_need_them_any_more(
    bioseg: Cli, disc_run: Path, disc_dataset: Path, tmp_path: Path
) -> None:
    start = shutil.copytree(disc_run, tmp_path / "start")
    run = trained(bioseg, disc_dataset, tmp_path / "run", "--width", 8, "--init-from", start)
    before = manifest(run)
    refused = bioseg("train-uda", "--resume", run, "--init-from", disc_run)
    assert f"init_from ({start}, not {disc_run})" in said(refused)
    assert bioseg("train-uda", "--resume", run, "--init-from", start, "--steps", 1).exit_code == 0
    shutil.rmtree(start)
    result = bioseg("train-uda", "--resume", run, "--steps", 2)
    assert result.exit_code == 0, result.output
    after = manifest(run)
    assert after["progress"]["updates"] == 2
    assert after["initial_weights"] == before["initial_weights"]
    # Nor do weights that have gone begin a run.
    result = bioseg("train-uda", disc_dataset, "--init-from", start, "--run", tmp_path / "other", *STILL)
    assert result.exit_code == 3 and "The folder is not a run" in said(result)


def test_a_run_does_not_replace_what_it_starts_from(
    bioseg: Cli, disc_run: Path, disc_dataset: Path, tmp_path: Path
) -> None:
    start = shutil.copytree(disc_run, tmp_path / "start")
    for given in (start, start / "checkpoints" / "last.safetensors"):
        arguments = ("--init-from", given, "--run", start, "--width", 8, "--overwrite", *STILL)
        result = bioseg("train-uda", disc_dataset, *arguments)
        assert result.exit_code == 2
        assert "The run would replace the run that it starts from" in said(result)
    assert same(weights(start), weights(disc_run))


def test_restarts_do_not_replace_what_they_start_from_nor_a_run_for_what_cannot_begin(
    bioseg: Cli, clusters: Path, disc_dataset: Path, tmp_path: Path
) -> None:
    start = shutil.copytree(clusters, tmp_path / "start")
    small = ("--steps", 1, "--crop", 32, "--batch-size", 2, "--quiet", "--restarts", 2, "--overwrite", "--run", start)
    result = bioseg("train-iic", disc_dataset, "--width", 2, *small, "--init-from", start)
    assert result.exit_code == 2
    assert "The run would replace the run that it starts from" in said(result)
    result = bioseg("train-iic", disc_dataset, "--width", 4, *small, "--init-from", clusters)
    assert result.exit_code == 2 and "Give --width 2." in said(result)
    assert same(weights(start), weights(clusters))


def test_restarts_all_start_from_the_weights_of_the_first(
    bioseg: Cli, clusters: Path, disc_dataset: Path, tmp_path: Path
) -> None:
    start, run = shutil.copytree(clusters, tmp_path / "start"), tmp_path / "run"
    small = ("--width", 2, "--steps", 1, "--crop", 32, "--batch-size", 2, "--quiet", "--restarts", 2, "--map-labels", 1)
    assert bioseg("train-iic", disc_dataset, "--run", run, *small, "--init-from", start).exit_code == 0
    hashes = [manifest(run / "restarts" / name)["initial_weights"]["hash"] for name in ("seed0", "seed1")]
    assert hashes == [manifest(run)["initial_weights"]["hash"]] * 2
    # The second has not begun when other weights take their place.
    shutil.rmtree(run / "restarts" / "seed1")
    shutil.copy(start / "checkpoints" / "last.safetensors", start / "checkpoints" / "best-final.safetensors")
    result = bioseg("train-iic", "--resume", run)
    assert result.exit_code == 3
    assert "The weights to start from have changed since the first restart began" in said(result)


def test_a_study_knows_its_runs_by_the_weights(bioseg: Cli, disc_run: Path, disc_dataset: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(disc_run, tmp_path / "elsewhere")
    uda = {"width": 8, "lr": 1e-9, "schedule": "constant"}
    plans = [
        runs_of(write_plan(tmp_path / f"{number}.yaml", disc_dataset, steps=1, uda={**uda, **more}))
        for number, more in enumerate(({"init_from": str(disc_run)}, {"init_from": str(elsewhere)}, {}))
    ]
    (first, same, other) = (next(run for run in runs if run.loss == "kl") for runs in plans)
    assert first.hash == same.hash != other.hash
    build_config(TrainUDAConfig, dict(first.config))
    run = trained(bioseg, disc_dataset, tmp_path / "run", "--width", 8, "--init-from", elsewhere)
    assert manifest(run)["hash"] == first.hash


def test_cross_validation_is_not_of_weights_that_know_the_labels(
    bioseg: Cli, disc_run: Path, clusters: Path, disc_dataset: Path, tmp_path: Path
) -> None:
    run = trained(bioseg, disc_dataset, tmp_path / "run", "--width", 8, "--init-from", disc_run)
    result = bioseg("evaluate", run, "--cross-validate")
    assert result.exit_code == 2
    assert f"The run started from {disc_run}, which was trained with labels of the same data set" in said(result)
    blind = trained(bioseg, disc_dataset, tmp_path / "blind", "--width", 2, "--init-from", clusters)
    result = bioseg("evaluate", blind, "--cross-validate", "--draws", 100, "--baselines", "none")
    assert result.exit_code == 0, result.output


def test_all_processes_start_alike(bioseg: Cli, disc_run: Path, disc_dataset: Path, tmp_path: Path) -> None:
    arguments = ("train-uda", disc_dataset, "--width", 8, *STILL, "--batch-size", 2, "--init-from", disc_run)
    done = together(*[(*arguments, "--run", "run")] * COUNT, folder=tmp_path)
    assert [process.returncode for process in done] == [0] * COUNT, done[0].stderr
    expected = weights(disc_run, "best-supervised")
    for name, tensor in weights(tmp_path / "process0" / "run").items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-6)
