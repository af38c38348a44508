"""What stands in the output folder already: it is refused, unless it may be replaced, and is then removed."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence

from bioseg_cli.errors import UsageError
from bioseg_cli.io.files import refuse_existing
from bioseg_cli.prediction.earlier import remove_outputs
from bioseg_cli.prediction.object_files import table_names
from bioseg_cli.prediction.record import PredictionRecord
from bioseg_cli.prediction.settings import (
    BESIDE_MASKS,
    OBJECT_FORMATS,
    PARTS_PREFIX,
    RECORD_NAME,
    PredictConfig,
    records_in,
)
from bioseg_cli.prediction.sources import AnySource, mask_name, mask_path


def check_output(config: PredictConfig, *, overwrite: bool) -> None:
    """Refuse an output folder of another prediction.

    Raises:
        UsageError: the folder, or the record of this part of a job array, or that beside an OME-Zarr folder, is there
            and may not be replaced; or the folder holds parts of another division of the images.
    """
    if config.zarr_labels is not None:
        # The folder is there, with the images in it; of its labels see `zarr_masks.check_labels`.
        if config.record_path.exists() and not overwrite:
            raise UsageError(
                "The record of an earlier prediction is beside the folder",
                where=config.record_path,
                fix="Move the record away to keep it, or give --overwrite to replace it.",
            )
        return
    if config.part is None:
        if not config.skip_existing or not records_in(config.out):
            refuse_existing(config.out, overwrite=overwrite)
        return
    if not config.skip_existing:
        refuse_existing(config.out / config.record_name, overwrite=overwrite)
    count = config.part.partition("/")[2]
    for path in records_in(config.out):
        if path.name != RECORD_NAME and not path.stem.endswith(f"-{count}"):
            raise UsageError(
                f"The folder holds a part of another division of the images than {config.part}",
                where=path,
                fix="Bring its parts together first, by the same command with --skip-existing and without --part, or "
                "choose another --out.",
            )


def refuse_images_among_outputs(config: PredictConfig, sources: Sequence[AnySource]) -> None:
    """Raise `UsageError` for an image in a folder of the output that holds no masks, where it could be replaced."""
    folders = [config.out.resolve() / name for name in BESIDE_MASKS]
    for source in sources:
        path = source.path.resolve()
        if folder := next((folder for folder in folders if path.is_relative_to(folder)), None):
            raise UsageError(
                f"The image lies in the folder {folder.name} of the output, which is for what is written beside masks",
                where=source.path,
                fix="Choose another --out.",
            )


def refuse_unknown_masks(config: PredictConfig, new: Sequence[AnySource], *, killed: bool, overwrite: bool) -> None:
    """Refuse to replace masks that no record names: somebody else made them.

    Args:
        config: settings.
        new: the images that no earlier prediction has done, as far as its records say.
        killed: an earlier prediction was killed, and may have left masks that its record does not name yet.
        overwrite: masks may be replaced.

    Raises:
        UsageError: there is such a mask.
    """
    if killed or overwrite:
        return
    if path := next((path for path in (mask_path(config.out, source) for source in new) if path.exists()), None):
        raise UsageError(
            "The mask exists already, and no record of a prediction names it",
            where=path,
            fix="Move it away, choose another --out, or give --overwrite.",
        )


def remove_earlier(config: PredictConfig, given: Sequence[AnySource]) -> None:
    """Remove the masks of an earlier prediction, which a score would count beside those of this one.

    Args:
        config: settings. Of a part of a job array nothing is removed that belongs to another part.
        given: the images that are predicted.
    """
    out, part = config.out, config.part is not None
    again: Collection[str] = frozenset(map(mask_name, given))
    for path in records_in(out):
        own = not part or path.name == config.record_name
        if not own and path.name != RECORD_NAME:
            continue
        entries = PredictionRecord.read(path).files
        replaced = [entry for entry in entries if own or entry.mask in again]
        remove_outputs(out, [out / name for entry in replaced for name in entry.outputs])
        if own:
            remove_outputs(out, [out / name for name in table_names(path.name, OBJECT_FORMATS)])
            path.unlink()
    if not part:
        for folder in out.glob(f"{PARTS_PREFIX}*"):
            shutil.rmtree(folder)  # of a command that was killed


def remove_stale(config: PredictConfig, tables: Collection[str]) -> None:
    """Remove tables that are not written any more, and records whose entries are in this one now.

    Args:
        config: settings.
        tables: names of the tables that are written.
    """
    stale = set(table_names(config.record_name, OBJECT_FORMATS)) - set(tables)
    remove_outputs(config.out, [config.out / name for name in stale])
    if config.skip_existing and config.part is None:
        for path in records_in(config.out):
            if path.name != config.record_name:
                remove_outputs(config.out, [config.out / name for name in table_names(path.name, OBJECT_FORMATS)])
                path.unlink()
