"""The images that a run has seen: those that it learnt from, and those that chose its states.

A score on one of them says little of new images, in whatever data set it stands. So a run keeps in `images.json` what
tells them again when its own data set is gone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from bioseg_cli.dataset.identity import ImageIdentity
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError
from bioseg_cli.io.files import write_text
from bioseg_cli.io.json_text import parse_json
from bioseg_cli.runs.dataset import dataset_of
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.manifest import Manifest
from bioseg_cli.runs.section import problems_of

Use = Literal["labelled", "unlabelled", "validation"]


@dataclass(frozen=True)
class SeenImage:
    """An image that a run has seen.

    Attributes:
        name: in the data set of the run.
        use: learnt from with its label, learnt from without, or of the validation split, which chooses states.
        identity: what tells it again.
        through: the run that learnt from it and whose weights this one began with; None: this run itself.
    """

    name: str
    use: Use
    identity: ImageIdentity
    through: str | None = None


def images_of_training(dataset: Dataset, manifest: Manifest) -> list[SeenImage]:
    """The images that a training learns from and is validated on.

    Args:
        dataset: that it is trained on.
        manifest: of the run, with what its method says of the images.
    """
    training = dataset.indices("train")
    named = None if manifest.labels is None else manifest.labels.images
    labelled = dataset.label_order if named is None else dataset.named(named)
    if manifest.outputs == "clusters" or labelled is None:
        labelled = training[:0]
    # The statistics of a control may be of all training images, of which it has learnt that much.
    every = manifest.unlabelled or manifest.outputs == "clusters" or manifest.config.get("norm_images") == "all"
    uses: dict[int, Use] = dict.fromkeys(dataset.indices("val").tolist(), "validation")
    uses |= dict.fromkeys(training.tolist() if every else [], "unlabelled")
    uses |= dict.fromkeys(np.asarray(labelled).tolist(), "labelled")
    return [
        SeenImage(dataset.name(index), use, ImageIdentity.of(dataset, index)) for index, use in sorted(uses.items())
    ]


def inherited_images(start: Path | None) -> list[SeenImage]:
    """The images that a run has seen through the weights of another run that it begins with, as far as they are known.

    Args:
        start: that run, or a saved model without its run; None: it begins with random weights.
    """
    if start is None or not start.is_dir():
        return []
    seen = seen_images(RunDirectory.open(start)) or []
    return [replace(image, through=image.through or str(start)) for image in seen]


def seen_images(run: RunDirectory) -> list[SeenImage] | None:
    """The images that a run has seen; None where it is of an earlier version, and its data set is gone or has changed.

    Raises:
        DataError: the record of the images is damaged.
    """
    if run.images_file.is_file():
        return _read(run.images_file)
    try:
        with dataset_of(run) as dataset:
            return None if dataset is None else images_of_training(dataset, run.manifest)
    except DataError:
        return None


def write_seen(path: Path, images: Iterable[SeenImage]) -> None:
    """Write `images.json`: a list with a line an image."""
    rows = []
    for image in images:
        about = asdict(image)
        identity = about.pop("identity")
        rows.append(json.dumps({**about, **identity}))
    write_text(path, "[\n" + ",\n".join(rows) + "\n]\n")


def _read(path: Path) -> list[SeenImage]:
    try:
        rows = TypeAdapter(list[dict[str, Any]]).validate_python(parse_json(path.read_text(encoding="utf-8")))
        return TypeAdapter(list[SeenImage]).validate_python([{**row, "identity": row} for row in rows])
    except (OSError, ValueError) as error:
        said = problems_of(error) if isinstance(error, ValidationError) else " ".join(str(error).split())
        raise DataError(
            f"The record of the images that the run has seen is damaged ({said[:200]})",
            where=path,
            fix="Copy the run again. Without this file, the data set of the run tells the images.",
        ) from None
