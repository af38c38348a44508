"""Settings of the training commands: each field is a flag and a YAML key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bioseg_cli.config import VIEWS, Config, DeviceName, Names, PrecisionName, UNetConfig
from bioseg_cli.training.label_names import ImageNames


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

BEST_RAMP = 0.3
"""Its `ramp` with `teacher: average`: the teacher of the first updates knows little."""


class TrainUDAConfig(TrainConfig):
    """Semi-supervised training by Unsupervised Data Augmentation (UDA)."""

    command: ClassVar[str] = "train-uda"
    of_unlabelled: ClassVar[frozenset[str]] = frozenset(
        {
            "unsup_loss", "unsup_weight", "stop_gradient", "sharpen", "confidence", "strong_ops",
            "teacher", "mix", "ramp", "class_confidence", "pseudo_loss", "denoise", "guard",
        }
    )  # fmt: skip
    """The settings of what is learnt from unlabelled images: a control does not depend on them."""
    panels: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Data and budget": (
            "data", "preset", "run", "minutes", "steps", "epochs", "crop", "batch_size", "seed", "resume",
            "epoch_steps", "patience",
        ),
        "Labelled images": (
            "labels", "ratio", "label_draw", "label_images", "augment", "geometry", "sup_loss", "crop_around", "dice",
            "dice_smooth", "dice_squared", "dice_background", "tsa",
        ),
        "Unlabelled images": (
            "unsup_loss", "unsup_weight", "teacher", "mix", "denoise", "confidence", "ramp", "class_confidence",
            "pseudo_loss", "norm_images", "guard", "sharpen", "stop_gradient", "strong_ops",
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
    label_images: ImageNames = Field(
        default=(),
        json_schema_extra={"metavar": "<file>"},
        description="Which labelled images to learn from, instead of --ratio: a file of their names, .json as "
        "`bioseg suggest --json` prints it or .txt with a name a line.",
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
    class_confidence: bool = Field(
        default=False,
        description="KL and fixmatch: scale the confidence for each class by how sure the target is of it, so that a "
        "rare or hard class is not left out.",
    )
    pseudo_loss: Literal["ce", "ce-dice"] = Field(
        default="ce",
        description="fixmatch: cross entropy with the pseudo-labels, or the mean of it and soft Dice pooled over the "
        "batch.",
    )
    teacher: Literal["self", "average"] = Field(
        default="self",
        description="KL and fixmatch: who predicts the weak view as the target, the network in training or an average "
        "of its weights, with the decay of --ema or 0.99.",
    )
    mix: Literal["none", "cutmix", "labelled"] = Field(
        default="none",
        description="KL and fixmatch: paste a box of another unlabelled image into a strong view (cutmix), or a box of "
        "a labelled image with its mask, and the unlabelled box into that image (labelled).",
    )
    ramp: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the budget over which the weight of the unsupervised loss rises to --unsup-weight.",
    )
    denoise: float = Field(
        default=0.0,
        ge=0,
        description="Weight of a further loss on all images: a second head, which is not saved, tells hidden pixels "
        "from their surroundings. Try 0.5.",
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
    guard: bool = Field(
        default=True,
        description="Without validation labels: look at the predictions for unlabelled images in the end, and where "
        "they look wrong, train the supervised control too and hand out the safer of the two.",
    )
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
            labels = {} if {"ratio", "labels", "label_images"} & set(values) else {"ratio": 1.0}
            taught = {"ramp": BEST_RAMP} if values.get("teacher") == "average" else {}
            return {**BEST, **budget, **labels, **taught, **values}
        return values

    @property
    def fixed_target(self) -> bool:
        """Whether no gradient flows to what predictions on strong views are compared with."""
        return self.unsup_loss == "fixmatch" or (self.unsup_loss == "kl" and self.stop_gradient)

    @model_validator(mode="after")
    def _unsupervised_loss_fits_together(self) -> Self:
        # A control is repeated from the settings of its run: without the loss none of them says anything.
        if self.unsup_loss == "none":
            return self
        if not self.fixed_target and (moved := [self.teacher != "self", self.mix != "none"]) and any(moved):
            asked = f"--teacher {self.teacher}" if moved[0] else f"--mix {self.mix}"
            other = "--unsup-loss iid" if self.unsup_loss == "iid" else "--no-stop-gradient"
            raise ValueError(
                f"{asked} needs a fixed target, and {other} has none: give --unsup-loss fixmatch, or kl as it is"
            )
        if self.mix == "cutmix" and self.batch_size < 2:
            raise ValueError(
                "--mix cutmix pastes from one unlabelled image of a step into another: give --batch-size 2 or more, or "
                "--mix labelled"
            )
        if self.class_confidence and self.unsup_loss == "iid":
            raise ValueError("--class-confidence is for --unsup-loss kl and fixmatch: iid counts every pixel")
        if self.class_confidence and self.unsup_loss == "kl" and self.confidence is None:
            raise ValueError("--class-confidence scales --confidence, which --unsup-loss kl has none of: give it too")
        if self.pseudo_loss != "ce" and self.unsup_loss != "fixmatch":
            raise ValueError(f"--pseudo-loss {self.pseudo_loss} is for --unsup-loss fixmatch")
        return self

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
        if self.label_images and (self.ratio is not None or self.labels is not None or self.label_draw):
            raise ValueError("--label-images says which images: leave out --ratio, --labels and --label-draw")
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
