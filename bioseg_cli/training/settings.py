"""Settings that every training command shares: each field is a flag and a YAML key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from bioseg_cli.config import DEVICE_ABOUT, Config, DeviceName, PrecisionName, StateName, UNetConfig

if TYPE_CHECKING:
    import torch

    from bioseg_cli.dataset.reader import Dataset
    from bioseg_cli.training.method import Method


def _whole(path: Path | None) -> Path | None:
    return None if path is None else path.resolve()


NETWORK_PANELS: dict[str, tuple[str, ...]] = {
    "Network": (
        "width", "lr", "init_from", "schedule", "warmup", "ema", "optimizer", "norm", "dropout", "unet",
    ),
    "Machine": ("device", "precision", "cache"),
}  # fmt: skip


@dataclass(frozen=True)
class Criterion:
    """What makes an epoch the best one for a saved state."""

    metric: str
    """Key of the validation metrics."""
    higher_is_better: bool


class TrainConfig(Config):
    """What every training command shares: data, budget, optimiser, machine.

    The settings of a method are a subclass with `command`, fields, `criteria` and `method`, named in
    `training.registry`. Its docstring is the help of its command.
    """

    learns_from_labels: ClassVar[bool] = True
    """Whether the network predicts classes, learnt from labelled images; else clusters, which labels name afterwards.
    With labels, a study gives it the settings `labels` and `label_draw`."""
    criteria: ClassVar[Mapping[StateName, Criterion]] = {}
    """The best states of a run and what chooses them; where no validation image has what that takes, there are none."""
    replaces: ClassVar[Mapping[str, frozenset[str]]] = {"epochs": frozenset({"steps"})}

    data: Path | None = Field(
        default=None,
        json_schema_extra={"argument": "also"},
        description="Data set that `bioseg prepare` made. The option may be left out where data/ holds exactly one data"
        " set.",
    )
    run: Path | None = Field(
        default=None,
        description="Run directory to write. The default is runs/DATASET-METHOD-... with the main settings.",
    )
    resume: Path | None = Field(
        default=None, description="Continue this interrupted run. Of the settings only the budget may change."
    )
    init_from: Annotated[Path | None, AfterValidator(_whole)] = Field(
        default=None,
        description="Start from the weights of this run instead of random weights. The run may be of any data set, or "
        "of train-iic. The network has to be the same; heads for other classes or clusters start new. "
        "--resume does not need this option.",
    )
    epochs: int = Field(
        default=100, ge=1, description="Passes over the labelled or the unlabelled images, whichever are more."
    )
    steps: int | None = Field(
        default=None,
        ge=1,
        description="Number of updates, instead of --epochs. The number is the same for every label ratio.",
    )
    batch_size: int = Field(default=1, ge=1, description="Labelled images per step, and as many unlabelled ones.")
    crop: int | None = Field(
        default=None,
        ge=32,
        description="Train on random crops of this many pixels. The default is whole stored images.",
    )
    optimizer: Literal["adam", "rmsprop"] = Field(default="adam", description="Optimizer: Adam or RMSprop.")
    lr: float = Field(default=0.001, gt=0, description="Learning rate.")
    schedule: Literal["step", "cosine", "constant"] = Field(
        default="step",
        description="Learning rate over the training: divided by 10 after each 30 % of the budget (step), cosine, or "
        "constant.",
    )
    warmup: int = Field(
        default=0, ge=0, description="Updates at the beginning in which the learning rate rises to its full value."
    )
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Decay of an exponential moving average of the weights, such as 0.99. The average is validated and "
        "saved instead of the weights.",
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        description="Stop after this many epochs without a better state. Without labelled validation images there is no"
        " better state, and the training goes to its end.",
    )
    width: int = Field(
        default=64, ge=1, description="Channels of the first level of the U-Net. Each further level has twice as many."
    )
    norm: Literal["batch", "instance", "group", "none"] | None = Field(
        default=None,
        description="Normalisation after each convolution. The default is batch, and none with --unet original.",
    )
    dropout: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Dropout at the end of the contracting path. The default is 0, and 0.5 with --unet original.",
    )
    unet: Literal["same", "original"] = Field(
        default="same",
        description="U-Net with same padding, or the original with valid convolutions and mirrored borders.",
    )
    seed: int = Field(
        default=0, ge=0, description="Seed of all random numbers: weights, order of images, crops, augmentation."
    )
    cache: float = Field(
        default=4.0,
        ge=0,
        description="Gigabytes of memory for decoded images. Images that do not fit are read again in each epoch.",
    )
    device: DeviceName = Field(default="auto", description=DEVICE_ABOUT)
    precision: PrecisionName = Field(
        default="auto",
        description="Number format of the network. auto takes bfloat16 where the hardware multiplies bfloat16 natively,"
        " else float32.",
    )

    @model_validator(mode="after")
    def _original_has_no_norm(self) -> Self:
        if self.unet == "original" and self.norm not in (None, "none"):
            raise ValueError(f"--unet original has no normalisation: leave out --norm {self.norm}")
        return self

    def method(self, dataset: Dataset, device: torch.device) -> Method:
        """What is computed on a batch of the data set; see `training.method`.

        Raises:
            DataError: a data set that it cannot learn from.
            UsageError: settings that do not fit the data set.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method")

    def architecture(self, in_channels: int, heads: dict[str, int]) -> UNetConfig:
        """The network these settings ask for."""
        original = self.unet == "original"
        return UNetConfig(
            in_channels=in_channels,
            heads=heads,
            width=self.width,
            norm=self.norm or ("none" if original else "batch"),
            dropout=self.dropout if self.dropout is not None else (0.5 if original else 0.0),
            variant=self.unet,
        )

    @property
    def cache_bytes(self) -> int:
        """`cache` in bytes."""
        return int(self.cache * 2**30)

    def total_steps(self, epoch_steps: int) -> int:
        """Updates of the whole budget, given how many an epoch has."""
        return self.steps if self.steps is not None else self.epochs * epoch_steps
