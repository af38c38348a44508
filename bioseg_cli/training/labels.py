"""The labelled images that a training learns from or names its clusters by, and the classes that they do not show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bioseg_cli.config import SplitName
from bioseg_cli.dataset.budgets import LabelBudgets
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.training.iic_settings import TrainIICConfig
from bioseg_cli.training.uda_settings import TrainUDAConfig


@dataclass(frozen=True)
class LabelledImages:
    """The labelled images that a training has.

    Attributes:
        split: where they are from.
        indices: which they are.
        unseen: names of the classes that none of them has a labelled pixel of.
        warnings: what the reader must know of those before the training.
    """

    split: SplitName
    indices: IntArray
    unseen: tuple[str, ...]
    warnings: tuple[str, ...]


def labels_to_learn(dataset: Dataset, config: TrainUDAConfig) -> LabelledImages:
    """The label budget of a run; of a resumed one the images that its manifest names.

    Raises:
        DataError: there are no labelled training images, or all of them together show a single class.
        UsageError: more labels are asked for than there are, or they show a single class, and more would not.
    """
    budgets = dataset.label_budgets(config.label_draw)
    recorded = _recorded(dataset, config.resume)
    indices = asked_for(dataset, config) if recorded is None else recorded
    if recorded is None and config.label_images:
        if len(shown := budgets.classes_in(indices)) < 2:
            raise UsageError(
                f"The images of --label-images show {_only(dataset, shown)}: a network learns nothing from a single "
                "class",
                where=dataset.path,
                fix="Name an image too that shows another class.",
            )
    elif recorded is None:
        refuse_single_class(dataset, budgets, len(indices), fix=f"Give --labels {budgets.enough} or more.")
    unseen = _unseen(dataset, budgets, indices)
    effect = "The network cannot learn what it has no label of, and will get it wrong."
    warnings = _warnings(dataset, budgets, indices, "labelled training", "--labels", effect)
    return LabelledImages("train", indices, unseen, warnings)


def asked_for(dataset: Dataset, config: TrainUDAConfig) -> IntArray:
    """The labelled images that settings ask for, by their names or by a budget.

    Raises:
        DataError: there are no labelled training images.
        UsageError: more labels are asked for than there are, or an image is named that is no labelled training image.
    """
    if not config.label_images:
        return dataset.label_subset(ratio=config.label_ratio, count=config.labels, draw=config.label_draw)
    known = {dataset.name(index): index for index in range(dataset.size)}
    for name in config.label_images:
        index = known.get(name)
        if index is None:
            what, fix = f"The data set has no image {name!r}", "Give names as `bioseg suggest` lists them."
        elif dataset.split[index] != "train":
            what, fix = f"{name!r} is in the {dataset.split[index]} split", "Name images of the training split."
        elif not dataset.labelled[index]:
            what, fix = f"{name!r} has no mask", "Draw it, and make the data set again with `bioseg prepare`."
        else:
            continue
        raise UsageError(f"{what}: --label-images names what cannot be learnt from", where=dataset.path, fix=fix)
    return np.array([known[name] for name in config.label_images], dtype=np.int64)


def remarks_on(dataset: Dataset, config: TrainUDAConfig, validated: int) -> list[str]:
    """What to say of data and settings before a training, of which so many validation images have a mask."""
    remarks = []
    if config.unsup_loss != "none" and config.augment == "paper" and dataset.image_shape[0] != 3:
        remarks.append("The images are not RGB: of the nine strong operations, color changes nothing")
    if dataset.drawn_in_part and config.crop is not None and config.crop_around != "labels":
        remarks.append(
            "The images were drawn in part, and crops lie anywhere: many will hold no label (--crop-around labels "
            "places each around one)"
        )
    if not validated:
        remarks.append(
            "No validation image has a mask: no best state can be chosen, and the last one is kept"
            + (" (--ema 0.99 would average it over the last updates)" if config.ema is None else "")
            + ("; --patience ends nothing" if config.patience is not None else "")
        )
    return remarks


def labels_to_name_clusters(dataset: Dataset, config: TrainIICConfig) -> LabelledImages:
    """The images that decide which class a cluster is: labelled training images, or else validation images.

    They are the first of the data set's label order that show every class; of a resumed run those that its manifest
    names. There are none where no image has a mask, or where all masks show a single class, which names nothing.

    Raises:
        UsageError: more were asked for than there are, or they show a single class, and more would not.
    """
    split: SplitName = "train"
    budgets = dataset.label_budgets()
    if not len(budgets.order):
        split = "val"
        budgets = LabelBudgets(dataset.indices("val", labelled=True), len(dataset.classes), dataset.shown_classes)
    available = len(budgets.order)
    if not available:
        return LabelledImages(split, budgets.order, (), ())
    count = available if config.map_labels == "all" else int(config.map_labels)
    if count > available:
        raise UsageError(
            f"{count} labelled images were asked for, the {split} split has {available}",
            where=dataset.path,
            fix=f"Give --map-labels {available} or less, or all.",
        )
    if len(shown := budgets.classes_in(budgets.order)) < 2:
        said = f"All masks of the {split} split show {_only(dataset, shown)}: no cluster can be named by them"
        return LabelledImages(split, budgets.order[:0], (), (f"{said}, and the clusters stay clusters.",))
    recorded = _recorded(dataset, config.resume)
    if recorded is None:
        fix = f"Give --map-labels {budgets.enough} or more, or all."
        refuse_single_class(dataset, budgets, count, fix=fix, what="a single class names no cluster")
    indices = budgets.first(count) if recorded is None else recorded
    effect = "No cluster can rightly be named so."
    kind = "labelled training" if split == "train" else "labelled validation"
    warnings = _warnings(dataset, budgets, indices, kind, "--map-labels", effect)
    return LabelledImages(split, indices, _unseen(dataset, budgets, indices), warnings)


def refuse_single_class(
    dataset: Dataset,
    budgets: LabelBudgets,
    count: int,
    *,
    fix: str,
    where: Path | None = None,
    what: str = "a network learns nothing from a single class",
) -> None:
    """Raise an error where the images of a budget show one class, or none.

    Args:
        dataset: whose images they are.
        budgets: of the draw.
        count: images of the budget.
        fix: what to do where a larger budget shows more.
        where: the file that asks for the budget; by default the data set.
        what: why one class is not enough.

    Raises:
        UsageError: a larger budget shows more.
        DataError: all labelled images together show no more.
    """
    shown = budgets.classes_in(budgets.first(count))
    if len(shown) > 1:
        return
    every = budgets.classes_in(budgets.order)
    if len(every) < 2:
        raise DataError(
            f"All {len(budgets.order)} labelled training images together show {_only(dataset, every)}: {what}",
            where=dataset.path,
            fix="Make it again with `bioseg prepare`, of masks that show another class too.",
        )
    raise UsageError(
        f"{_images(count, 'labelled')} {'shows' if count == 1 else 'show'} {_only(dataset, shown)}: {what}",
        where=where or dataset.path,
        fix=fix,
    )


def _recorded(dataset: Dataset, run: Path | None) -> IntArray | None:
    """The images that the manifest of a run to resume names; None for a new run, or one that names none."""
    if run is None:
        return None
    labelled = RunDirectory.open(run).manifest.labelled_images
    if labelled is None or labelled.images is None:
        return None
    if (indices := dataset.named(labelled.images)) is None:
        raise DataError("The data set is not the one this run was trained on", where=run, fix="Give its --data.")
    return indices


def _unseen(dataset: Dataset, budgets: LabelBudgets, indices: IntArray) -> tuple[str, ...]:
    return _names(dataset, _every(dataset) - budgets.classes_in(indices))


def _warnings(
    dataset: Dataset, budgets: LabelBudgets, indices: IntArray, kind: str, flag: str, effect: str
) -> tuple[str, ...]:
    """A sentence on the classes that a larger budget shows, and one on those that no image shows."""
    missing = _every(dataset) - budgets.classes_in(indices)
    if not missing:
        return ()
    elsewhere = missing & budgets.classes_in(budgets.order)
    said = []
    if elsewhere:
        which = f"{_images(len(indices), kind)} of this run {'has' if len(indices) == 1 else 'have'}"
        said.append(
            f"{which} no pixel of {_quoted(dataset, elsewhere)}. {effect} "
            f"A run with {flag} {budgets.enough} or more has it."
        )
    if nowhere := missing - elsewhere:
        said.append(f"No {kind} image has a pixel of {_quoted(dataset, nowhere)}. {effect}")
    return tuple(said)


def _every(dataset: Dataset) -> frozenset[int]:
    return frozenset(range(len(dataset.classes)))


def _names(dataset: Dataset, codes: frozenset[int]) -> tuple[str, ...]:
    return tuple(dataset.classes[code].name for code in sorted(codes))


def _quoted(dataset: Dataset, codes: frozenset[int]) -> str:
    return " and ".join(f"'{name}'" for name in _names(dataset, codes))


def _only(dataset: Dataset, codes: frozenset[int]) -> str:
    return f"nothing but {_quoted(dataset, codes)}" if codes else "no class at all, every pixel is ignored"


def _images(count: int, kind: str) -> str:
    return f"The {kind} image" if count == 1 else f"The {count} {kind} images"
