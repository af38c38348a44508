"""Settings of the training commands: each field is a flag and a YAML key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bioseg_cli.config import VIEWS, Config, DeviceName, Names, PrecisionName, UNetConfig


def _whole(path: Path | None) -> Path | None:
    return None if path is None else path.resolve()


NETWORK_PANELS: dict[str, tuple[str, ...]] = {
    "Network": (
        "width", "lr", "init_from", "schedule", "warmup", "ema", "optimizer", "norm", "dropout", "unet",
    ),
    "Machine": ("device", "precision", "cache"),
}  # fmt: skip


class TrainConfig(Config):
    """What every training command shares: data, budget, optimiser, machine."""

    data: Path | None = Field(
        default=None,
        json_schema_extra={"argument": "also"},
        description="Data set made by `bioseg prepare`; may be left out where data/ holds exactly one.",
    )
    run: Path | None = Field(
        default=None, description="Run directory to write; by default runs/DATASET-METHOD-... with the main settings."
    )
    resume: Path | None = Field(
        default=None, description="Continue this interrupted run; of the settings only the budget may change."
    )
    init_from: Annotated[Path | None, AfterValidator(_whole)] = Field(
        default=None,
        description="Start from the weights of this run, of any data set or of train-iic, instead of random ones. The "
        "network has to be the same; heads of other classes or clusters are new. --resume does not need it.",
    )
    epochs: int = Field(default=100, ge=1, description="Passes over the larger of the labelled and unlabelled subsets.")
    steps: int | None = Field(
        default=None, ge=1, description="Number of updates, instead of --epochs: equal for every label ratio."
    )
    batch_size: int = Field(default=1, ge=1, description="Labelled and unlabelled images a step, of each.")
    crop: int | None = Field(
        default=None, ge=32, description="Train on random crops of this many pixels; by default on whole stored images."
    )
    optimizer: Literal["adam", "rmsprop"] = Field(default="adam", description="Adam or RMSprop.")
    lr: float = Field(default=0.001, gt=0, description="Learning rate.")
    schedule: Literal["step", "cosine", "constant"] = Field(
        default="step", description="Learning rate: divided by 10 after each 30 % of the budget, cosine, or constant."
    )
    warmup: int = Field(
        default=0, ge=0, description="Updates at the beginning over which the learning rate rises to its full value."
    )
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Validate and keep an exponential moving average of the weights with this decay, such as 0.99.",
    )
    patience: int | None = Field(
        default=None, ge=1, description="Stop after this many epochs in which no best state improved."
    )
    width: int = Field(default=64, ge=1, description="Channels of the first U-Net level; each level doubles them.")
    norm: Literal["batch", "instance", "group", "none"] | None = Field(
        default=None, description="Normalisation after each convolution: by default batch, and none in the original."
    )
    dropout: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Dropout at the end of the contracting path: by default 0, and 0.5 in the original.",
    )
    unet: Literal["same", "original"] = Field(
        default="same", description="Same-padded U-Net, or the valid-convolution original with mirrored borders."
    )
    seed: int = Field(default=0, ge=0, description="Seed of everything random: weights, order, crops, augmentation.")
    cache: float = Field(
        default=4.0,
        ge=0,
        description="Gigabytes of memory for decoded images; what does not fit is read again each time, ahead of the "
        "network.",
    )
    device: DeviceName = Field(default="auto", description="Where to compute.")
    precision: PrecisionName = Field(
        default="auto", description="auto takes bfloat16 where the hardware multiplies it natively, else float32."
    )

    @model_validator(mode="after")
    def _original_has_no_norm(self) -> Self:
        if self.unet == "original" and self.norm not in (None, "none"):
            raise ValueError(f"--unet original has no normalisation: leave out --norm {self.norm}")
        return self

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


BEST: dict[str, Any] = {
    "unsup_loss": "none",
    "sup_loss": "ce-dice",
    "dice": "batch",
    "dice_smooth": 1.0,
    "augment": "microscopy",
    "geometry": "wide",
    "crop_around": "labels",
    "batch_size": 2,
    "lr": 0.002,
    "schedule": "cosine",
    "warmup": 50,
    "ema": 0.99,
}
"""What `train-uda --preset best` sets where nothing else was given; docs/training.md says why."""

BEST_STEPS = 1000
"""Its updates where no budget was given."""


class TrainUDAConfig(TrainConfig):
    """Semi-supervised training by Unsupervised Data Augmentation (UDA)."""

    command: ClassVar[str] = "train-uda"
    of_unlabelled: ClassVar[frozenset[str]] = frozenset(
        {"unsup_loss", "unsup_weight", "stop_gradient", "sharpen", "confidence", "strong_ops"}
    )
    """The settings of the unsupervised loss: a control does not depend on them."""
    panels: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Data and budget": (
            "data", "preset", "run", "minutes", "steps", "epochs", "crop", "batch_size", "seed", "resume",
            "epoch_steps", "patience",
        ),
        "Labelled images": (
            "labels", "ratio", "label_draw", "augment", "geometry", "sup_loss", "crop_around", "dice", "dice_smooth",
            "dice_squared", "dice_background", "tsa",
        ),
        "Unlabelled images": (
            "unsup_loss", "unsup_weight", "confidence", "norm_images", "sharpen", "stop_gradient", "strong_ops",
        ),
        **NETWORK_PANELS,
    }  # fmt: skip

    preset: Literal["paper", "best"] = Field(
        default="paper",
        description="The study's settings, or for what was not given a recipe for few labels: stronger supervised "
        "training, a width and a crop that fit the images, minutes instead of hours.",
    )

    ratio: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of the labelled training images used with their labels (0.1; with --preset best all).",
    )
    labels: int | None = Field(default=None, ge=1, description="Number of labelled images, instead of --ratio.")
    label_draw: int = Field(
        default=0,
        ge=0,
        description="Which random choice of labelled images: 0 is the data set's own order, any other number another.",
    )
    minutes: float | None = Field(
        default=None,
        gt=0,
        description="Time to train in, instead of --epochs or --steps: the first steps are timed, and the number of "
        "updates is fixed by it.",
    )
    epoch_steps: int | None = Field(
        default=None,
        ge=1,
        description="Updates after which the network is validated and saved, by default one pass over the larger "
        "subset, and with --minutes or --preset best a tenth of the budget.",
    )
    sup_loss: Literal["dice", "ce-dice"] = Field(
        default="dice", description="Loss of the labelled images: soft Dice, or the mean of it and cross entropy."
    )
    augment: Literal["paper", "microscopy"] = Field(
        default="paper",
        description="Intensities: RandAugment on strong views alone, or what a microscope changes (exposure, focus, "
        "noise, light), on labelled images too.",
    )
    geometry: Literal["paper", "wide"] = Field(
        default="paper",
        description="The weak transform: rotation within 15 degrees and little scale, or any rotation and scales of "
        "0.8 to 1.25, mirrored at the frame.",
    )
    crop_around: Literal["anywhere", "labels"] = Field(
        default="anywhere",
        description="With --crop: where crops of labelled images lie, anywhere or around labelled pixels, half of "
        "them of a class that is no background.",
    )
    unsup_loss: Literal["kl", "iid", "fixmatch", "none"] = Field(
        default="kl",
        description="Consistency on unlabelled images: KL divergence, IIC's mutual information (iid), hard "
        "pseudo-labels (fixmatch), or none.",
    )
    unsup_weight: float = Field(default=1.0, ge=0, description="Weight of the unsupervised loss.")
    stop_gradient: bool = Field(
        default=True, description="KL: treat the prediction on the weak view as a fixed target."
    )
    sharpen: float = Field(default=1.0, gt=0, le=1, description="KL: softmax temperature of the target.")
    confidence: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="KL and fixmatch: count only pixels whose weak prediction is surer than this; by default all "
        "for KL, 0.95 for fixmatch.",
    )
    tsa: Literal["none", "linear", "exp", "log"] = Field(
        default="none", description="Training-signal annealing: leave out labelled pixels that are learnt too well yet."
    )
    norm_images: Literal["batches", "all"] = Field(
        default="batches",
        description="Images whose statistics batch norm keeps for prediction: those of the training's batches, or all "
        "training images without their labels, for a control that sees how bright unlabelled images are and no more.",
    )
    strong_ops: int = Field(default=2, ge=1, le=9, description="RandAugment operations drawn for each strong view.")
    dice: Literal["image", "batch"] = Field(
        default="image", description="Soft Dice per image and class, or pooled over the batch first."
    )
    dice_squared: bool = Field(default=True, description="Squared probabilities in the denominator of Dice (V-Net).")
    dice_background: bool = Field(default=True, description="Whether the background counts as a class in Dice.")
    dice_smooth: float = Field(
        default=1.0,
        gt=0,
        description="Pixels added to numerator and denominator of Dice. Far below 1, images that lack a class say "
        "nothing of false positives.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_preset(cls, values: Any) -> Any:
        # A resumed run has its settings; filled in again they would count as given.
        if isinstance(values, dict) and values.get("preset") == "best" and values.get("resume") is None:
            budget = {} if {"steps", "epochs", "minutes"} & set(values) else {"steps": BEST_STEPS}
            labels = {} if {"ratio", "labels"} & set(values) else {"ratio": 1.0}
            return {**BEST, **budget, **labels, **values}
        return values

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.minutes is not None and self.steps is not None:
            raise ValueError("give --minutes or --steps, not both")
        if self.minutes is not None and self.resume is not None:
            raise ValueError("--minutes is for a new run: a resumed one has its number of updates, or --steps")
        return self

    @model_validator(mode="after")
    def _one_label_budget(self) -> Self:
        if self.ratio is not None and self.labels is not None:
            raise ValueError("give --ratio or --labels, not both")
        return self

    @model_validator(mode="after")
    def _statistics_to_estimate(self) -> Self:
        norm = self.norm or ("none" if self.unet == "original" else "batch")
        if self.norm_images == "all" and norm != "batch":
            raise ValueError(f"--norm-images all is for --norm batch: {norm} normalisation keeps no statistics")
        return self

    @property
    def label_ratio(self) -> float:
        """The label ratio in force where no number of labels was asked for: 10 %, the study's smallest."""
        return 0.1 if self.ratio is None else self.ratio


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
