"""The Typer app: `bioseg` and its subcommands.

Nothing heavy is imported here: torch, numpy and matplotlib come in with the command that needs them.
"""

from __future__ import annotations

import os
import sys

import typer

from bioseg_cli import __version__
from bioseg_cli.cli.binding import show_error
from bioseg_cli.cli.commands.prepare import prepare as make_data_set
from bioseg_cli.cli.commands.train import train
from bioseg_cli.cli.registered import RegisteredCommands, bind_on_use, bind_registry
from bioseg_cli.compute.torchrun import run_launched
from bioseg_cli.prepare.registry import RECIPES
from bioseg_cli.processors import share_processors
from bioseg_cli.runs.console import PlainConsole, output_failure
from bioseg_cli.runs.streams import let_go, prepare_streams
from bioseg_cli.training.registry import METHODS

# What each command does, in the order of the work. Its function, and its settings, are in the module of its name.
BEFORE_TRAINING = {
    "init": "Begin with a folder of images: answer a few questions, look at the data, and get the commands to run.",
    "check": "Read everything in data sets, runs and folders of images, and say what is wrong or unusual.",
    "preview": "Draw training images with each strong operation applied alone, or with the weak transform and masks.",
    "suggest": "Say which training images to label first: a few that cover the set, or those that a network doubts.",
}
AFTER_TRAINING = {
    "predict": "Segment image files of any size, folders of them, or the images of a data set, with a trained model.",
    "evaluate": "Score runs on a data set, or masks of any tool against ground truth: IoU and Dice with intervals.",
    "export": "Write a trained model for other programs: as an ONNX graph, or as a package of the BioImage Model Zoo.",
    "study": "Compare methods over label budgets, label draws and seeds, with controls: run what a plan still lacks.",
    "report": "Write one HTML page of a study, or of runs: tables and figures as in the paper, intervals, pictures.",
    "doctor": "Say what this machine computes with, what is installed, and which data sets and runs are here.",
    "examples": "Write the plans, settings and scripts that the documentation names, to use as they are or to change.",
}
app = typer.Typer(
    name="bioseg",
    cls=RegisteredCommands,
    help="A few labelled microscopy images and many unlabelled ones, to a segmentation model that can be trusted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        PlainConsole(sys.stdout).print(f"bioseg {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    pass


prepare = typer.Typer(
    name="prepare",
    cls=RegisteredCommands,
    no_args_is_help=True,
    help="Make a data set: files to data/NAME.h5.",
)
bind_registry(prepare, RECIPES, make_data_set)

for name, about in BEFORE_TRAINING.items():
    bind_on_use(app, name, about)
app.add_typer(prepare)
bind_registry(app, METHODS, train, prefix=METHODS.prefix)
for name, about in AFTER_TRAINING.items():
    bind_on_use(app, name, about)


def main() -> None:
    """Entry point of the `bioseg` program."""
    prepare_streams()
    share_processors(os.environ)
    try:
        run_launched(app)
    except OSError as error:  # of the help and the version; commands say themselves what they met
        let_go(sys.stdout)
        show_error(failure := output_failure(error))
        sys.exit(failure.exit_code)
