"""What a training recipe, and each part of it, is worth at few labels: arms with equal labels and updates, over draws.

`python -m benchmarks.few_labels FOLDER --bed bbbc039 --arm best control [--labels 1] [--draws 0 1 2 3 4]
[--reference best] [--steps 1000] [--split val] [--jobs 2]`

An arm is a set of settings of `bioseg train-uda` (`ARMS`); `forest`, a random forest on the same labelled images;
`suggested`, the reference recipe on the images that `bioseg suggest` chooses, whose seed is the number of the draw; or
the reference recipe on what the run of another arm has labelled (`TEACHERS`).
All networks have width 16 and see two crops of 192 pixels a step. No validation image is used: the last state is
scored, by mean IoU with background on the validation images or, at the very end, on those of the test. An arm minus
`--reference` is taken draw by draw, with Student's interval over the draws. Runs in FOLDER that are finished, at the
same settings, are not trained again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from benchmarks import machine, pseudo_labels, test_beds
from benchmarks.timing import bioseg, printer, table_of
from bioseg_cli.config import SplitName
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.manifest import MANIFEST_NAME
from bioseg_cli.runs.sections import Status
from bioseg_cli.study.statistics import Repeat, compare

SIZE = {"width": 16, "crop": 192, "batch_size": 2}
BEST = {"preset": "best"}
TAUGHT = {**BEST, "unsup_loss": "fixmatch", "teacher": "average"}

ARMS: dict[str, dict[str, Any]] = {
    "control": {"unsup_loss": "none"},
    "best": BEST,
    "best, Dice alone": {**BEST, "sup_loss": "dice"},
    "best, Dice an image": {**BEST, "dice": "image"},
    "best, images as they are": {**BEST, "augment": "paper"},
    "best, whole exposure": {**BEST, "exposure": 1.0},
    "best, small turns": {**BEST, "geometry": "paper"},
    "best, crops anywhere": {**BEST, "crop_around": "anywhere"},
    "best, rate in steps": {**BEST, "schedule": "step", "warmup": 0},
    "best, no average": {**BEST, "ema": None},
    "best, statistics of all images": {**BEST, "norm_images": "all"},
    "best, twice the updates": {**BEST, "steps": 2},
    "best, three times the updates": {**BEST, "steps": 3},
    "best, all labels": {**BEST, "ratio": 1.0, "labels": None},
    "best + KL": {**BEST, "unsup_loss": "kl"},
    "best + teacher": TAUGHT,
    "best + teacher, cutmix": {**TAUGHT, "mix": "cutmix"},
    "best + teacher, labelled boxes": {**TAUGHT, "mix": "labelled"},
    "best + denoising": {**BEST, "denoise": 0.5},
    "best on the forest's labels": {**BEST, "pseudo_labels": "forest"},
    "best + all": {**TAUGHT, "mix": "labelled", "class_confidence": True, "pseudo_loss": "ce-dice", "denoise": 0.5},
}
"""Settings of `bioseg train-uda` by name; what they do not name is the same in all of them. Steps are factors."""

FOREST, SUGGESTED = "forest", "suggested"

TEACHERS = {
    "best, self-trained": "best",
    "best, self-trained twice": "best, self-trained",
}
"""Arms whose training images another arm has labelled where it was sure, but for those that have a mask."""

FOREST_FIRST = "best, forest first"
"""The reference recipe that starts from the weights of `best on the forest's labels`."""

NAMES = (*ARMS, FOREST, SUGGESTED, *TEACHERS, FOREST_FIRST)


@dataclass(frozen=True)
class Cell:
    """One training."""

    arm: str
    labels: int
    draw: int

    @property
    def name(self) -> str:
        """Of its run directory."""
        words = "".join(letter if letter.isalnum() else "-" for letter in self.arm)
        return f"{words}-{self.labels}labels-draw{self.draw}"


@dataclass(frozen=True)
class Comparison:
    """What all trainings on one data set have in common."""

    data: Path
    folder: Path
    steps: int
    split: SplitName = "val"

    def train(self, cell: Cell) -> Path:
        """The run of a cell, trained now where it is missing or has other settings."""
        run, data = self.folder / "runs" / cell.name, self.data
        arm = ARMS.get(cell.arm, BEST)
        updates = self.steps * arm.get("steps", 1)
        settings = {**SIZE, "labels": cell.labels, **arm, "label_draw": cell.draw}
        settings |= {"steps": updates, "epoch_steps": updates}
        if cell.arm == SUGGESTED:
            settings |= {"labels": None, "label_draw": 0, "label_images": self.suggested(cell)}
        elif cell.arm in TEACHERS:
            settings |= {"labels": None, "label_draw": 0, "ratio": 1.0}
            data = self.taught(cell)
        elif cell.arm == FOREST_FIRST:
            settings["init_from"] = str(self.train(Cell("best on the forest's labels", cell.labels, cell.draw)))
        if (run / MANIFEST_NAME).is_file():
            there = RunDirectory.open(run).manifest
            same = all(there.config[name] == value for name, value in settings.items())
            if same and there.status == Status.FINISHED:
                return run
        plan = self.folder / "settings" / f"{cell.name}.yaml"
        plan.parent.mkdir(parents=True, exist_ok=True)
        plan.write_text(yaml.safe_dump(settings))
        call("train-uda", data, "--config", plan, "--run", run, "--quiet", "--overwrite")
        return run

    def taught(self, cell: Cell) -> Path:
        """The data set that the teacher of a cell's arm has labelled; made now where it is missing."""
        path = self.folder / "taught" / f"{cell.name}.h5"
        if path.is_file():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        arm = TEACHERS[cell.arm]
        with Dataset(self.data) as dataset:
            labelled = dataset.label_subset(count=cell.labels, draw=cell.draw)
            pseudo_labels.write(dataset, labelled, self.train(Cell(arm, cell.labels, cell.draw)), path)
        return path

    def suggested(self, cell: Cell) -> list[str]:
        """Names of the images that `bioseg suggest` would have labelled first."""
        asked = ("--among", "all", "--count", cell.labels, "--seed", cell.draw)
        found = json.loads(call("suggest", self.data, *asked, "--json", "--quiet"))
        return [image["image"] for image in found["suggested"]]

    def score(self, cell: Cell) -> float:
        """Mean IoU of a cell on the images of the split; a forest's beside the run of the same labels."""
        path = self.folder / "scores" / self.split / f"{cell.name}.json"
        baselines = ("--baselines", "forest") if cell.arm == FOREST else ("--baselines", "none")
        run = self.train(Cell("best", cell.labels, cell.draw) if cell.arm == FOREST else cell)
        if not path.is_file() or path.stat().st_mtime < (run / MANIFEST_NAME).stat().st_mtime:
            split = ("--split", self.split, "--state", "last")
            scored = call("evaluate", run, *split, *baselines, "--json", "--quiet")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(scored)
        result = json.loads(path.read_text())["runs"][0]
        return float(result["baselines"][FOREST]["mean_iou"] if cell.arm == FOREST else result["mean_iou"])

    def seconds(self, cell: Cell) -> float:
        """Seconds that a training took."""
        return RunDirectory.open(self.folder / "runs" / cell.name).manifest.progress.seconds


def call(*arguments: object) -> str:
    """What a `bioseg` command of one thread prints; its errors go to the screen and end this program."""
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(bioseg(*arguments), stdout=subprocess.PIPE, text=True, env=surroundings)
    if done.returncode:
        raise SystemExit(f"bioseg {' '.join(map(str, arguments))} ended with {done.returncode}")
    return done.stdout


def table_by_arm(
    comparison: Comparison, arms: Iterable[str], labels: int, draws: list[int], reference: str, jobs: int
) -> Table:
    """A row an arm: its scores, their mean and standard deviation, and the difference to the reference."""
    cells = [Cell(arm, labels, draw) for arm in arms for draw in draws]
    # The forest stands beside a run, which is trained first.
    with ThreadPoolExecutor(jobs) as pool:
        trained = [cell for cell in cells if cell.arm != FOREST]
        scores = dict(zip(trained, pool.map(comparison.score, trained), strict=True))
        forests = [cell for cell in cells if cell.arm == FOREST]
        scores |= zip(forests, pool.map(comparison.score, forests), strict=True)
    title = f"{comparison.data.stem}, labelled images: {labels}, {comparison.steps} updates"
    table = table_of(title, "", *(f"draw {draw}" for draw in draws), "mean", "SD", f"minus {reference} (95 %)", "s")
    for arm in arms:
        values = by_repeat(scores, arm)
        spread = f"{statistics.stdev(values.values()):.4f}" if len(values) > 1 else ""
        gain = "" if arm == reference else difference(values, by_repeat(scores, reference))
        time = "" if arm == FOREST else f"{min(comparison.seconds(cell) for cell in cells if cell.arm == arm):.0f}"
        table.add_row(
            arm,
            *(f"{value:.4f}" for value in values.values()),
            f"{statistics.mean(values.values()):.4f}",
            spread,
            gain,
            time,
        )
    return table


def by_repeat(scores: Mapping[Cell, float], arm: str) -> dict[Repeat, float]:
    """The scores of an arm by draw; every run has seed 0."""
    return {(cell.draw, 0): score for cell, score in scores.items() if cell.arm == arm}


def difference(values: Mapping[Repeat, float], reference: Mapping[Repeat, float]) -> str:
    """Mean difference with its interval, where both have the same draws."""
    compared = compare(values, reference)
    if compared is None:
        return ""
    gain = compared.difference
    interval = "" if gain.interval is None else f" ({gain.interval.low:+.4f} to {gain.interval.high:+.4f})"
    return f"{gain.mean:+.4f}{interval}"


def refuse_same_draws(data: Path, labels: int, draws: Iterable[int]) -> None:
    """Exit where two draws choose the same images, as of few images they may: an interval would count them as two."""
    with Dataset(data) as dataset:
        known: dict[frozenset[int], int] = {}
        for draw in draws:
            images = frozenset(dataset.label_subset(count=labels, draw=draw).tolist())
            if known.setdefault(images, draw) != draw:
                raise SystemExit(f"Draws {known[images]} and {draw} of {labels} choose the same images of {data}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bed", choices=[*test_beds.BEDS, test_beds.HEAD], required=True)
    parser.add_argument("--arm", nargs="+", choices=NAMES, default=["best", "control", FOREST])
    parser.add_argument("--reference", choices=NAMES, default="best")
    parser.add_argument("--labels", type=int, nargs="+", default=[1])
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--split", choices=["val", "test"], default="val")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    data = options.folder / f"{options.bed}.h5"
    if not data.is_file():
        options.folder.mkdir(parents=True, exist_ok=True)
        test_beds.write(options.bed, Path(os.environ["BIOSEG_DATA"]), data)
    console = printer()
    console.print(machine.describe())
    comparison = Comparison(data, options.folder / options.bed, options.steps, options.split)
    for labels in options.labels:
        refuse_same_draws(data, labels, options.draws)
    for labels in options.labels:
        console.print(table_by_arm(comparison, options.arm, labels, options.draws, options.reference, options.jobs))


if __name__ == "__main__":
    main()
