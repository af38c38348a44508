"""How the objects of a run's classes are told apart: learnt from the labels that the run itself was given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray, Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.objects.instances import Mask, ObjectRule, ObjectRules
from bioseg_cli.objects.learning import learnt_rule, rule_of_numbered, whole_clumps, whole_objects
from bioseg_cli.runs.dataset import dataset_of
from bioseg_cli.runs.directory import RunDirectory


def rules_of_run(run: Path, classes: Sequence[str] | None = None) -> tuple[ObjectRules, str]:
    """Learn the rules from the labelled images of a run.

    Args:
        run: its directory, or a model without one: the default rules hold for that.
        classes: names of its classes in the order that the rules are wanted in; by default, in its own.

    Returns:
        The rules, and whence they are, in a sentence for the user.
    """
    if not run.is_dir():
        return ObjectRules(), "Objects are told apart by the default rule: a model without its run knows no labels"
    directory = RunDirectory.open(run)
    manifest = directory.manifest
    try:
        with dataset_of(directory) as dataset:
            if dataset is None:
                return ObjectRules(), f"Objects are told apart by the default rule: {manifest.data.path} has changed"
            record = manifest.labelled_images
            named = dataset.named(record.images) if record is not None and record.images is not None else None
            images = dataset.label_order if named is None else named
            learnt = tuple(_learnt(dataset, images, code) for code in range(1, len(dataset.classes)))
            names = [info.name for info in dataset.classes[1:]]
    except DataError:
        return ObjectRules(), f"Objects are told apart by the default rule: {manifest.data.path} cannot be read"
    said = [
        f"'{name}' as {rule.learnt_from} labelled objects" if rule.learnt_from else f"'{name}' by the default rule"
        for name, rule in zip(names, learnt, strict=True)
    ]
    if classes is not None and list(classes[1:]) != names:
        by_name = dict(zip(names, learnt, strict=True))
        learnt = tuple(by_name[name] for name in classes[1:])
    return ObjectRules(learnt=learnt), f"Objects are told apart: {', '.join(said)}"


def _learnt(dataset: Dataset, images: IntArray, code: int) -> ObjectRule:
    """The rule of one class: by the numbers of its objects, where the data set holds them."""
    masks: list[Mask] = []
    clumps: list[Pixels] = []
    for index in map(int, images):
        shown = dataset.extent(index)
        codes = dataset.labels(index)[shown]
        if dataset.numbers_objects:
            clumps += whole_clumps(codes, code, dataset.ignore, dataset.objects(index)[shown])
        else:
            masks += whole_objects(codes, code, dataset.ignore)
    return rule_of_numbered(clumps) if dataset.numbers_objects else learnt_rule(masks)
