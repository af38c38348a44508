"""Settings of `train-uda`: each field is a flag and a YAML key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bioseg_cli.config import StateName
from bioseg_cli.training.label_names import ImageNames
from bioseg_cli.training.loss_names import OWN_LOSSES, UnsupLossName, installed_loss
from bioseg_cli.training.preset import with_best
from bioseg_cli.training.settings import NETWORK_PANELS, Criterion, TrainConfig

if TYPE_CHECKING:
    import torch

    from bioseg_cli.dataset.reader import Dataset
    from bioseg_cli.training.uda import UDA


class TrainUDAConfig(TrainConfig):
    """Train on labelled and unlabelled images by UDA: Dice on the labelled, consistency on the rest."""

    command: ClassVar[str] = "train-uda"
    example: ClassVar[str] = "data/cells.h5 --preset best --minutes 5 --run runs/cells"
    several_processes: ClassVar[bool] = True
    criteria: ClassVar[Mapping[StateName, Criterion]] = {
        "best-supervised": Criterion("val_supervised", higher_is_better=False),
        "best-final": Criterion("val_total", higher_is_better=False),
        "best-miou": Criterion("val_mean_iou", higher_is_better=True),
    }
    replaces: ClassVar[Mapping[str, frozenset[str]]] = {
        "epochs": frozenset({"steps", "minutes"}),
        "steps": frozenset({"minutes"}),
        "minutes": frozenset({"steps"}),
        "ratio": frozenset({"labels", "label_images"}),
        "labels": frozenset({"ratio", "label_images"}),
        "label_images": frozenset({"ratio", "labels", "label_draw"}),
    }
    of_unlabelled: ClassVar[frozenset[str]] = frozenset(
        {
            "unsup_loss", "unsup_weight", "stop_gradient", "sharpen", "confidence", "strong_ops",
            "teacher", "mix", "ramp", "class_confidence", "pseudo_loss", "pseudo_labels", "denoise", "guard",
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
            "border", "exposure", "dice_smooth", "dice_squared", "dice_background", "tsa",
        ),
        "Unlabelled images": (
            "unsup_loss", "unsup_weight", "pseudo_labels", "teacher", "mix", "denoise", "confidence", "ramp",
            "class_confidence", "pseudo_loss", "norm_images", "guard", "sharpen", "stop_gradient", "strong_ops",
        ),
        **NETWORK_PANELS,
    }  # fmt: skip

    preset: Literal["paper", "best"] = Field(
        default="paper",
        description="Values of all settings that are not given: those of the paper (paper), or a recipe for few labels "
        "(best) with stronger supervised training, a width and a crop that fit the images, and minutes "
        "instead of hours.",
    )

    ratio: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of the labelled training images that are used with their labels. The default is 0.1, and all"
        " with --preset best.",
    )
    labels: int | None = Field(default=None, ge=1, description="Number of labelled images, instead of --ratio.")
    label_draw: int = Field(
        default=0,
        ge=0,
        description="Random choice of the labelled images. 0 is the data set's own order; each other number is another "
        "order.",
    )
    label_images: ImageNames = Field(
        default=(),
        json_schema_extra={"metavar": "<file>"},
        description="File with the names of the labelled images to learn from, instead of --ratio. A .json file as "
        "`bioseg suggest --json` prints it, or a .txt file with one name per line.",
    )
    minutes: float | None = Field(
        default=None,
        gt=0,
        description="Minutes to train, instead of --epochs or --steps. The first steps are timed, and the number of "
        "updates is fixed from these times.",
    )
    epoch_steps: int | None = Field(
        default=None,
        ge=1,
        description="Updates between two validations. The default is one pass over the labelled or unlabelled images, "
        "whichever are more; with --minutes or --preset best it is a tenth of the budget.",
    )
    sup_loss: Literal["dice", "ce-dice"] = Field(
        default="dice",
        description="Loss of the labelled images: soft Dice, or the mean of soft Dice and cross entropy.",
    )
    augment: Literal["paper", "microscopy"] = Field(
        default="paper",
        description="Changes of intensity: RandAugment on the strong views alone (paper), or changes that a microscope "
        "makes, on labelled images too: exposure, focus, noise, light (microscopy).",
    )
    exposure: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="With --augment microscopy: share of the changes of exposure (gain, offset, gamma, light) that is "
        "made. --preset best chooses less than 1 where changed grey levels would mix up the classes.",
    )
    geometry: Literal["paper", "wide"] = Field(
        default="paper",
        description="Weak transform: rotation up to 15 degrees and a little scaling (paper), or any rotation and scales"
        " of 0.8 to 1.25 with mirrored borders (wide).",
    )
    crop_around: Literal["anywhere", "labels"] = Field(
        default="anywhere",
        description="With --crop: crops of labelled images lie anywhere, or around labelled pixels. Half of the latter "
        "are around pixels of a class other than the background.",
    )
    unsup_loss: UnsupLossName = Field(
        default="kl",
        json_schema_extra={"metavar": "<kl|iid|fixmatch|none|NAME>"},
        description="Consistency loss of the unlabelled images: KL divergence (kl), IIC's mutual information (iid), "
        "hard pseudo-labels (fixmatch), none, or the name of a loss that an installed package adds.",
    )
    unsup_weight: float = Field(default=1.0, ge=0, description="Weight of the unsupervised loss.")
    stop_gradient: bool = Field(
        default=True, description="With KL: treat the prediction on the weak view as a fixed target."
    )
    sharpen: float = Field(default=1.0, gt=0, le=1, description="With KL: softmax temperature of the target.")
    confidence: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="With KL and fixmatch: count only pixels whose prediction on the weak view is more confident than "
        "this. The default is all pixels for KL, and 0.95 for fixmatch.",
    )
    class_confidence: bool = Field(
        default=False,
        description="With KL and fixmatch: scale the confidence threshold per class by the confidence of the targets, "
        "so that a rare or hard class also counts.",
    )
    pseudo_loss: Literal["ce", "ce-dice"] = Field(
        default="ce",
        description="With fixmatch: loss against the pseudo-labels: cross entropy, or the mean of cross entropy and "
        "soft Dice pooled over the batch.",
    )
    teacher: Literal["self", "average"] = Field(
        default="self",
        description="With KL and fixmatch: network that predicts the target on the weak view. self is the network in "
        "training; average is an average of its weights, with the decay of --ema or 0.99.",
    )
    mix: Literal["none", "cutmix", "labelled"] = Field(
        default="none",
        description="With KL and fixmatch: cutmix pastes a box of another unlabelled image into each strong view. "
        "labelled pastes a box of a labelled image with its mask, and the unlabelled box into the labelled "
        "image.",
    )
    ramp: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the budget in which the weight of the unsupervised loss rises to --unsup-weight.",
    )
    pseudo_labels: Literal["none", "forest"] = Field(
        default="none",
        description="Labels that unlabelled images get before the training: none, or those that a random forest, grown "
        "on the labelled pixels, is sure of (forest). The network then learns them like labels. For a few strokes on "
        "one image.",
    )
    denoise: float = Field(
        default=0.0,
        ge=0,
        description="Weight of a denoising loss on all images. A second head, which is not saved, predicts hidden "
        "pixels from the pixels around them. Try 0.5.",
    )
    border: int = Field(
        default=0,
        ge=0,
        le=16,
        description="Width in pixels of the border of each object. A second head learns the borders, so that "
        "`bioseg predict --objects` tells apart objects that touch. The masks must number the objects. Try 2.",
    )
    tsa: Literal["none", "linear", "exp", "log"] = Field(
        default="none",
        description="Training signal annealing: leave out labelled pixels that the network already predicts too well "
        "for this time of the training.",
    )
    norm_images: Literal["batches", "all"] = Field(
        default="batches",
        description="Images whose statistics batch norm keeps for prediction: those of the training's batches, or all "
        "training images without their labels. The latter gives a control that knows the intensities of the"
        " unlabelled images and nothing more.",
    )
    strong_ops: int = Field(default=2, ge=1, le=9, description="RandAugment operations per strong view.")
    guard: bool = Field(
        default=True,
        description="Without labelled validation images: check the predictions for unlabelled images at the end. If "
        "they look wrong, also train the supervised control, and hand out the safer of the two.",
    )
    dice: Literal["image", "batch"] = Field(
        default="image", description="Soft Dice per image and class, or pooled over the batch."
    )
    dice_squared: bool = Field(
        default=True, description="Use squared probabilities in the denominator of Dice (V-Net)."
    )
    dice_background: bool = Field(default=True, description="Count the background as a class in Dice.")
    dice_smooth: float = Field(
        default=1.0,
        gt=0,
        description="Pixels added to numerator and denominator of Dice. With values far below 1, images without a class"
        " do not punish false positives.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_preset(cls, values: Any) -> Any:
        # A resumed run has its settings; filled in again they would count as given.
        if isinstance(values, dict) and values.get("preset") == "best" and values.get("resume") is None:
            return with_best(values)
        return values

    @property
    def fixed_target(self) -> bool:
        """Whether no gradient flows to what predictions on strong views are compared with."""
        if self.unsup_loss in OWN_LOSSES:
            return self.unsup_loss == "fixmatch" or (self.unsup_loss == "kl" and self.stop_gradient)
        return installed_loss(self.unsup_loss).fixed_target

    @model_validator(mode="after")
    def _unsupervised_loss_fits_together(self) -> Self:
        # A control is repeated from the settings of its run: without the loss none of them says anything.
        if self.unsup_loss == "none":
            return self
        if not self.fixed_target and (moved := [self.teacher != "self", self.mix != "none"]) and any(moved):
            asked = f"--teacher {self.teacher}" if moved[0] else f"--mix {self.mix}"
            other = "--no-stop-gradient" if self.unsup_loss == "kl" else f"--unsup-loss {self.unsup_loss}"
            raise ValueError(
                f"{asked} needs a fixed target, and {other} has none: give --unsup-loss fixmatch, or kl as it is"
            )
        if self.mix == "cutmix" and self.batch_size < 2:
            raise ValueError(
                "--mix cutmix pastes from one unlabelled image of a step into another: give --batch-size 2 or more, or "
                "--mix labelled"
            )
        if self.class_confidence and self.unsup_loss not in ("kl", "fixmatch"):
            raise ValueError(
                f"--class-confidence is for --unsup-loss kl and fixmatch: {self.unsup_loss} counts every pixel"
            )
        if self.class_confidence and self.unsup_loss == "kl" and self.confidence is None:
            raise ValueError("--class-confidence scales --confidence, which --unsup-loss kl has none of: give it too")
        if self.pseudo_loss != "ce" and self.unsup_loss != "fixmatch":
            raise ValueError(f"--pseudo-loss {self.pseudo_loss} is for --unsup-loss fixmatch")
        return self

    @model_validator(mode="after")
    def _exposure_is_changed(self) -> Self:
        if self.exposure != 1 and self.augment != "microscopy":
            raise ValueError("--exposure is for --augment microscopy: nothing else changes the exposure")
        return self

    @model_validator(mode="after")
    def _borders_are_known(self) -> Self:
        if self.border and self.pseudo_labels != "none":
            raise ValueError(
                f"--border needs single objects, and --pseudo-labels {self.pseudo_labels} labels classes: leave out one"
            )
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

    def method(self, dataset: Dataset, device: torch.device) -> UDA:
        """See `uda.UDA`."""
        from bioseg_cli.training.uda import UDA

        return UDA(dataset, self, device)

    @property
    def label_ratio(self) -> float:
        """The label ratio in force where no number of labels was asked for: 10 %, the study's smallest."""
        return 0.1 if self.ratio is None else self.ratio
