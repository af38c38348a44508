"""Two processes that write to one place: one works, the other is refused by name, and nothing is mixed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from conftest import discs, write_discs
from helpers.models import record_of, save_random_model, write_image
from helpers.processes import ended, held, holding, started, until
from helpers.runs import manifest

from bioseg_cli.dataset.reader import Dataset

pytestmark = pytest.mark.slow

Bioseg = Callable[..., Result]
LONG = ("--labels", 4, "--width", 4, "--batch-size", 2, "--steps", 100_000, "--quiet")
SHORT = "--width 4 --batch-size 2 --steps 2"
TO_A_RUN = (
    f"train-uda {{data}} --run {{run}} {SHORT} --overwrite",
    f"train-iic {{data}} --run {{run}} {SHORT} --crop 32 --restarts 2 --overwrite",
    "train-uda --resume {run} --steps 64",
    f"train-iic {{data}} --run {{run}} {SHORT} --crop 32 --overwrite",
    "predict {model} {images} --out {run} --overwrite",
    "evaluate {trained} --data {data} --out {run} --overwrite",
)
TO_A_FOLDER = (
    "predict {model} {images} --out {tmp}/out --overwrite",
    "evaluate {trained} --data {data} --out {tmp}/out --overwrite",
    "examples --out {tmp}/out --overwrite",
    "predict {model} {images} --out {tmp}/out --skip-existing",
    "predict {model} {images} --out {tmp}/out --part 1/2",
)
TO_A_DATA_SET = (
    "prepare demo --images 6 --size 64 --out {tmp}/cells.h5 --overwrite",
    "prepare folder --images {images} --out {tmp}/cells.h5 --overwrite",
)
TO_A_FILE = (
    "preview {data} --out {tmp}/file.png --overwrite",
    "suggest {unlabelled} --out {tmp}/file.png --overwrite",
    "export {trained} --out {tmp}/file.png --overwrite",
    "evaluate {trained} --data {data} --csv {tmp}/file.png --overwrite",
)
TO_A_PAGE = (
    "report {trained} --out {tmp}/page.html --overwrite",
    "evaluate {trained} --data {data} --csv {tmp}/page.html --overwrite",
)
TO_FILES_OF_ONE_NAME = ("init --images {images} --masks none --yes --folder {tmp} --overwrite",)
TO_FILES_TO_LABEL = ("suggest {unlabelled} --count 2 --export {tmp}/label --overwrite",)
MEETINGS = [
    *((first, TO_A_RUN) for first in TO_A_RUN[:3]),
    *((first, TO_A_FOLDER) for first in TO_A_FOLDER[:3]),
    (TO_A_DATA_SET[0], TO_A_DATA_SET),
    *((first, TO_A_FILE) for first in TO_A_FILE),
    (TO_A_PAGE[0], TO_A_PAGE),
    (TO_FILES_OF_ONE_NAME[0], TO_FILES_OF_ONE_NAME),
    (TO_FILES_TO_LABEL[0], TO_FILES_TO_LABEL),
]
"""A command that works at a place, and all that write there. Of the others the code that owns the place is that of one
that works here."""


def refused(result: Result, process: int) -> bool:
    """Whether a command was refused because a process works at the same place."""
    return result.exit_code == 3 and f"Another process is writing here: process {process} on " in result.stderr


def written(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def places(tmp_path: Path, disc_dataset: Path, disc_run: Path, images: Path) -> dict[str, Path]:
    """What the commands of this file name."""
    run = shutil.copytree(disc_run, tmp_path / "run")
    unlabelled = write_discs(tmp_path / "unlabelled.h5", unlabelled=(1, 2, 3, 4))
    model = save_random_model(tmp_path / "model.safetensors")
    made = {"tmp": tmp_path, "run": run, "unlabelled": unlabelled, "model": model, "images": images}
    return {**made, "data": disc_dataset, "trained": disc_run}


@pytest.mark.parametrize(("first", "seconds"), MEETINGS, ids=[first.split(" --")[0] for first, _ in MEETINGS])
def test_one_works_and_the_others_are_refused(
    bioseg: Bioseg, places: dict[str, Path], tmp_path: Path, first: str, seconds: tuple[str, ...]
):
    with holding(*first.format(**places).split()) as process:
        before = written(tmp_path)
        for second in seconds:
            result = bioseg(*second.format(**places).split())
            assert refused(result, process.pid), (second, result.output)
            assert written(tmp_path) == before
    code, _, said = ended(process)
    assert code == 0, said
    assert not list(tmp_path.rglob(".*"))


@pytest.fixture
def training(tmp_path: Path, disc_dataset: Path) -> subprocess.Popen[str]:
    """A training in tmp_path/run that does not end by itself, on a data set of its own."""
    data = shutil.copy(disc_dataset, tmp_path / "discs.h5")
    return started("train-uda", data, "--run", tmp_path / "run", *LONG)


def test_a_killed_training_is_gone_on_with_at_once(training, bioseg: Bioseg, tmp_path: Path):
    run = tmp_path / "run"
    until(lambda: (run / "manifest.yaml").exists() and "progress" in manifest(run), training)
    training.kill()
    updates = manifest(run)["progress"]["updates"]
    result = bioseg("train-uda", "--resume", run, "--steps", updates + 2, "--quiet")
    assert result.exit_code == 0, result.stderr


def test_a_run_that_is_being_trained_can_be_read(training, bioseg: Bioseg, tmp_path: Path):
    run = tmp_path / "run"
    with held(training, lambda: (run / "resume.pt").exists()):
        assert bioseg("evaluate", run, "--split", "val").exit_code == 0
    ended(training, signal.SIGTERM)


def test_a_data_set_that_is_replaced_while_it_is_trained_on(training, bioseg: Bioseg, tmp_path: Path):
    data, run = tmp_path / "discs.h5", tmp_path / "run"
    until(lambda: (run / "resume.pt").exists(), training)
    result = bioseg("prepare", "demo", "--images", 6, "--size", 64, "--out", data, "--overwrite", "--quiet")
    assert result.exit_code == 0, result.stderr
    before = manifest(run)["progress"]["updates"]
    # It goes on with the file that it opened, also over the next reading of an image.
    until(lambda: manifest(run)["progress"]["updates"] > before, training)
    assert ended(training, signal.SIGTERM)[0] == 130
    with Dataset(data) as dataset:
        assert manifest(run)["data"]["content_hash"] != dataset.content_hash
    resumed = bioseg("train-uda", "--resume", run)
    assert resumed.exit_code == 3 and "The data set is not the one this run was trained on" in resumed.stderr


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(12):
        write_image(folder / f"t{number}.tif", discs(number)[0][0])
    return folder


def test_parts_of_a_job_array_run_at_once_and_the_whole_waits(bioseg: Bioseg, images: Path, tmp_path: Path):
    out = tmp_path / "out"
    given = ("predict", save_random_model(tmp_path / "model.safetensors"), images, "--out", out, "--skip-existing")
    with holding(*given, "--part", "1/2") as first:
        assert refused(bioseg(*given, "--part", "1/2"), first.pid)
        assert refused(bioseg(*given), first.pid)
        assert bioseg(*given, "--part", "2/2").exit_code == 0
    assert ended(first)[0] == 0
    assert bioseg(*given).exit_code == 0
    assert len(record_of(out)["files"]) == 12


def write_plan(path: Path, data: Path, steps: int) -> Path:
    """The plan of a run and its control."""
    content = {"data": {"discs": str(data)}, "labels": [2], "losses": ["kl"], "draws": 1, "steps": steps}
    settings = {"width": 4, "crop": 32, "batch_size": 2}
    path.write_text(yaml.safe_dump({**content, "uda": settings, "baselines": []}))
    return path


def test_a_study_keeps_others_from_its_folder_and_from_its_runs(bioseg: Bioseg, disc_dataset: Path, tmp_path: Path):
    out = tmp_path / "study"
    given = ("study", write_plan(tmp_path / "plan.yaml", disc_dataset, steps=100_000), "--out", out)
    with holding(*given) as study:
        assert refused(bioseg(*given), study.pid)
        assert refused(bioseg(*given, "--overwrite"), study.pid)
        assert bioseg(*given, "--dry-run").exit_code == 0
    until(lambda: any(out.glob("runs/*/resume.pt")), study)
    (run,) = out.glob("runs/*")
    worker = json.loads((run / ".bioseg.owner").read_text())["process"]
    assert refused(bioseg("train-uda", "--resume", run), worker)
    assert ended(study, signal.SIGTERM)[0] == 130
    assert manifest(out)["status"] == "interrupted"
    assert not list(out.rglob(".*"))


def test_a_study_leaves_alone_a_run_that_another_process_writes(bioseg: Bioseg, disc_dataset: Path, tmp_path: Path):
    out = tmp_path / "study"
    given = ("study", write_plan(tmp_path / "plan.yaml", disc_dataset, steps=4), "--out", out)
    planned = json.loads(bioseg(*given, "--dry-run", "--json", "--quiet").stdout)
    run = out / "runs" / planned["runs"][0]["name"]
    with holding("train-uda", disc_dataset, "--run", run, *SHORT.split()) as training:
        (out / "manifest.yaml").write_text("command: study\n")
        result = bioseg(*given)
        assert result.exit_code == 1, result.output
        assert f"Another process is writing here: process {training.pid} on " in result.stderr
        assert [path.name for path in run.iterdir()] == [".bioseg.owner"]
    assert ended(training)[0] == 0
    assert manifest(run)["status"] == "finished"
    assert {run["status"] for run in manifest(out)["runs"]} == {"missing", "finished"}
