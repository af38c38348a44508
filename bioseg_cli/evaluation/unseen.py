"""Classes that the labelled images of a training did not show: their scores say so, and nothing of the method."""

from __future__ import annotations

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.evaluation.report import UNSEEN
from bioseg_cli.evaluation.states import SavedState


def unseen_classes(state: SavedState, dataset: Dataset) -> tuple[str, ...] | None:
    """Names of the classes that no label of a run showed, be it to learn from or to name clusters by.

    A manifest of an earlier version does not have them; then the masks are looked at, where the data set is the one
    that the run was trained on.

    Returns:
        The names; None where nobody knows.
    """
    manifest = state.run.manifest
    record = manifest.labelled_images
    if record is None:
        return None
    if record.unseen is not None:
        return record.unseen
    same_data = manifest.data.content_hash == dataset.content_hash
    images = dataset.named(record.images) if same_data and record.images is not None else None
    if images is None:
        return None
    shown = frozenset[int]().union(*map(dataset.shown_classes, images.tolist()))
    return tuple(class_info.name for code, class_info in enumerate(dataset.classes) if code not in shown)


def unseen_note(state: SavedState, unseen: tuple[str, ...]) -> str:
    """What a reader must know of a run that had no label of some classes."""
    names = " and ".join(f"'{name}'" for name in unseen)
    if state.of_clusters:
        return f"{state.name}: no image that named the clusters shows {names} ({UNSEEN}): none can rightly be named so."
    return f"{state.name}: no labelled image of the training shows {names} ({UNSEEN}): it could not be learnt."
