"""`bioseg evaluate RUN...`: the same numbers as for predicted masks, controls, states, and what is refused."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import conftest
import numpy as np
import pytest
import yaml
from helpers.scores import RUN_KEYS, SCORE_KEYS, change_manifest

from bioseg_cli.config import flag_of
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.evaluation import runs
from bioseg_cli.evaluation.settings import EvaluateConfig
from bioseg_cli.training.uda_settings import TrainUDAConfig

pytestmark = pytest.mark.slow

INTERVAL_KEYS = {"mean_iou", "mean_iou_foreground", "pixel_accuracy", "image_wise", "iou"}


@pytest.fixture
def evaluate(bioseg):
    """Results of `bioseg evaluate --json`, a mapping a run."""

    def run(*arguments):
        result = bioseg("evaluate", "--json", "--draws", 200, *arguments)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["runs"]

    return run


@pytest.fixture
def copied_run(disc_run, tmp_path):
    """A copy of the run, to be spoilt."""
    return shutil.copytree(disc_run, tmp_path / "copied")


@pytest.fixture
def train_weakly(bioseg, tmp_path):
    """Train a network that has learnt next to nothing."""

    def train(data):
        result = bioseg(
            "train-uda", data, "--run", tmp_path / "weak", "--labels", 1, "--width", 4, "--steps", 4,
            "--unsup-loss", "none", "--quiet",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        return tmp_path / "weak"

    return train


def test_keys_are_those_of_the_documentation(evaluate, disc_run, disc_control):
    (found,) = evaluate(disc_run, "--control", disc_control)
    assert found.keys() == RUN_KEYS | {"control"}
    assert found["intervals"].keys() == INTERVAL_KEYS
    assert found["image_wise"].keys() == {"mean", "sd"}
    assert found["labels"] == {"count": 4, "of": 8, "pixels": 4 * 48 * 48, "share": 1.0}
    assert found["unseen"] == []
    assert found["iou"].keys() == found["dice"].keys() == found["intervals"]["iou"].keys() == {"background", "cell"}
    assert found["baselines"].keys() == {"otsu", "all-background"}
    for baseline in found["baselines"].values():
        assert baseline.keys() == SCORE_KEYS
    assert found["control"].keys() == SCORE_KEYS | {"run", "state", "difference", "interval"}
    assert (found["run"], found["state"], found["split"]) == (str(disc_run), "best-supervised", "val")


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_run_and_the_masks_it_predicts_score_alike(bioseg, evaluate, disc_run, disc_dataset, tmp_path, split):
    masks = tmp_path / "masks"
    result = bioseg("predict", disc_run, disc_dataset, "--split", split, "--out", masks, "--quiet")
    assert result.exit_code == 0, result.output
    (of_run,) = evaluate(disc_run, "--split", split)
    (of_masks,) = evaluate("--predictions", masks, "--truth", disc_dataset, "--split", split)
    for key in SCORE_KEYS:
        assert of_run[key] == of_masks[key], key
    assert of_run["baselines"] == of_masks["baselines"]
    assert of_run["mean_iou"] > of_run["baselines"]["all-background"]["mean_iou"]


def test_only_the_images_of_the_split_are_read_and_training_ones_for_otsu(evaluate, disc_run, monkeypatch):
    read = set()
    read_image, read_labels = Dataset.image, Dataset.labels
    monkeypatch.setattr(
        Dataset, "image", lambda self, index: (read.add(str(self.split[index])), read_image(self, index))[1]
    )
    monkeypatch.setattr(
        Dataset, "labels", lambda self, index: (read.add(str(self.split[index])), read_labels(self, index))[1]
    )
    evaluate(disc_run)
    assert read == {"train", "val"}
    read.clear()
    # Before a test, everything is read to be verified, and nothing of it is used.
    monkeypatch.setattr(runs, "verify_before_use", lambda *_, whole: read.add("whole") if whole else None)
    evaluate(disc_run, "--baselines", "none", "--split", "test")
    assert read == {"whole", "test"}


def test_a_run_does_not_differ_from_itself_but_from_another(evaluate, disc_run, disc_control):
    same, other = evaluate(disc_control, disc_run, "--control", disc_control)
    assert (same["control"]["difference"], same["control"]["interval"]) == (0, [0, 0])
    assert other["control"]["difference"] == pytest.approx(other["mean_iou"] - same["mean_iou"])
    low, high = other["control"]["interval"]
    assert low <= other["control"]["difference"] <= high
    assert low < high
    assert other["control"]["mean_iou"] == same["mean_iou"]


def test_all_states(evaluate, disc_run):
    found = evaluate(disc_run, "--state", "all")
    assert [row["state"] for row in found] == ["best-supervised", "best-final", "best-miou", "last"]
    assert found[3]["mean_iou"] == evaluate(disc_run, "--state", "last")[0]["mean_iou"]


def test_a_missing_state_names_those_there_are(bioseg, copied_run):
    (copied_run / "checkpoints/best-miou.safetensors").unlink()
    result = bioseg("evaluate", copied_run, "--state", "best-miou")
    assert result.exit_code == 3
    assert "no state 'best-miou'" in result.stderr
    assert "best-supervised, best-final, last" in result.stderr


def test_a_data_set_that_changed_is_refused_unless_named(bioseg, evaluate, copied_run, tmp_path):
    changed = conftest.write_discs(tmp_path / "changed.h5", wrong=(8,))
    data = yaml.safe_load((copied_run / "manifest.yaml").read_text())["data"]
    change_manifest(copied_run, data={**data, "path": str(changed)})
    result = bioseg("evaluate", copied_run)
    assert result.exit_code == 3
    assert "was trained on other data" in result.stderr
    (found,) = evaluate(copied_run, "--data", changed)
    assert any("another data set" in note for note in found["notes"])
    changed.unlink()
    result = bioseg("evaluate", copied_run)
    assert result.exit_code == 3
    assert "--data" in result.stderr


def test_other_classes_than_the_run_knows(bioseg, copied_run, tmp_path, monkeypatch):
    monkeypatch.setattr(conftest, "CLASSES", (*conftest.CLASSES, conftest.CLASSES[1]))
    three = conftest.write_discs(tmp_path / "three.h5")
    result = bioseg("evaluate", copied_run, "--data", three)
    assert result.exit_code == 3
    assert "has the classes background, cell; the data set background, cell, cell" in result.stderr


@pytest.mark.parametrize(("status", "words"), [("running", "is still training"), ("failed", "failed")])
def test_a_run_that_did_not_finish_is_said(evaluate, copied_run, status, words):
    change_manifest(copied_run, status=status)
    (found,) = evaluate(copied_run)
    assert any(words in note for note in found["notes"])


def test_images_without_masks_are_left_out_and_said(evaluate, disc_run, tmp_path):
    data = conftest.write_discs(tmp_path / "some.h5", unlabelled=(9,))
    (found,) = evaluate(disc_run, "--data", data)
    assert found["images"] == 2
    assert "1 images of the split have no mask and were left out." in found["notes"]


def test_no_run_there(bioseg, tmp_path):
    result = bioseg("evaluate", tmp_path)
    assert result.exit_code == 3
    assert "not a run" in result.stderr


def test_files_of_a_report(bioseg, disc_run, tmp_path):
    table, report = tmp_path / "table.csv", tmp_path / "report"
    result = bioseg("evaluate", disc_run, "--state", "all", "--csv", table, "--out", report, "--draws", 200)
    assert result.exit_code == 0, result.output
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == [str(disc_run)] * 4 + ["otsu", "all-background"]
    assert [row["state"] for row in rows] == ["best-supervised", "best-final", "best-miou", "last", "", ""]
    document = json.loads((report / "evaluation.json").read_text())
    assert [float(row["mean_iou"]) for row in rows[:4]] == [row["mean_iou"] for row in document["runs"]]
    assert document["config"]["state"] == "all"
    with (report / "per_image.csv").open() as stream:
        images = [row for row in csv.DictReader(stream) if row["state"] == "last"]
    assert len(images) == 3
    own = np.array([float(row["mean_iou"]) for row in images])
    assert own.mean() == pytest.approx(document["runs"][3]["image_wise"]["mean"])
    assert own.std(ddof=1) == pytest.approx(document["runs"][3]["image_wise"]["sd"])
    figures = sorted(path.name for path in report.glob("*.png"))
    assert figures == [
        f"discs-{state}-worst_best.png" for state in ("best-final", "best-miou", "best-supervised", "last")
    ]


def test_data_sets_are_shown_one_after_the_other(bioseg, evaluate, train_weakly, disc_run, disc_control, tmp_path):
    other = conftest.write_discs(tmp_path / "other.h5", wrong=(8,))
    weak = train_weakly(other)
    found = evaluate(disc_run, weak, disc_run)
    # Those of one data set stand together, and share its baselines.
    assert [row["run"] for row in found] == [str(disc_run), str(disc_run), str(weak)]
    assert found[0]["baselines"] == found[1]["baselines"] != found[2]["baselines"]
    shown = bioseg("evaluate", disc_run, weak).stdout
    assert shown.index("discs.h5, val split") < shown.index("other.h5, val split")
    # A control that was trained on one of them says nothing of the other.
    result = bioseg("evaluate", disc_run, weak, "--control", disc_control)
    assert result.exit_code == 2
    assert f"--control is no control of {weak}: they differ in the data set" in result.stderr


@pytest.fixture
def batch():
    """Run the example script with this environment's `bioseg`; its table has 80 columns."""

    def run(*arguments):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        script = Path(__file__).parents[2] / "examples/batch_evaluate.sh"
        return subprocess.run(
            ["bash", script, *map(str, arguments)], env={**os.environ, "PATH": path}, capture_output=True, text=True
        )

    return run


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_the_batch_script_scores_the_finished_runs_of_a_folder(batch, disc_run, tmp_path):
    for name, status in (("nested/one", "finished"), ("two words", "collapsed"), ("half", "interrupted")):
        run = shutil.copytree(disc_run, tmp_path / "runs" / name)
        change_manifest(run, status=status)
    out = tmp_path / "out"
    done = batch(out, tmp_path / "runs", "--", "--draws", 100, "--baselines", "none")
    assert done.returncode == 0, done.stderr
    assert "Left out, not finished" in done.stderr
    assert "half" in done.stderr
    with (out / "table.csv").open() as stream:
        names = [row["name"] for row in csv.DictReader(stream)]
    assert names == [str(tmp_path / "runs/nested/one"), str(tmp_path / "runs/two words")]
    assert "two words" in done.stdout
    assert {path.name for path in out.iterdir()} == {
        "table.csv", "evaluation.json", "per_image.csv",
        "one-best-supervised-worst_best.png", "two words-best-supervised-worst_best.png",
    }  # fmt: skip
    # Nothing is replaced unasked, and the exit code is passed on.
    assert batch(out, tmp_path / "runs").returncode == 2
    assert batch(out).returncode == 2
    assert "RUN_OR_FOLDER" in batch(out).stderr
    assert batch(out, tmp_path / "nowhere").returncode == 3


def test_the_documentation_names_every_key():
    text = (Path(__file__).parents[2] / "docs/evaluate.md").read_text()
    keys = RUN_KEYS | INTERVAL_KEYS | {"control", "count", "of", "mean", "sd", "difference", "interval"}
    missing = [key for key in keys if f"`{key}`" not in text]
    assert not missing
    flags = set(re.findall(r"--[a-z][a-z-]+", text))
    fields = {*EvaluateConfig.model_fields, *TrainUDAConfig.model_fields}
    known = {flag_of(name) for name in fields} | {"--json", "--config", "--map-labels"}
    assert flags <= known
