"""Settings of `train-iic`: each field is a flag and a YAML key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from bioseg_cli.config import VIEWS, Names, StateName
from bioseg_cli.training.settings import NETWORK_PANELS, Criterion, TrainConfig

if TYPE_CHECKING:
    import torch

    from bioseg_cli.dataset.reader import Dataset
    from bioseg_cli.training.iic import IIC

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
    """Train without labels by IIC: cluster pixels so that two views of an image agree; then map clusters to classes."""

    command: ClassVar[str] = "train-iic"
    example: ClassVar[str] = "data/cells.h5 --preset stable --run runs/clusters"
    learns_from_labels: ClassVar[bool] = False
    criteria: ClassVar[Mapping[StateName, Criterion]] = {
        "best-final": Criterion("val_information", higher_is_better=True)
    }
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
        description="Values of all settings that are not given: those of the paper (paper), or more stable ones "
        "(stable): Adam, a falling learning rate, a photometric second view, both heads in each step, more "
        "epochs, more clusters in the main head.",
    )
    clusters: int | None = Field(
        default=None,
        ge=2,
        description="Clusters of the main head. The default is the number of classes of the data set, and twice as many"
        " with --preset stable.",
    )
    aux_clusters: int | None = Field(
        default=None,
        ge=2,
        description="Clusters of the auxiliary head. The default is five per class, or five per cluster of --clusters.",
    )
    heads: Literal["alternate", "joint"] = Field(
        default="alternate",
        description="Each epoch trains the auxiliary head and then the main head (alternate), or both at once by the "
        "sum of their losses.",
    )
    views: Names = Field(
        default=("rotation",), description="Differences of the second view: any of rotation, flip and photometric."
    )
    shift: int = Field(
        default=0,
        ge=0,
        description="Also compare the maps when one is displaced by up to this many pixels in each direction.",
    )
    shift_loss: Literal["uncollapsed", "collapsed"] = Field(
        default="uncollapsed",
        description="With --shift: the mean of the losses of all displacements, or the loss of the sum of their joint "
        "distributions.",
    )
    lamb: float = Field(
        default=1.0,
        gt=0,
        description="Weight of the marginal entropies. A weight above 1 pushes clusters to equal sizes.",
    )
    restarts: int = Field(
        default=1,
        ge=1,
        description="Number of trainings, with the seed --seed and those after it. The training whose clusters share "
        "the most information on the validation images is kept. No label is used.",
    )
    map_labels: Annotated[str, BeforeValidator(str)] = Field(
        default="all",
        pattern=r"^(all|[1-9]\d*)$",
        description="Labelled images that decide after the training which class each cluster is: a number, or all.",
    )
    epochs: int = Field(
        default=10, ge=1, description="Passes over the training images. With --heads alternate, passes per head."
    )
    steps: int | None = Field(default=None, ge=1, description="Number of updates, instead of --epochs.")
    batch_size: int = Field(default=10, ge=1, description="Images per step.")
    crop: int | None = Field(
        default=None,
        ge=32,
        description="Train and validate on random crops of this many pixels. The default is the paper's: 128, and 256 "
        "for BigBrain.",
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

    def method(self, dataset: Dataset, device: torch.device) -> IIC:
        """See `iic.IIC`."""
        from bioseg_cli.training.iic import IIC

        return IIC(dataset, self, device)
