"""Settings of `train-uda`: each field is a flag and a YAML key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bioseg_cli.training.label_names import ImageNames
from bioseg_cli.training.settings import NETWORK_PANELS, TrainConfig

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
