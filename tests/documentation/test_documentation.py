"""What the README and the examples tell people to type works, at small size."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
import yaml
from click.testing import Result
from conftest import discs, write_discs
from helpers.documented import ROOT, documented_commands
from PIL import Image

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
SMALL_TRAINING = ("--width", "2", "--steps", "1", "--quiet")


def write_user_folders(folder: Path) -> None:
    """`images/` with masks for most in `masks/`, and what another tool made of them."""
    for name in ("images", "masks", "masks-of-a-tool"):
        (folder / name).mkdir()
    for index in range(16):
        image, mask = discs(index)
        tifffile.imwrite(folder / "images" / f"cell{index}.tif", image[0])
        if index < 14:
            Image.fromarray(255 * mask).save(folder / "masks" / f"cell{index}_mask.png")
            Image.fromarray(255 * mask).save(folder / "masks-of-a-tool" / f"cell{index}.png")


def write_bbbc039(folder: Path) -> Path:
    """Ten fields in BBBC039's layout."""
    for name in ("images", "masks", "metadata"):
        (folder / name).mkdir(parents=True)
    names = [f"IXMtest_A{index:02d}_s1_w1" for index in range(10)]
    for index, name in enumerate(names):
        image, mask = discs(index)
        tifffile.imwrite(folder / "images" / f"{name}.tif", image[0])
        rgba = np.zeros((*mask.shape, 4), np.uint8)
        rgba[..., 0], rgba[..., 3] = mask, 255
        Image.fromarray(rgba).save(folder / "masks" / f"{name}.png")
    for part, chosen in (("training", names[:6]), ("validation", names[6:8]), ("test", names[8:])):
        (folder / "metadata" / f"{part}.txt").write_text("".join(f"{name}.png\n" for name in chosen))
    return folder


def write_tracking_challenge(folder: Path) -> Path:
    """Two videos in the layout of the Cell Tracking Challenge."""
    for video in ("01", "02"):
        (folder / video).mkdir(parents=True)
        (folder / f"{video}_ST" / "SEG").mkdir(parents=True)
        for frame in range(20):
            image, mask = discs(frame + 100 * int(video))
            tifffile.imwrite(folder / video / f"t{frame:03d}.tif", image[0], compression="lzw")
            tifffile.imwrite(folder / f"{video}_ST" / "SEG" / f"man_seg{frame:03d}.tif", mask.astype(np.uint16))
    return folder


def write_brain(folder: Path) -> Path:
    """A ball in layers of BigBrain's classes."""
    folder.mkdir(parents=True)
    distance = np.linalg.norm(np.mgrid[-20:20, -20:20, -20:20], axis=0)
    classes = np.select([distance < 8, distance < 13, distance < 17], [3, 2, 5], 1).astype(np.uint8)
    for name, voxels in (("image", np.array([0, 250, 90, 160, 0, 120], np.uint8)[classes]), ("classes", classes)):
        nib.Nifti1Image(voxels, np.eye(4)).to_filename(folder / f"{name}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything the commands name, and the files the downloads would have brought."""
    folder = tmp_path_factory.mktemp("workplace")
    write_user_folders(folder)
    write_bbbc039(folder / "sources" / "fluohoechst")
    write_tracking_challenge(folder / "sources" / "phc")
    write_tracking_challenge(folder / "sources" / "fluogfp")
    write_brain(folder / "sources" / "bigbrain")
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


def at_small_size(command: str, workplace: Path) -> list[str]:
    """The words of a command with what makes it quick: one step of a tiny network, files instead of a download."""
    words = shlex.split(command)[1:]
    if words[0] in ("train-uda", "train-iic"):
        if "--minutes" in words:
            place = words.index("--minutes")
            words = [*words[:place], *words[place + 2 :]]
        return [*words, *SMALL_TRAINING] if "--resume" not in words else [*words, "--quiet"]
    if words[0] == "prepare" and words[1] in ("fluohoechst", "phc", "fluogfp", "bigbrain"):
        return [*words, *at_hand(words[1], workplace)]
    if words[0] == "study":
        plan = workplace / "small" / Path(words[1]).name
        plan.parent.mkdir(exist_ok=True)
        values = yaml.safe_load((workplace / words[1]).read_text())
        quick = {"labels": [1], "draws": 1, "steps": 1, "uda": {"width": 2}, "losses": values["losses"][:1]}
        plan.write_text(yaml.safe_dump({**values, **quick}))
        return ["study", str(plan)]
    return words


def at_hand(name: str, workplace: Path) -> list[str]:
    """Options of a data set's `prepare` that take small files instead of a download."""
    source = workplace / "sources" / name
    if name == "bigbrain":
        volumes = ["--image", str(source / "image.nii.gz"), "--labels", str(source / "classes.nii.gz")]
        return [*volumes, "--slices", "20", "--crop", "32"]
    return ["--source", str(source), "--crop", "32"]


def test_every_command_of_the_readme_runs(workplace: Path, bioseg: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    commands = documented_commands(ROOT / "README.md")
    assert len(commands) >= 12
    names = {shlex.split(command)[1] for command in commands}
    assert names == {"prepare", "suggest", "train-uda", "train-iic", "predict", "evaluate", "study", "report"}
    for command in commands:
        result = bioseg(*at_small_size(command, workplace))
        assert result.exit_code == 0, f"{command}\n{result.output}"


def test_every_command_of_the_tutorial_runs(tmp_path: Path, bioseg: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [command for command in documented_commands(ROOT / "docs" / "tutorial.md") if "--resume" not in command]
    assert [shlex.split(command)[1] for command in commands] == [
        "prepare", "train-uda", "train-uda", "predict", "evaluate",
    ]  # fmt: skip
    for command in commands:
        result = bioseg(*at_small_size(command, tmp_path))
        assert result.exit_code == 0, f"{command}\n{result.output}"


STUDIES = sorted([*(ROOT / "examples").rglob("study*.yaml"), *(ROOT / "examples").glob("your*.yaml")])
PAPER = sorted(path for path in (ROOT / "examples" / "paper").glob("*.yaml") if path not in STUDIES)


@pytest.mark.parametrize("plan", STUDIES, ids=lambda path: path.stem)
def test_every_plan_of_the_examples_expands(
    plan: Path, bioseg: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = yaml.safe_load(plan.read_text())
    files = {
        file
        for source in values["data"].values()
        for file in (source.values() if isinstance(source, dict) else [source])
    }
    for file in files:
        write_discs(tmp_path / file, ("train",) * 20 + ("val",) * 2 + ("test",) * 2)
    result = bioseg("study", plan, "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    runs = json.loads(result.stdout)["runs"]
    assert {run["status"] for run in runs} == {"missing"}
    assert {run["loss"] for run in runs} == {"none", *values["losses"], *(["iic"] if "iic" in values else [])}
    assert {run["data"] for run in runs} == set(values["data"])
    assert list(tmp_path.iterdir()) == [tmp_path / "data"]


@pytest.mark.parametrize("preset", PAPER, ids=lambda path: path.stem)
def test_every_preset_of_the_study_runs(preset: Path, workplace: Path, bioseg: Cli, tmp_path: Path) -> None:
    kind, name, *_ = preset.stem.split("-")
    data = tmp_path / "d.h5"
    if kind == "prepare":
        result = bioseg("prepare", name, "--config", preset, *at_hand(name, workplace), "--out", data)
    else:
        source = workplace / "sources" / "fluohoechst"
        assert bioseg("prepare", "fluohoechst", "--source", source, "--crop", 32, "--out", data).exit_code == 0
        result = bioseg(f"train-{kind}", data, "--config", preset, "--run", tmp_path / "run", *SMALL_TRAINING)
    assert result.exit_code == 0, result.output


def test_the_presets_are_the_studys_settings() -> None:
    trainings = [yaml.safe_load(path.read_text()) for path in PAPER if path.stem.startswith("uda")]
    assert {(training["unsup_loss"], training["ratio"]) for training in trainings} == {
        (loss, ratio) for loss in ("kl", "iid") for ratio in (0.1, 0.25, 0.5)
    }
    for training in trainings:
        assert (training["epochs"], training["batch_size"], training["lr"], training["width"]) == (100, 1, 0.001, 64)


def test_the_presets_of_iic_are_the_studys_settings() -> None:
    trainings = [yaml.safe_load(path.read_text()) for path in PAPER if path.stem.startswith("iic")]
    assert {training["crop"] for training in trainings} == {128, 256}
    for training in trainings:
        assert (training["optimizer"], training["lr"], training["epochs"], training["batch_size"]) == (
            "rmsprop",
            0.01,
            10,
            10,
        )
        assert (training["views"], training["width"]) == (["rotation"], 64)


def run_script(script: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [str(ROOT / "examples" / script), *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_demo_ends_with_a_table_and_pictures(tmp_path: Path) -> None:
    done = run_script("demo.sh", "out", "--width", 2, "--steps", 2, "--quiet", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("best", "supervised", "uda", "forest", "otsu"))
    assert len(list((tmp_path / "out" / "masks" / "overlays").glob("*.png"))) >= 5
    assert len(list((tmp_path / "out" / "report").glob("*-worst_best.png"))) == 3
    again = run_script("demo.sh", "out", "--width", 2, "--steps", 2, "--quiet", folder=tmp_path)
    assert again.returncode == 0, again.stderr


def test_the_studys_table_is_reproduced_by_one_script(workplace: Path, bioseg: Cli, tmp_path: Path) -> None:
    source = workplace / "sources" / "fluohoechst"
    bioseg("prepare", "fluohoechst", "--source", source, "--crop", 32, "--out", tmp_path / "d.h5")
    done = run_script("paper/reproduce.sh", "d.h5", "runs", "--width", 2, "--steps", 1, "--quiet", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "runs" / "table.csv").read_text()
    assert all(f"runs/{loss}-{ratio}" in table for loss in ("kl", "iid", "none") for ratio in (10, 25, 50))
