"""Scored images that a run has seen: their scores say little of new images, and are refused unless asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from bioseg_cli.dataset.copies import is_blank
from bioseg_cli.dataset.identity import ImageIdentity, KnownImages
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray
from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.document import SeenRecord
from bioseg_cli.evaluation.settings import EvaluateConfig
from bioseg_cli.printable import listing
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.seen import SeenImage, seen_images


@dataclass
class SeenScored:
    """The scored images that a run has seen.

    Attributes:
        record: what the document says; None where the images are those of the run's own split, which it has not seen.
        notes: what a reader must know.
    """

    record: SeenRecord | None = None
    notes: list[str] = field(default_factory=list)


def seen_among(run: RunDirectory, dataset: Dataset, indices: IntArray, config: EvaluateConfig) -> SeenScored:
    """Which of the images of a data set a run has seen.

    Of the run's own data set, its splits say what it has seen; but it may have begun with the weights of another run,
    which has seen more.

    Args:
        run: that is scored.
        dataset: that it is scored on.
        indices: of the scored images.
        config: settings.

    Raises:
        DataError: it was trained on some of them, and that is not allowed.
    """
    own = run.manifest.data.content_hash == dataset.content_hash
    inherits = run.manifest.initial_weights is not None
    if own and (not inherits or config.split == "train"):
        return SeenScored()
    seen = seen_images(run)
    notes = []
    if seen is None:
        note = f"Whether {run.path} was trained on scored images is not known: its data set is gone or has changed."
        return SeenScored(SeenRecord(trained=None, validated=None), [note])
    if inherits and not any(image.through for image in seen):
        notes.append(f"What the weights were trained on that {run.path} began with is not known.")
    if own:
        seen = [image for image in seen if image.through is not None and image.use != "validation"]
    known = KnownImages[SeenImage]()
    for image in seen:
        known.add(image.identity, image)
    trained, validated, volumes = [], [], 0
    for index in indices.tolist():
        identity = ImageIdentity.of(dataset, index)
        volumes += known.of_one_volume(identity)
        uses = {image.use for image in _same(known, identity, dataset, index)}
        if uses - {"validation"}:
            trained.append(dataset.name(index))
        elif uses:
            validated.append(dataset.name(index))
    if trained:
        what = f"{run.path} was trained on {len(trained)} of the {len(indices)} scored images: {listing(trained, 3)}"
        if not config.allow_seen:
            raise DataError(what, where=dataset.path, fix="Score it on other images, or give --allow-seen.")
        notes.append(f"{what}. Its figures say little of new images.")
    if validated:
        notes.append(
            f"The states of {run.path} were chosen on {len(validated)} of the scored images, which flatters it."
        )
    if volumes and not own:
        notes.append(
            f"{volumes} of the scored images are cut from a volume that {run.path} was trained on: slices that cross "
            "show the same tissue."
        )
    return SeenScored(SeenRecord(trained=tuple(trained), validated=tuple(validated)), notes)


def _same(known: KnownImages[SeenImage], identity: ImageIdentity, dataset: Dataset, index: int) -> list[SeenImage]:
    found = list(known.overlapping(identity))
    equal = list(known.equal(identity))
    return found if not equal or is_blank(dataset.image(index)) else [*found, *equal]
