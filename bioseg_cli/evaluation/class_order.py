"""The classes of a model beside those of a data set: matched by their names, whatever their order."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch

from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.model.saved import HeadMapping, LoadedModel


def matched(model: LoadedModel, called: str, dataset: Dataset) -> LoadedModel:
    """The model with its classes in the order of the data set; itself where they are in that order already.

    Args:
        model: of a run.
        called: name of that run, for messages.
        dataset: to score it on.

    Raises:
        DataError: the classes have other names, or the background of one is a class of the other.
    """
    ours, theirs = _names(model.card.classes), _names(dataset.classes)
    if ours == theirs:
        return model
    said = f"{called} has the classes {', '.join(ours)}; the data set {', '.join(theirs)}"
    if len(set(ours)) < len(ours) or set(ours) != set(theirs) or len(ours) != len(theirs):
        alike = len(ours) == len(theirs)
        raise DataError(
            said,
            where=dataset.path,
            fix=f"If they mean the same in this order, give --classes {','.join(ours)}."
            if alike
            else "Score it on a data set with its own classes.",
        )
    if ours[0] != theirs[0]:
        raise DataError(
            f"{said}: the first class is the background, and the two do not agree on it",
            where=dataset.path,
            fix="Prepare the data set again with the background first.",
        )
    return reordered(model, [ours.index(name) for name in theirs])


def reordered(model: LoadedModel, order: Sequence[int]) -> LoadedModel:
    """A model that says the same in another order of classes.

    Args:
        model: that stays as it is.
        order: the class of `model` that each class of the new one is.
    """
    network, card = copy.deepcopy(model.network), model.card
    if card.outputs == "classes":
        for parameter in network.heads.parameters():
            with torch.no_grad():
                parameter.copy_(parameter[list(order)])
    mappings = {head: _reordered(mapping, order) for head, mapping in card.mappings.items()}
    classes = tuple(card.classes[code] for code in order)
    return LoadedModel(network, card.model_copy(update={"classes": classes, "mappings": mappings}), model.path)


def _reordered(mapping: HeadMapping, order: Sequence[int]) -> HeadMapping:
    return mapping.model_copy(
        update={
            "classes": tuple(order.index(code) for code in mapping.classes),
            "shares": tuple(tuple(share[code] for code in order) for share in mapping.shares),
        }
    )


def call_classes(dataset: Dataset, names: Sequence[str]) -> None:
    """Call the classes of an open data set by other names, in their order.

    Raises:
        UsageError: there are more or fewer classes.
    """
    if len(names) != len(dataset.classes):
        raise UsageError(
            f"--classes gives {len(names)} names, and the data set has {len(dataset.classes)} classes: "
            f"{', '.join(_names(dataset.classes))}",
            where=dataset.path,
            fix="Give one name for each, in this order.",
        )
    renamed = [info.model_copy(update={"name": name}) for info, name in zip(dataset.classes, names, strict=True)]
    dataset.info = replace(dataset.info, classes=tuple(renamed))


def _names(classes: Sequence[ClassInfo]) -> list[str]:
    return [info.name for info in classes]
