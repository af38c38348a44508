"""The Typer app: `bioseg` and its subcommands.

Nothing heavy is imported here: torch, numpy and matplotlib come in with the command that needs them.
"""

from __future__ import annotations

import os
import sys

import typer

from bioseg_cli import __version__
from bioseg_cli.checking.settings import CheckConfig
from bioseg_cli.cli.binding import bind, show_error
from bioseg_cli.cli.commands.check import check
from bioseg_cli.cli.commands.doctor import doctor
from bioseg_cli.cli.commands.evaluate import evaluate
from bioseg_cli.cli.commands.examples import ExamplesConfig, examples
from bioseg_cli.cli.commands.export import export
from bioseg_cli.cli.commands.init import init
from bioseg_cli.cli.commands.predict import predict
from bioseg_cli.cli.commands.prepare import prepare as make_data_set
from bioseg_cli.cli.commands.preview import preview
from bioseg_cli.cli.commands.report import report
from bioseg_cli.cli.commands.study import study
from bioseg_cli.cli.commands.suggest import suggest
from bioseg_cli.cli.commands.train import train
from bioseg_cli.cli.registered import RegisteredCommands, bind_registry
from bioseg_cli.compute.torchrun import run_launched
from bioseg_cli.doctor.settings import DoctorConfig
from bioseg_cli.evaluation.settings import EvaluateConfig
from bioseg_cli.export.settings import ExportConfig
from bioseg_cli.init.settings import InitConfig
from bioseg_cli.prediction.settings import PredictConfig
from bioseg_cli.prepare.registry import RECIPES
from bioseg_cli.preview.settings import PreviewConfig
from bioseg_cli.processors import share_processors
from bioseg_cli.report.settings import ReportConfig
from bioseg_cli.runs.console import PlainConsole, output_failure
from bioseg_cli.runs.streams import let_go, prepare_streams
from bioseg_cli.study.settings import StudyConfig
from bioseg_cli.suggest.settings import SuggestConfig
from bioseg_cli.training.registry import METHODS

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

bind(app, InitConfig, init, name="init")
app.add_typer(prepare)
bind(app, CheckConfig, check, name="check")
bind(app, PreviewConfig, preview, name="preview")
bind(app, SuggestConfig, suggest, name="suggest")
bind_registry(app, METHODS, train, prefix=METHODS.prefix)
bind(app, PredictConfig, predict, name="predict")
bind(app, EvaluateConfig, evaluate, name="evaluate")
bind(app, ExportConfig, export, name="export")
bind(app, StudyConfig, study, name="study")
bind(app, ReportConfig, report, name="report")
bind(app, DoctorConfig, doctor, name="doctor")
bind(app, ExamplesConfig, examples, name="examples")


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
