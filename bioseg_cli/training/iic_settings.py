"""Settings of `train-iic`: each field is a flag and a YAML key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from bioseg_cli.config import VIEWS, Names
from bioseg_cli.training.settings import NETWORK_PANELS, TrainConfig

STABLE: dict[str, Any] = {
    "optimizer": "adam",
    "lr": 0.003,
    "schedule": "cosine",
    "epochs": 30,
    "heads": "joint",
    "views": ("rotation", "flip", "photometric"),
    "lamb": 1.5,
}
"""What `--preset stable` sets where nothing else was given; docs/iic.md says why."""


class TrainIICConfig(TrainConfig):
    """Self-supervised training by Invariant Information Clustering (IIC), with the study's settings as defaults."""

    command: ClassVar[str] = "train-iic"
    panels: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Data and budget": (
            "data", "preset", "run", "epochs", "steps", "restarts", "crop", "batch_size", "seed", "resume", "patience",
        ),
        "Clusters": (
            "clusters", "map_labels", "aux_clusters", "views", "lamb", "heads", "shift", "shift_loss",
        ),
        **NETWORK_PANELS,
    }  # fmt: skip

    preset: Literal["paper", "stable"] = Field(
        default="paper",
        description="The study's settings, or better behaved ones for what was not given: Adam, a falling rate, a "
        "photometric second view, both heads in each step, more epochs, more clusters in the main head.",
    )
    clusters: int | None = Field(
        default=None,
        ge=2,
        description="Clusters of the main head; by default as many as the data set has classes, with --preset stable "
        "twice as many.",
    )
    aux_clusters: int | None = Field(
        default=None,
        ge=2,
        description="Clusters of the auxiliary head; by default five for each class, or for each of --clusters.",
    )
    heads: Literal["alternate", "joint"] = Field(
        default="alternate",
        description="An epoch trains the auxiliary head, then the main head, or both at once by the sum of their "
        "losses.",
    )
    views: Names = Field(
        default=("rotation",), description="How the second view differs: any of rotation, flip and photometric."
    )
    shift: int = Field(
        default=0, ge=0, description="Compare the maps also displaced by up to this many pixels each way."
    )
    shift_loss: Literal["uncollapsed", "collapsed"] = Field(
        default="uncollapsed",
        description="With --shift: the mean of the losses of all displacements, or the loss of their sum.",
    )
    lamb: float = Field(
        default=1.0, gt=0, description="Weight of the marginal entropies: above 1 pushes clusters to equal sizes."
    )
    restarts: int = Field(
        default=1,
        ge=1,
        description="Train from this many seeds, --seed and those after it, and keep the one whose clusters share the "
        "most information on the validation images; no label is used.",
    )
    map_labels: Annotated[str, BeforeValidator(str)] = Field(
        default="all",
        pattern=r"^(all|[1-9]\d*)$",
        description="Labelled images that decide, after the training, which class each cluster is: a number, or all.",
    )
    epochs: int = Field(
        default=10, ge=1, description="Passes over the training images; alternating, a pass for each head."
    )
    steps: int | None = Field(default=None, ge=1, description="Number of updates, instead of --epochs.")
    batch_size: int = Field(default=10, ge=1, description="Images a step.")
    crop: int | None = Field(
        default=None,
        ge=32,
        description="Train and validate on random crops of this many pixels; by default the study's: 128, and 256 for "
        "BigBrain.",
    )
    optimizer: Literal["adam", "rmsprop"] = Field(default="rmsprop", description="Adam or RMSprop.")
    lr: float = Field(default=0.01, gt=0, description="Learning rate.")
    schedule: Literal["step", "cosine", "constant"] = Field(
        default="constant",
        description="Learning rate: divided by 10 after each 30 % of the budget, cosine, or constant.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_preset(cls, values: Any) -> Any:
        # A resumed run has its settings; filled in again they would count as given.
        if isinstance(values, dict) and values.get("preset") == "stable" and values.get("resume") is None:
            return {**STABLE, **values}
        return values

    @model_validator(mode="after")
    def _clusters_and_views(self) -> Self:
        if self.clusters is not None and self.aux_clusters is not None and self.aux_clusters < self.clusters:
            raise ValueError(
                f"--aux-clusters {self.aux_clusters} is less than --clusters {self.clusters}: the auxiliary head is "
                "there to divide finer"
            )
        unknown = [name for name in self.views if name not in VIEWS]
        if unknown or not self.views:
            raise ValueError(f"--views: {', '.join(map(repr, unknown)) or 'none'} (known: {', '.join(VIEWS)})")
        return self
