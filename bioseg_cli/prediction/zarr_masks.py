"""Masks that become labels in an OME-Zarr folder, which may be that of the images."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bioseg_cli.errors import UsageError
from bioseg_cli.io.folders import is_zarr, zarr_root
from bioseg_cli.io.ome_zarr import OmeZarrImage, is_image
from bioseg_cli.io.zarr_labels import LABELS, LabelWriter, writing_labels
from bioseg_cli.prediction.head_decoder import HeadDecoder
from bioseg_cli.prediction.settings import PredictConfig
from bioseg_cli.prediction.sources import AnySource


def labels_path(config: PredictConfig, source: AnySource) -> Path:
    """The group of the labels of an image: at the place in the output that the image has in its own folder."""
    assert config.zarr_labels is not None  # that is what this module is for
    inside = source.path.relative_to(zarr_root(source.path))
    return config.out / inside / LABELS / config.zarr_labels


def check_labels(
    config: PredictConfig, sources: Sequence[AnySource], given: Sequence[AnySource], *, overwrite: bool
) -> None:
    """Refuse what cannot become labels, and labels that exist already.

    Args:
        config: settings.
        sources: of all parts.
        given: those of them that are predicted now; labels of the others may be there.
        overwrite: labels may be replaced.

    Raises:
        UsageError: an input is no OME-Zarr image, two would have the same labels, the output holds another image, or
            labels exist and may not be replaced.
    """
    owners: dict[Path, AnySource] = {}
    for source in sources:
        if not is_zarr(source.path):
            what = "Only OME-Zarr images have a place for labels in an OME-Zarr folder"
            raise UsageError(what, where=source.path, fix="Give a folder without .zarr as --out.")
        path = labels_path(config, source)
        first = owners.setdefault(path, source)
        if first is not source:
            what = f"{first.path} and {source.path} would have the same labels"
            raise UsageError(what, where=path, fix="Predict them one after the other, each with its own --out.")
        _check_place(path.parents[1], source)
    for path in (labels_path(config, source) for source in given):
        if path.exists() and not overwrite:
            what = "The image has labels of this name already"
            raise UsageError(what, where=path, fix="Give --overwrite to replace them.")


def open_labels(files: ExitStack, config: PredictConfig, source: AnySource, decoder: HeadDecoder) -> LabelWriter:
    """A writer of the labels of an image, which are there when `files` is closed without an error."""
    names = [value.name for value in decoder.values]
    colours = [value.colour for value in decoder.values]
    path = labels_path(config, source)
    return files.enter_context(writing_labels(path, OmeZarrImage(source.path), decoder.dtype, names, colours))


def _check_place(place: Path, source: AnySource) -> None:
    """Refuse a place in another OME-Zarr folder that holds another image, or is of another version of Zarr."""
    if place.resolve() == source.path.resolve():
        return
    folder = zarr_root(place)
    other = ".zgroup" if (source.path / "zarr.json").is_file() else "zarr.json"
    if (folder / other).is_file():
        what = "The image and the output are of different versions of Zarr"
        raise UsageError(what, where=folder, fix="Choose another --out.")
    if is_image(place):
        what = f"The output holds an image where the labels of {source.path} would go"
        raise UsageError(what, where=place, fix="Give the folder of the image as --out, or a new one.")
