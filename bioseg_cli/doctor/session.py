"""Facts of the machine and of a folder, each from where the other commands take it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from bioseg_cli import __version__
from bioseg_cli.compute.device import resolve_device, resolve_precision
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.doctor.result import Computing, DoctorResult, Extra, FoundDataset, FoundRun
from bioseg_cli.doctor.settings import DoctorConfig
from bioseg_cli.errors import BiosegError, UsageError
from bioseg_cli.io.folders import natural_key
from bioseg_cli.prediction.memory import free_bytes
from bioseg_cli.processors import processors
from bioseg_cli.runs.manifest import MANIFEST_NAME, RECORDED_PACKAGES, Manifest

EXTRAS = {
    "cluster": ("several machines", ("dask", "distributed")),
    "export": ("ONNX and BioImage Model Zoo packages", ("onnx", "onnxscript", "onnxruntime", "bioimageio.core")),
    "microscopes": ("files of Nikon, Zeiss and Leica: ND2, CZI, LIF", ("nd2", "czifile", "liffile")),
    "napari": ("the plugin for napari", ("napari",)),
    "tables": ("objects as Parquet", ("pandas", "pyarrow")),
    "zarr": ("OME-Zarr images and plates", ("zarr",)),
    "volumes": ("brain volumes: NIfTI and MINC2", ("nibabel", "numba")),
}
"""The extras of pyproject.toml that commands of a user need, with what they are for."""

LITTLE_DISK, LITTLE_MEMORY = 2 * 10**9, 2 * 10**9
"""Bytes below which a remark is made: a training writes some hundred megabytes, and holds one or two gigabytes."""


def run(config: DoctorConfig) -> DoctorResult:
    """Look at the machine and at a folder; nothing is written.

    Raises:
        UsageError: there is no such folder.
    """
    if not config.folder.is_dir():
        raise UsageError("There is no such folder", where=config.folder, fix="Give the folder of data/ and runs/.")
    computing = found_computing()
    disk = shutil.disk_usage(config.folder).free
    versions = {"bioseg": __version__, "python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in RECORDED_PACKAGES}
    extras = tuple(Extra(name, what, tuple(missing_of(packages))) for name, (what, packages) in EXTRAS.items())
    return DoctorResult(
        versions=versions,
        extras=extras,
        computing=computing,
        disk=disk,
        datasets=tuple(found_datasets(config.folder / "data")),
        runs=tuple(found_runs(config.folder / "runs")),
        remarks=tuple(remarks(computing, disk)),
    )


def missing_of(packages: tuple[str, ...]) -> Iterator[str]:
    """Those of `packages` that are not installed."""
    for package in packages:
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            yield package


def found_computing() -> Computing:
    """What this machine computes with, as the other commands would choose it now."""
    device = resolve_device("auto")
    precision = resolve_precision("auto", device)
    return Computing(
        device=str(device),
        gpus=tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())),
        precision=precision.name,
        reason=precision.reason,
        cores=processors(),
        busy=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        memory=free_bytes(device),
    )


def found_datasets(folder: Path) -> Iterator[FoundDataset]:
    """The data sets of a folder, in natural order."""
    for path in sorted(folder.glob("[!.]*.h5"), key=natural_key):
        try:
            with Dataset(path) as dataset:
                names = tuple(info.name for info in dataset.classes)
                yield FoundDataset(path, dataset.size, int(dataset.labelled.sum()), names)
        except BiosegError as error:
            yield FoundDataset(path, fault=error.what)


def found_runs(folder: Path) -> Iterator[FoundRun]:
    """The runs of a folder, in natural order."""
    for run in sorted((path.parent for path in folder.glob(f"*/{MANIFEST_NAME}")), key=natural_key):
        try:
            manifest = Manifest.read(run)
        except BiosegError as error:
            yield FoundRun(run, fault=error.what)
        else:
            updates = 0 if manifest.progress is None else manifest.progress.updates
            yield FoundRun(run, manifest.command, str(manifest.status), updates)


def remarks(computing: Computing, disk: int) -> Iterator[str]:
    """What may be in the way of the next command."""
    if computing.busy is not None and computing.busy >= computing.cores:
        yield (
            f"Other programs keep the processors busy ({computing.busy:.1f} processes for {computing.cores} "
            "processors): a training beside them takes several times as long"
        )
    if computing.device == "cpu" and computing.precision == "fp32":
        yield "The processor has no bfloat16 units: trainings take two to three times as long as with them"
    if computing.memory is not None and computing.memory < LITTLE_MEMORY:
        yield f"{computing.memory / 1e9:.1f} GB of memory is free: use small crops, and few programs beside bioseg"
    if disk < LITTLE_DISK:
        yield f"{disk / 1e9:.1f} GB of disk is free: a data set and a few runs need more"
