"""Suggested images as files to draw masks for, in the layout that `bioseg prepare folder` reads.

`DIR/images/NAME.tif` holds an image in its own values, `DIR/masks/NAME.tif` the mask that the network of a run predicts
for it, and `DIR/suggested.json` what was suggested and why. A mask of two classes is 0 and 255, which any editor shows.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import UsageError
from bioseg_cli.io.files import sha256_of, temporary_path, write_failure, write_text
from bioseg_cli.io.image_writer import write_image, write_labels
from bioseg_cli.io.json_text import parse_json
from bioseg_cli.suggest.result import Export, SuggestionResult

if TYPE_CHECKING:
    from bioseg_cli.suggest.disagreement import Views

RECORD_NAME = "suggested.json"
FOREGROUND = 255


def check_folder(folder: Path, *, beside: Path | None, overwrite: bool) -> None:
    """Refuse a folder that holds anything, or with `overwrite` anything but an export that nobody has worked on.

    Args:
        folder: to export to.
        beside: a file that is written by this command too, wherever it lies.
        overwrite: whether an earlier export may be replaced.

    Raises:
        UsageError: something would be lost.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not overwrite:
        raise UsageError("The output exists already", where=folder, fix="Choose another --export, or give --overwrite.")
    written = _written(folder)
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name == RECORD_NAME or (beside is not None and path.resolve() == beside.resolve()):
            continue
        if written.get(name) != sha256_of(path):
            did = "was changed after it was exported" if name in written else "was not exported"
            raise UsageError(
                f"{name} {did}, and would be lost", where=folder, fix="Choose another --export, or move the file away."
            )


def _written(folder: Path) -> dict[str, str]:
    """The hashes of the files of an earlier export, by name."""
    try:
        files = parse_json((folder / RECORD_NAME).read_text(encoding="utf-8"))["files"]
        return {str(name): str(digest) for name, digest in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(
            "The folder exists, and `bioseg suggest` did not write it", where=folder, fix="Choose another --export."
        ) from None


def export(folder: Path, dataset: Dataset, views: Views | None, result: SuggestionResult) -> SuggestionResult:
    """Write the images, the masks and the record, all or nothing; returns the result that the record holds.

    Raises:
        DataError: an image cannot be read, or the disk is full.
    """
    masked = None if views is None or views.of_clusters else views
    then = _then(folder, masked.values if masked else None)
    result = replace(result, export=Export(folder, masks=masked is not None, then=then))
    whole = folder.resolve()  # what a link points to is replaced, not the link
    temporary = temporary_path(whole)
    try:
        for index, name in ((image.index, f"{image.image}.tif") for image in result.suggested):
            pixels = dataset.image(index)[:, *dataset.extent(index)]
            write_image(temporary / "images" / name, pixels, dataset.info.pixel_size)
            if masked is not None:
                labels = masked.labels(index)
                shown = np.where(labels > 0, FOREGROUND, 0) if len(masked.values) == 2 else labels
                write_labels(temporary / "masks" / name, shown, dataset.info.pixel_size)
        (temporary / "masks").mkdir(exist_ok=True)
        files = {path.relative_to(temporary).as_posix(): sha256_of(path) for path in sorted(temporary.rglob("*.tif"))}
        record = {**result.to_json(), "files": files}
        write_text(temporary / RECORD_NAME, json.dumps(record, indent=2) + "\n")
        if whole.exists():
            shutil.rmtree(whole)
        temporary.rename(whole)
    except OSError as error:
        raise write_failure(error, folder) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return result


def _then(folder: Path, values: Sequence[ClassInfo] | None) -> str:
    """The command that makes a data set of the folder, when every image has its mask."""
    words = ["bioseg", "prepare", "folder", "--images", str(folder / "images"), "--masks", str(folder / "masks")]
    if values is not None:
        words += ["--masks-are", "binary" if len(values) == 2 else "classes"]
        names = [class_info.name for class_info in values]
        if not any("," in name or name != name.strip() for name in names):
            words += ["--classes", ",".join(names)]
    return shlex.join([*words, "--out", f"data/{folder.resolve().name}.h5"])
