"""The commands that are killed: what they begin with, and what a user gives to go on."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

import yaml

from benchmarks.data import write_folder
from benchmarks.timing import bioseg

Arguments = tuple[object, ...]
TINY = ("--width", 4, "--batch-size", 2)
PLAN = {
    "labels": [2],
    "losses": ["kl"],
    "draws": 1,
    "steps": 12,
    "uda": {"width": 4, "batch_size": 2, "dropout": 0.2},
    "split": "test",
    "baselines": ["otsu"],
    "threads": 1,
}


class Material:
    """What commands read: a data set, images, two trained runs, masks of the first one, and a plan.

    Args:
        folder: to make it in.
    """

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data.h5"
        self.runs = folder / "first", folder / "second"
        self.plan = folder / "plan.yaml"
        self.images, _ = write_folder(folder, 16, 128)
        self.earlier = folder / "earlier"
        made = bioseg("prepare", "demo", "--images", 16, "--size", 128, "--out", self.data, "--quiet")
        quietly(made)
        for seed, run in enumerate(self.runs):
            settings = (*TINY, "--labels", 2, "--steps", 6, "--seed", seed, "--quiet")
            quietly(bioseg("train-uda", self.data, "--run", run, *settings))
        masks = ("--out", self.earlier / "masks", "--precision", "fp32", "--quiet")
        quietly(bioseg("predict", self.runs[0], self.images, *masks))
        self.plan.write_text(yaml.safe_dump({"data": {"demo": str(self.data)}, **PLAN}))


def quietly(command: list[str]) -> None:
    """Run a command that shows nothing but why it fails."""
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


class Killed(ABC):
    """A command that is killed and repeated.

    Args:
        material: what it reads.

    Attributes:
        name: of it, for people.
        earlier: results in whose place it begins, where there are any.
    """

    name: str

    def __init__(self, material: Material) -> None:
        self.material = material
        self.earlier: Path | None = None

    @abstractmethod
    def begin(self, folder: Path) -> Arguments:
        """What is given at first."""

    @abstractmethod
    def repeat(self, folder: Path) -> Arguments:
        """What is given after a kill."""


class Prepare(Killed):
    """Makes a data set with its picture."""

    name = "prepare"

    def begin(self, folder: Path) -> Arguments:
        return ("prepare", "demo", "--images", 24, "--size", 128, "--picture", "--out", folder / "demo.h5")

    def repeat(self, folder: Path) -> Arguments:
        return (*self.begin(folder), "--overwrite")


class TrainUDA(Killed):
    """Trains with a few labels."""

    name = "train-uda"

    def begin(self, folder: Path) -> Arguments:
        settings = ("--labels", 2, "--epochs", 4, "--dropout", 0.2, "--device", "cpu")
        return ("train-uda", self.material.data, "--run", folder / "run", *TINY, *settings)

    def repeat(self, folder: Path) -> Arguments:
        run = folder / "run"
        if (run / "resume.pt").is_file():
            return ("train-uda", "--resume", run)
        return (*self.begin(folder), "--overwrite")


class TrainIIC(Killed):
    """Trains without labels, from two seeds."""

    name = "train-iic"

    def begin(self, folder: Path) -> Arguments:
        settings = ("--crop", 64, "--epochs", 2, "--restarts", 2, "--device", "cpu")
        return ("train-iic", self.material.data, "--run", folder / "run", *TINY, *settings)

    def repeat(self, folder: Path) -> Arguments:
        run = folder / "run"
        if (run / "manifest.yaml").is_file():
            return ("train-iic", "--resume", run)
        return (*self.begin(folder), "--overwrite")


class Predict(Killed):
    """Writes masks, pictures and tables of objects."""

    name = "predict"

    def begin(self, folder: Path) -> Arguments:
        asked = ("--overlay", "--probabilities", "--objects", "--precision", "fp32")
        return ("predict", self.material.runs[0], self.material.images, "--out", folder / "masks", *asked)

    def repeat(self, folder: Path) -> Arguments:
        return (*self.begin(folder), "--overwrite")


class PredictAgain(Killed):
    """Replaces the masks of another model one by one."""

    name = "predict --skip-existing"

    def __init__(self, material: Material) -> None:
        super().__init__(material)
        self.earlier = material.earlier

    def begin(self, folder: Path) -> Arguments:
        given = (self.material.runs[1], self.material.images, "--out", folder / "masks")
        return ("predict", *given, "--skip-existing", "--precision", "fp32")

    def repeat(self, folder: Path) -> Arguments:
        return self.begin(folder)


class Evaluate(Killed):
    """Writes scores, tables and figures."""

    name = "evaluate"

    def begin(self, folder: Path) -> Arguments:
        written = ("--out", folder / "report", "--csv", folder / "scores.csv")
        return ("evaluate", *self.material.runs, "--split", "val", *written)

    def repeat(self, folder: Path) -> Arguments:
        return (*self.begin(folder), "--overwrite")


class Study(Killed):
    """Trains and scores what a plan names."""

    name = "study"

    def begin(self, folder: Path) -> Arguments:
        return ("study", self.material.plan, "--out", folder / "study")

    def repeat(self, folder: Path) -> Arguments:
        return self.begin(folder)


COMMANDS: tuple[type[Killed], ...] = (Prepare, TrainUDA, TrainIIC, Predict, PredictAgain, Evaluate, Study)
