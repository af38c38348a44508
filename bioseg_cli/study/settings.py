"""Settings of `bioseg study`, and the plan that it carries out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bioseg_cli.compute.jobs import jobs_or_scheduler
from bioseg_cli.config import Config, Names, SplitName, StateName
from bioseg_cli.errors import UsageError
from bioseg_cli.evaluation.settings import BASELINES
from bioseg_cli.training.loss_names import UnsupLossName
from bioseg_cli.training.registry import METHODS
from bioseg_cli.training.settings import TrainConfig

DEFAULT_RATIOS = (0.1, 0.25, 0.5)
"""The study's, where a plan names neither ratios nor numbers of labels."""
MOST_RUNS = 10_000
"""Of a plan. More are a slip of the pen: a study of an hour a run would take a year."""
DEFAULT_STEPS = 5000
"""Updates of each run where a plan names neither `steps` nor `epochs`."""
BY_THE_PLAN = frozenset(
    {"data", "run", "resume", "ratio", "labels", "label_draw", "label_images", "seed", "steps", "epochs"}
)
"""Settings of train-uda that a plan varies or fixes itself; under `uda:` they would say something else."""
BY_THE_PLAN_WITHOUT_LABELS = frozenset({"data", "run", "resume", "seed"})
OWN_KEYS = frozenset({"uda", "iic"})
"""The methods whose settings have a key of their own in a plan."""

FileKey = Literal["uda", "iic"]


def file_key(model: type[TrainConfig]) -> FileKey:
    """Which file of a data set a method trains on, where there are two."""
    return "uda" if model.learns_from_labels else "iic"


class StudyConfig(Config):
    """Carry out a plan: train and score what is missing of it."""

    command: ClassVar[str] = "study"
    example: ClassVar[str] = "examples/your-images.yaml --jobs 2"

    plan: Path = Field(
        json_schema_extra={"argument": True}, description="YAML file with the plan. docs/study.md lists its keys."
    )
    out: Path | None = Field(default=None, description="Folder of the study. The default is studies/NAME-OF-THE-PLAN.")
    jobs: int = Field(
        default=1,
        ge=1,
        description="Number of runs at the same time on this machine. More than 1 needs the extra `cluster`.",
    )
    scheduler: str | None = Field(
        default=None,
        description="Address of a running Dask scheduler (tcp://HOST:8786) whose workers take the runs instead.",
    )
    dry_run: bool = Field(default=False, description="List the runs and how far each of them is, and do nothing else.")

    @model_validator(mode="after")
    def _jobs_or_scheduler(self) -> Self:
        jobs_or_scheduler(self.jobs, self.scheduler)
        return self


class StudyData(Config):
    """The files of one data set, where the two methods train on different ones."""

    uda: Path | None = None
    iic: Path | None = None

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if self.uda is None and self.iic is None:
            raise ValueError("name a file for uda, for iic, or both")
        return self


class Plan(Config):
    """What a study compares. docs/study.md explains each key."""

    command: ClassVar[str] = "study"
    flags: ClassVar[bool] = False

    data: dict[str, Path | StudyData] = Field(min_length=1, description="Data sets by the name they have in tables.")
    ratios: tuple[float, ...] = Field(default=(), description="Shares of the labelled training images.")
    labels: tuple[int, ...] = Field(default=(), description="Numbers of labelled training images.")
    losses: tuple[UnsupLossName, ...] = Field(
        default=("kl", "iid"), description="Unsupervised losses, also of installed packages."
    )
    draws: int = Field(default=3, ge=1, description="Random choices of the labelled images.")
    seeds: int = Field(default=1, ge=1, description="Trainings per choice of labelled images, each with another seed.")
    first_seed: int = Field(default=0, ge=0, description="The first of these seeds.")
    steps: int | None = Field(
        default=None, ge=1, description="Updates of every run of train-uda, the same at every ratio."
    )
    epochs: int | None = Field(
        default=None, ge=1, description="Passes instead of updates. Some ratios then have fewer updates."
    )
    uda: dict[str, Any] | tuple[dict[str, Any], ...] = Field(
        default={}, description="Further settings of train-uda; several of them are compared, each with its control."
    )
    iic: dict[str, Any] | None = Field(
        default=None, description="Settings of train-iic. Without this key train-iic is not run."
    )
    methods: dict[str, dict[str, Any]] = Field(
        default={}, description="Further methods by name, such as those of installed packages, with their settings."
    )
    states: tuple[StateName, ...] = Field(
        default=("best-supervised", "best-final"), min_length=1, description="Saved states to score."
    )
    split: SplitName = Field(default="test", description="Split to score on.")
    baselines: Names = Field(
        default=("otsu", "kmeans", "forest", "all-background"), description="Baselines to score as well."
    )
    threads: int | None = Field(
        default=None, ge=1, description="Threads per run. The default is the number of processors divided by --jobs."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("give steps or epochs, not both")
        if "none" in self.losses:
            raise ValueError("losses: a control, which has none, is part of every plan")
        if any(not 0 < ratio <= 1 for ratio in self.ratios) or any(count < 1 for count in self.labels):
            raise ValueError("ratios lie above 0 and up to 1, labels are whole numbers from 1")
        if unknown := [name for name in self.baselines if name not in BASELINES]:
            raise ValueError(f"baselines: unknown {', '.join(unknown)} (known: {', '.join(BASELINES)})")
        if not self.variants:
            raise ValueError("uda: the list is empty")
        for name, given in [*(("uda", entry) for entry in self.variants), *self.further.items()]:
            own = BY_THE_PLAN if self.method(name).learns_from_labels else BY_THE_PLAN_WITHOUT_LABELS
            if taken := sorted(own & set(given)):
                raise ValueError(f"{name}: {', '.join(taken)} {'is' if len(taken) == 1 else 'are'} set by the plan")
        if (runs := self._most_runs) > MOST_RUNS:
            raise ValueError(f"the plan has up to {runs:,} runs, and a study at most {MOST_RUNS:,}")
        if twice := OWN_KEYS & set(self.methods):
            raise ValueError(f"methods: {', '.join(sorted(twice))} has a key of its own")
        for name, entry in self.data.items():
            if "/" in name or not name.strip():
                raise ValueError(f"data: {name!r} cannot be a name of a data set")
            if (
                isinstance(entry, StudyData)
                and entry.iic is not None
                and entry.uda is None
                and self.file_keys == ("uda",)
            ):
                raise ValueError(f"data: {name} has a file for iic alone, and the plan has no iic")
        return self

    @property
    def _most_runs(self) -> int:
        budgets = len({*self.ratios, *self.labels}) or len(DEFAULT_RATIOS)
        with_labels = len(self.variants) * budgets * (1 + len(self.losses))
        return self.draws * self.seeds * len(self.data) * (with_labels + len(self.further))

    @property
    def variants(self) -> tuple[dict[str, Any], ...]:
        """The settings of train-uda that are compared: one or several."""
        return (self.uda,) if isinstance(self.uda, dict) else self.uda

    @property
    def label_free_baselines(self) -> tuple[str, ...]:
        """The baselines of a data set that have no label budget: all but the forest."""
        return tuple(name for name in self.baselines if name != "forest")

    @property
    def budget(self) -> dict[str, int]:
        """How long a run of train-uda trains."""
        return {"epochs": self.epochs} if self.epochs is not None else {"steps": self.steps or DEFAULT_STEPS}

    @property
    def repeats(self) -> tuple[tuple[int, int], ...]:
        """(draw, seed) of each repeat. No two share a seed: what varies over draws holds what varies over seeds."""
        return tuple(
            (draw, self.first_seed + draw * self.seeds + number)
            for draw in range(self.draws)
            for number in range(self.seeds)
        )

    @property
    def further(self) -> dict[str, dict[str, Any]]:
        """The settings of all methods but UDA, by name."""
        return ({} if self.iic is None else {"iic": self.iic}) | self.methods

    @staticmethod
    def method(name: str) -> type[TrainConfig]:
        """The settings class of a method; raises `ValueError` where there is none of that name."""
        try:
            return METHODS.load(name)
        except UsageError as error:
            raise ValueError(f"methods: {error.what}") from error

    @property
    def file_keys(self) -> tuple[FileKey, ...]:
        """Which files of a data set the plan uses."""
        return tuple(dict.fromkeys(("uda", *(file_key(self.method(name)) for name in self.further))))

    def file_of(self, name: str, key: FileKey) -> Path | None:
        """The file of a data set that methods with labels (`uda`) or without (`iic`) train on; None: they do not."""
        entry = self.data[name]
        if isinstance(entry, StudyData):
            return getattr(entry, key)  # type: ignore[no-any-return]
        return entry
