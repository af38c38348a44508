"""From paths to findings: everything is read once, and what was given together is compared."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from bioseg_cli.checking.comparing import copy_findings, seen_findings
from bioseg_cli.checking.datasets import DatasetCheck, check_dataset
from bioseg_cli.checking.folders import FolderCheck, check_folder
from bioseg_cli.checking.images import intensity_findings
from bioseg_cli.checking.result import CheckResult, Finding
from bioseg_cli.checking.runs import RunCheck, check_run
from bioseg_cli.checking.settings import CheckConfig
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.folders import IMAGE_SUFFIXES, files_in, natural_key, with_suffix
from bioseg_cli.prediction.settings import DATASET_SUFFIXES
from bioseg_cli.runs.manifest import MANIFEST_NAME
from bioseg_cli.runs.output import Output


def run(config: CheckConfig, output: Output) -> CheckResult:
    """Read everything that `config` names, and say what is wrong or unusual; nothing is written.

    Raises:
        DataError: a path does not exist, or a folder holds nothing to check.
        UsageError: a file that is no data set.
    """
    datasets: list[DatasetCheck] = []
    runs: list[RunCheck] = []
    folders: list[FolderCheck] = []
    for path in dict.fromkeys(config.paths):
        datasets += [check_dataset(dataset, output) for dataset in _datasets(path)]
        for found in _runs(path):
            output.say(f"Checking {found}")
            runs.append(check_run(found))
        if images := _images(path):
            folders.append(check_folder(path, images, config.stacks, output))
    parts = [checked.findings for checked in datasets] + [checked.findings for checked in runs]
    parts += [checked.findings for checked in folders]
    findings = [finding for part in parts for finding in part]
    findings += _compared(datasets, runs, folders)
    return CheckResult(
        datasets=tuple(checked.facts for checked in datasets if checked.facts is not None),
        runs=tuple(checked.facts for checked in runs if checked.facts is not None),
        folders=tuple(checked.facts for checked in folders),
        findings=tuple(sorted(findings, key=lambda finding: not finding.harm)),
    )


def _datasets(path: Path) -> list[Path]:
    """The data sets that a path names: itself, or those of a folder.

    Raises:
        DataError: there is no such path, or a folder with nothing to check.
        UsageError: a file that is no data set.
    """
    if not path.exists():
        raise DataError("No such file or folder", where=path, fix="Check the path.")
    if path.is_file():
        if path.suffix.lower() not in DATASET_SUFFIXES:
            fix = "Give a data set (.h5), a run directory, or the folder that the file is in."
            raise UsageError("The file is no data set", where=path, fix=fix)
        return [path]
    if _is_run(path):
        return []
    found = with_suffix(files_in(path), DATASET_SUFFIXES)
    if not found and not _runs(path) and not _images(path):
        fix = f"Files that count as images: {', '.join(IMAGE_SUFFIXES)}."
        raise DataError("The folder holds no image, no data set and no run", where=path, fix=fix)
    return found


def _runs(path: Path) -> list[Path]:
    """The run directory that a path is, or those in a folder."""
    if _is_run(path) or path.is_file():
        return [path] if path.is_dir() else []
    return sorted((inner for inner in path.iterdir() if _is_run(inner)), key=natural_key)


def _is_run(path: Path) -> bool:
    return (path / MANIFEST_NAME).is_file()


def _images(path: Path) -> list[Path]:
    """The image files of a folder that is no run."""
    return [] if path.is_file() or _is_run(path) else with_suffix(files_in(path), IMAGE_SUFFIXES)


def _compared(datasets: list[DatasetCheck], runs: list[RunCheck], folders: list[FolderCheck]) -> Iterator[Finding]:
    """What is found by comparing images with each other, data sets with each other, and data sets with runs."""
    collections = [checked.collection for checked in datasets if checked.collection is not None]
    collections += [folder.collection for folder in folders]
    for collection in collections:
        yield from intensity_findings(collection)
    yield from copy_findings(collections)
    for first, second in combinations(datasets, 2):
        yield from _unlike(first, second)
    for checked in runs:
        own = None if checked.facts is None else checked.facts.data_hash
        others = [data.collection for data in datasets if data.facts is not None and data.facts.content_hash != own]
        others += [folder.collection for folder in folders]
        for other in others:
            if checked.facts is not None and checked.seen is not None and other is not None:
                yield from seen_findings(checked.facts.path, checked.seen, other)


def _unlike(first: DatasetCheck, second: DatasetCheck) -> Iterator[Finding]:
    """In what two data sets differ, so that a run of one cannot simply be scored on the other."""
    if first.facts is None or second.facts is None:
        return
    other = second.facts.path
    if first.class_names != second.class_names:
        shown = f"{', '.join(first.class_names)}; those of {other} {', '.join(second.class_names)}"
        yield Finding(False, "classes", first.facts.path, f"The classes are {shown}")
    if first.facts.pixel_size != second.facts.pixel_size:
        sizes = [size or "unknown" for size in (first.facts.pixel_size, second.facts.pixel_size)]
        what = f"The pixel size is {sizes[0]}, that of {other} {sizes[1]}"
        yield Finding(False, "pixel sizes", first.facts.path, what)
