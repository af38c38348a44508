"""What is a control of a run, what is a repeat of it, and what is said or refused of all others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import Result
from conftest import write_discs
from helpers.studies import Page, kl_wins, page_of, study
from rich.console import Console

from bioseg_cli.cli.tables.study import render
from bioseg_cli.compute.device import resolve_precision
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.runs.manifest import NO_MATTER, Manifest
from bioseg_cli.study.cells import cells
from bioseg_cli.study.collect import with_controls
from bioseg_cli.training import alike
from bioseg_cli.training.loop import build_network
from bioseg_cli.training.uda import UDA
from bioseg_cli.training.uda_settings import TrainUDAConfig

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
CPU = torch.device("cpu")

OTHERS: dict[str, Any] = {
    "epochs": 7, "steps": 7, "batch_size": 7, "crop": 40, "optimizer": "rmsprop", "lr": 0.5, "schedule": "cosine",
    "ema": 0.9, "patience": 3, "width": 4, "norm": "group", "dropout": 0.2, "unet": "original", "seed": 5,
    "ratio": 0.5, "labels": 7, "label_draw": 2, "unsup_weight": 0.3, "stop_gradient": False, "sharpen": 0.4,
    "confidence": 0.5, "tsa": "exp", "strong_ops": 5, "dice": "batch", "dice_squared": False,
    "dice_background": False, "dice_smooth": 0.125, "device": "cuda", "precision": "bf16", "cache": 1.0, "data": "x.h5",
    "run": "y", "resume": "z", "preset": "best", "minutes": 3.0, "epoch_steps": 7, "warmup": 7, "sup_loss": "ce-dice",
    "augment": "microscopy", "geometry": "wide", "crop_around": "labels", "teacher": "average", "mix": "labelled",
    "ramp": 0.5, "class_confidence": True, "pseudo_loss": "ce-dice", "denoise": 0.3, "label_images": ["disc1"],
    "border": 2, "guard": False, "init_from": "w", "norm_images": "all", "pseudo_labels": "forest",
    "exposure": 0.5,
}  # fmt: skip
"""Of every setting of train-uda a value that the runs here do not have."""

OF_NO_ACCOUNT = (
    NO_MATTER
    | {"device", "precision", "preset", "minutes", "norm_images"}
    | TrainUDAConfig.of_unlabelled - set(alike.CONTROL)
)
BY_WHAT_COMES_OF_THEM = {"ratio", "labels", "label_draw", "label_images", "steps", "epochs", "init_from"}


def manifest(run: Path) -> dict[str, Any]:
    return yaml.safe_load((run / "manifest.yaml").read_text())


def changed(run: Path, to: Path, config: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A copy of a run whose manifest says something else."""
    shutil.copytree(run, to)
    record = manifest(run)
    record["config"] |= config or {}
    (to / "manifest.yaml").write_text(yaml.safe_dump({**record, **changes}))
    return to


def said(result: Result) -> str:
    return " ".join(result.output.split())


def unlike_control(run: dict[str, Any], control: dict[str, Any]) -> list[str]:
    """Of manifests as their files have them."""
    return alike.unlike_control(*map(Manifest.model_validate, (run, control)))


def unlike_repeat(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Of manifests as their files have them."""
    return alike.unlike_repeat(*map(Manifest.model_validate, (first, second)))


# Two manifests --------------------------------------------------------------------------------------------------------


def test_a_control_has_the_settings_of_its_run_and_no_unlabelled_image(disc_run: Path, disc_control: Path) -> None:
    run, control = manifest(disc_run), manifest(disc_control)
    assert unlike_control(run, control) == []
    assert unlike_control(control, control) == []
    assert unlike_control(run, run) == ["unsup_loss (kl, and that of a control is none)"]
    assert unlike_control(run, {**control, "command": "train-iic"}) == ["the command (train-uda and train-iic)"]
    run["config"]["denoise"] = 0.5
    assert unlike_control(run, control) == []
    control["config"]["denoise"] = 0.5
    assert unlike_control(run, control) == ["denoise (0.5, and that of a control is 0)"]
    del control["config"]["denoise"]
    assert unlike_control(run, control) == []


@pytest.mark.parametrize("name", sorted(set(TrainUDAConfig.model_fields) - {"unsup_loss"}))
def test_every_setting_counts_but_those_of_the_unlabelled_images_and_the_machine(
    name: str, disc_run: Path, disc_control: Path
) -> None:
    run, control = manifest(disc_run), manifest(disc_control)
    assert run["config"][name] != OTHERS[name]
    control["config"][name] = OTHERS[name]
    # What runs that have not ended came to is not known: the budget itself counts.
    for ended, names in ((True, BY_WHAT_COMES_OF_THEM), (False, BY_WHAT_COMES_OF_THEM - {"steps", "epochs"})):
        control["status"] = "finished" if ended else "interrupted"
        found = unlike_control(run, control)
        if name in OF_NO_ACCOUNT | names:
            assert found == []
        else:
            assert any(remark.startswith(f"{name} (") for remark in found), found


def test_what_settings_come_to_counts_and_not_how_they_were_given(disc_run: Path, disc_control: Path) -> None:
    run, control = manifest(disc_run), manifest(disc_control)
    control["config"] |= {"norm": "batch", "dropout": 0.0, "ratio": 0.5, "labels": None, "steps": None, "epochs": 30}
    assert unlike_control(run, control) == []
    # A manifest from before there was a setting had its default.
    del control["config"]["tsa"]
    assert unlike_control(run, control) == []
    assert control["progress"]["updates"] == 60
    control["progress"]["updates"] = 61
    assert unlike_control(run, control) == ["updates (60 and 61)"]


def test_images_and_data_count(disc_run: Path, disc_control: Path) -> None:
    run, control = manifest(disc_run), manifest(disc_control)
    images = control["labels"]["images"]
    control["labels"]["images"] = images[::-1]
    assert unlike_control(run, control) == []
    control["labels"]["images"] = [*images[:3], "other"]
    assert unlike_control(run, control) == ["the labelled images (3 of 4 are the same)"]
    control["labels"]["images"] = images[:3]
    assert unlike_control(run, control) == ["the number of labelled images (4 and 3)"]
    control["labels"]["images"] = images
    control["data"]["content_hash"] = "other"
    assert unlike_control(run, control) == ["the data set"]


def test_repeats_differ_in_seed_and_images_alone(disc_run: Path, misled_manifest: dict[str, Any]) -> None:
    run = manifest(disc_run)
    other = manifest(disc_run)
    other["config"] |= {"seed": 9, "label_draw": 3}
    other["labels"]["images"] = ["others"]
    assert unlike_repeat(run, other) == []
    other["config"] |= {"unsup_weight": 0.5, "dice_squared": False}
    assert unlike_repeat(run, other) == ["unsup_weight (1.0 and 0.5)", "dice_squared (on and off)"]
    other["config"] |= {"unsup_weight": 1.0, "dice_squared": True, "crop": 64}
    assert unlike_repeat(run, other) == ["crop (none and 64)"]
    clusters = {**misled_manifest, "config": {**misled_manifest["config"], "seed": 4}}
    assert unlike_repeat(misled_manifest, clusters) == []
    clusters["config"] |= {"lamb": 1.5}
    assert unlike_repeat(misled_manifest, clusters) == ["lamb (1.0 and 1.5)"]


@pytest.fixture(scope="module")
def misled_manifest(bioseg: Cli, disc_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = tmp_path_factory.mktemp("iic") / "run"
    done = bioseg("train-iic", disc_dataset, "--run", run, "--width", 2, "--epochs", 1, "--crop", 32, "--quiet")
    assert done.exit_code == 0, done.output
    return manifest(run)


def test_a_control_does_not_depend_on_the_settings_of_the_unlabelled_images(disc_dataset: Path) -> None:
    with Dataset(disc_dataset) as dataset:
        precision = resolve_precision("fp32", CPU)

        def trained(**settings: Any) -> list[float]:
            config = TrainUDAConfig(labels=2, width=2, unsup_loss="none", steps=9, **settings)
            method = UDA(dataset, config, CPU)
            torch.manual_seed(0)
            network = build_network(config, dataset, method.heads)
            losses = [method.loss(network, method.draw(0, step), precision)["total"].item() for step in range(2)]
            return [*losses, *method.validate(network, precision).values()]

        plain = trained()
        for name in TrainUDAConfig.of_unlabelled - set(alike.CONTROL):
            assert trained(**{name: OTHERS[name]}) == plain, name
        assert trained(dice_squared=False) != plain


# evaluate --control ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"width": 2}, "width (8 and 2)"),
        ({"seed": 1, "lr": 0.1}, "lr (0.01 and 0.1), seed (0 and 1)"),
        ({"unsup_loss": "iid"}, "unsup_loss (iid, and that of a control is none)"),
    ],
)
def test_no_control_is_refused_with_what_it_differs_in_and_how_to_get_one(
    bioseg: Cli, disc_run: Path, disc_control: Path, tmp_path: Path, config: dict[str, Any], words: str
) -> None:
    other = changed(disc_control, tmp_path / "other", config)
    result = bioseg("evaluate", disc_run, "--control", other, "--out", tmp_path / "report")
    assert result.exit_code == 2
    assert f"--control is no control of {disc_run}: they differ in {words}" in said(result)
    assert f"Train one: bioseg train-uda --config {disc_run}/manifest.yaml --unsup-loss none" in said(result)
    assert not (tmp_path / "report").exists()
    # One run of several is enough.
    assert bioseg("evaluate", disc_control, disc_run, "--control", other).exit_code == 2


def test_the_command_that_is_advised_trains_the_control(bioseg: Cli, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "discs.h5", ("train",) * 4 + ("val",))
    run = tmp_path / "run"
    settings = ("--ratio", 0.5, "--label-draw", 2, "--width", 2, "--steps", 3, "--strong-ops", 3, "--norm", "group")
    assert bioseg("train-uda", data, "--run", run, *settings, "--quiet").exit_code == 0
    refused = bioseg("evaluate", run, "--control", run)
    command = said(refused).partition("Train one: bioseg ")[2].split()
    done = bioseg(*command, "--quiet")
    assert done.exit_code == 0, done.output
    scored = bioseg("evaluate", run, "--control", f"{run}-control", "--json", "--draws", 100)
    assert scored.exit_code == 0, scored.output
    assert json.loads(scored.stdout)["runs"][0]["control"]["run"] == f"{run}-control"


def test_another_precision_is_no_other_control_and_is_said(
    bioseg: Cli, disc_run: Path, disc_control: Path, tmp_path: Path
) -> None:
    other = changed(disc_control, tmp_path / "other", precision={"name": "fp16", "reason": "given"})
    result = bioseg("evaluate", disc_run, "--control", other, "--draws", 100)
    assert result.exit_code == 0, result.output
    ours = manifest(disc_run)["precision"]["name"]
    assert f"was trained in {ours}, its control in fp16: part of the difference is rounding." in said(result)
    assert "rounding" not in bioseg("evaluate", disc_run, "--control", disc_control, "--draws", 100).output


# report and study -----------------------------------------------------------------------------------------------------


def reported(bioseg: Cli, *runs: Path, out: Path) -> tuple[Result, dict[str, Any]]:
    result = bioseg("report", *runs, "--out", out, "--json", "--quiet")
    return result, json.loads(result.stdout) if result.exit_code == 0 else {}


def test_a_report_pairs_a_run_with_its_own_control_alone(
    bioseg: Cli, disc_run: Path, disc_control: Path, tmp_path: Path
) -> None:
    result, found = reported(bioseg, disc_run, disc_control, out=tmp_path / "own.html")
    assert result.exit_code == 0, result.output
    paired = [cell for cell in found["cells"] if cell["loss"] == "kl"]
    assert all(cell["control"] is not None for cell in paired)
    other = changed(disc_control, tmp_path / "other", {"width": 2})
    result, found = reported(bioseg, disc_run, other, out=tmp_path / "other.html")
    assert result.exit_code == 0, result.output
    assert [cell["control"] for cell in found["cells"]] == [None] * len(found["cells"])
    assert found["runs"][0]["unlike_control"] == ["width (8 and 2)"]
    sentence = "discs is not compared with the control of its labels and seed: they differ in width (8 and 2)."
    assert sentence in found["summary"]
    assert sentence in (tmp_path / "other.html").read_text()


def test_a_report_makes_no_mean_of_runs_that_are_no_repeats(bioseg: Cli, disc_run: Path, tmp_path: Path) -> None:
    other = changed(disc_run, tmp_path / "other", {"seed": 1, "width": 2})
    result, _ = reported(bioseg, disc_run, other, out=tmp_path / "page.html")
    assert result.exit_code == 2
    assert (
        f"{disc_run} and {other} would be repeats of one figure of the tables, and differ in width (8 and 2)"
        in said(result)
    )
    assert not (tmp_path / "page.html").exists()
    repeat = changed(disc_run, tmp_path / "repeat", {"seed": 1})
    result, found = reported(bioseg, disc_run, repeat, out=tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    assert {cell["runs"] for cell in found["cells"]} == {2}


def test_a_run_that_denoises_has_a_control_and_is_none(
    bioseg: Cli, disc_run: Path, disc_control: Path, tmp_path: Path
) -> None:
    other = changed(disc_control, tmp_path / "other", {"denoise": 0.5})
    result = bioseg("evaluate", disc_run, "--control", other)
    assert result.exit_code == 2
    assert "they differ in denoise (0.5, and that of a control is 0)" in said(result)
    result = bioseg("evaluate", other, "--control", disc_run)
    assert f"--config {other}/manifest.yaml --unsup-loss none --denoise 0 --run {other}-control" in said(result)
    result, found = reported(bioseg, other, disc_control, out=tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    assert {(cell["loss"], cell["control"] is not None) for cell in found["cells"]} == {
        ("denoise", True),
        ("none", False),
    }
    assert "denoising" in (tmp_path / "page.html").read_text()


def test_in_a_study_the_own_control_is_found_by_data_labels_and_repeat(disc_run: Path, disc_control: Path) -> None:
    results = study(kl_wins, iic=True)
    ours, theirs, unlike = map(Manifest.read, (disc_run, disc_control, disc_control))
    unlike.labels = unlike.labels.having(images=["others", *unlike.labels.images[1:]])

    def manifest_of(run: Any) -> Manifest | None:
        if run.loss != "none":
            return ours if run.loss == "kl" else None
        return unlike if (run.count, run.seed) == (25, 1) else theirs

    found = with_controls(results.runs, [manifest_of(run) for run in results.runs])
    differing = [run for run in found if run.unlike_control]
    assert [(run.loss, run.count, run.seed) for run in differing] == [("kl", 25, 1)]
    assert differing[0].unlike_control == ("the labelled images (3 of 4 are the same)",)
    changed_results = replace(results, runs=found)
    pairs = {
        (cell.loss, cell.budget.count): len(cell.control.difference.units)
        for cell in cells(changed_results)
        if cell.control is not None
    }
    assert pairs == {
        (loss, count): 3 - ((loss, count) == ("kl", 25)) for loss in ("kl", "iid") for count in (10, 25, 50)
    }
    name = differing[0].name
    with (console := Console(width=300)).capture() as capture:
        console.print(render(changed_results))
    assert (
        f"{name} is not compared: it and the control differ in the labelled images (3 of 4 are the same)."
        in capture.get()
    )
    words = Page(page_of(changed_results)).words.replace("\N{NO-BREAK SPACE}", " ")
    assert f"{name} is not compared with the control of its labels and seed" in words
