"""The commands that lead from the folders to a scored network, and the script of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bioseg_cli.evaluation.settings import MOST_HELD_OUT
from bioseg_cli.init.result import Command, FoundData
from bioseg_cli.init.settings import PROPOSED_MINUTES, InitConfig

LABELS_TO_BEGIN = 5
"""Images that are suggested where none has a mask."""


def commands_of(config: InitConfig, found: FoundData) -> tuple[Command, ...]:
    """The commands for the folders, in their order.

    Args:
        config: with the folder of the images.
        found: what is in the folders.
    """
    name, data = config.called, str(data_path(config))
    prepare = Command(
        "Make the data set. The settings are in the YAML file.", ("prepare", "folder", "--config", f"{name}.yaml")
    )
    if not found.labelled:
        suggest = ("suggest", data, "--count", str(LABELS_TO_BEGIN), "--export", f"{name}-to-label")
        about = "Choose images to label first. Draw a mask for each, and begin again: bioseg init --masks FOLDER."
        return prepare, Command(about, suggest)
    run, minutes = f"runs/{name}", f"{config.minutes or PROPOSED_MINUTES:g}"
    train = ("train-uda", data, "--preset", "best", "--minutes", minutes, "--run", run)
    predict = ("predict", run, *_inputs(config, found, data), "--out", f"predicted/{name}", "--overlay")
    held_out = found.training <= MOST_HELD_OUT
    evaluate = ("evaluate", run, *(["--cross-validate"] if held_out else []))
    how = "each labelled image is left out of a short training" if held_out else "on the images that did not train"
    return (
        prepare,
        Command(f"Train the network. It takes about {minutes} minutes.", train),
        Command("Write a mask for each image, and a picture with outlines.", predict),
        Command(f"Say how good the network is: {how}.", evaluate),
    )


def data_path(config: InitConfig) -> Path:
    """The data set, as seen from the folder of the files."""
    return Path("data") / f"{config.called}.h5" if config.out is None else from_folder(config.out, config.folder)


def from_folder(path: Path, folder: Path) -> Path:
    """A path as seen from another folder; an absolute path stays as it is."""
    return path if path.is_absolute() else Path(os.path.relpath(path, folder))


def script_of(commands: Sequence[Command]) -> str:
    """A shell script that stops at the first command that fails."""
    lines = ["#!/bin/sh", "set -e", 'cd "$(dirname "$0")"']
    for command in commands:
        lines += ["", f"# {command.about}", command.line]
    return "\n".join(lines) + "\n"


def _inputs(config: InitConfig, found: FoundData, data: str) -> list[str]:
    """What is predicted: the folder, or where it holds more than these images, the images of the data set."""
    if not found.predictable or config.images is None:
        return [data, "--split", "all"]
    inputs = [str(from_folder(config.images, config.folder))]
    inputs += ["--recursive"] if config.recursive else []
    inputs += ["--axes", config.axes] if config.axes is not None else []
    inputs += ["--level", str(config.level)] if config.level else []
    return inputs + (["--planes"] if config.planes else [])
