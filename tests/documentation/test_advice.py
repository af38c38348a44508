"""An option that a message names exists in every command that can show it."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from helpers.command_line import OPTION, commands
from helpers.models import save_random_model

import bioseg_cli
from bioseg_cli.cli.binding import _errors_shown
from bioseg_cli.compute.device import resolve_precision
from bioseg_cli.config import Config
from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.settings import EvaluateConfig
from bioseg_cli.model.saved import load_model
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.prediction.settings import PredictConfig
from bioseg_cli.prepare.recipes.arrays import ArraysConfig
from bioseg_cli.prepare.recipes.settings import FolderConfig
from bioseg_cli.training.uda_settings import TrainUDAConfig

PACKAGE = Path(bioseg_cli.__file__).parent

FOLDERS = ("prepare folder", "init", "predict", "evaluate", "check")
LEVELS = ("prepare folder", "init", "predict")
STUDY = ("prepare fluohoechst", "prepare phc", "prepare fluogfp")
SPLIT = ("prepare folder", "init", *STUDY, "prepare bigbrain")
PREPARE = ("prepare demo", *SPLIT)
TRAIN = ("train-uda", "train-iic")

REACHED_BY: dict[str, tuple[str, ...]] = {
    "io/arrays.py": (),  # arguments of `prepare_arrays` and `Model.predict`
    "prepare/recipes/arrays.py": (),
    "io/axes.py": FOLDERS,  # where a command has no such options, it has no `Stacks` either
    "config.py": FOLDERS,
    "io/tiff.py": FOLDERS,
    "io/levels.py": LEVELS,
    "io/tiff_pages.py": LEVELS,
    "io/images.py": FOLDERS,
    "io/files.py": (*PREPARE, "preview", "suggest", "predict", "evaluate", "export", "report"),
    "cli/": (),  # they advise what they find among the fields of the settings
    "dataset/reader.py": ("train-uda",),
    "dataset/": (*PREPARE, *TRAIN),
    "evaluation/": ("evaluate",),
    "export/": ("export",),
    "doctor/": ("doctor",),
    "init/": ("init",),
    "checking/": ("check",),
    "prediction/": ("predict",),
    "preview/": ("preview",),
    "prepare/recipes/bigbrain": ("prepare bigbrain",),
    "prepare/session.py": SPLIT,  # every image of the demo has a mask
    "prepare/download.py": (*STUDY, "prepare bigbrain"),
    "prepare/recipes/fluohoechst.py": ("prepare fluohoechst",),
    "prepare/recipes/folder": ("prepare folder", "init"),
    "masks/": ("prepare folder", "init", "evaluate"),
    "annotations/": ("prepare folder", "init"),
    "objects/": ("predict",),
    "prepare/slicing/": ("prepare bigbrain",),
    "prepare/recipe.py": PREPARE,
    "prepare/splits.py": ("prepare folder", "init", *STUDY),
    "prepare/counts.py": PREPARE,
    "prepare/recipes/tracking_challenge.py": ("prepare phc", "prepare fluogfp"),
    "report/": ("report",),
    "compute/jobs.py": ("predict", "study"),
    "compute/device.py": (*TRAIN, "predict", "evaluate", "suggest"),
    "runs/directory.py": TRAIN,
    "study/": ("study",),
    "suggest/": ("suggest",),
    "training/initial.py": TRAIN,
    "training/iic.py": ("train-iic",),
    "training/clusters.py": ("train-iic",),
    "training/fit.py": ("train-uda",),
    "training/restarts.py": ("train-iic",),
    "training/uda.py": ("train-uda",),
    "training/without_effect.py": ("train-uda",),
    "training/": TRAIN,
}
"""By the beginning of a module's path, the longest that fits; settings classes know their commands themselves."""

OF_NO_COMMAND = {"prepare arrays"}
"""Settings of functions alone."""

OF_ANOTHER: dict[tuple[str, str], tuple[str, ...]] = {
    ("evaluation/predicted_values.py", "--raw-clusters"): ("predict",),
    ("evaluation/predicted_values.py", "--skip-existing"): ("predict",),
    ("training/border.py", "--border"): ("train-uda",),
    ("training/uda_settings.py", "--objects"): ("predict",),
    ("evaluation/controls.py", "--run"): ("train-uda",),
    ("evaluation/controls.py", "--unsup-loss"): ("train-uda",),
    ("evaluation/arms.py", "--unsup-loss"): ("train-uda",),
    ("export/session.py", "--init-from"): TRAIN,
    ("export/graph.py", "--unet"): TRAIN,
    ("init/commands.py", "--count"): ("suggest",),  # the commands that it writes
    ("init/commands.py", "--cross-validate"): ("evaluate",),
    ("init/commands.py", "--export"): ("suggest",),
    ("init/commands.py", "--overlay"): ("predict",),
    ("init/commands.py", "--preset"): ("train-uda",),
    ("init/commands.py", "--run"): ("train-uda",),
    ("init/commands.py", "--split"): ("predict",),
    ("napari_plugin/scribbles.py", "--images"): ("prepare folder",),  # the command that comes after
    ("napari_plugin/scribbles.py", "--masks"): ("prepare folder",),
    ("napari_plugin/scribbles.py", "--out"): ("prepare folder",),
    ("runs/directory.py", "--state"): ("predict", "evaluate", "suggest", "export"),
    ("suggest/export.py", "--classes"): ("prepare folder",),  # its next command
    ("suggest/export.py", "--images"): ("prepare folder",),
    ("suggest/export.py", "--masks"): ("prepare folder",),
    ("suggest/export.py", "--masks-are"): ("prepare folder",),
    ("training/calibrate.py", "--calibrate"): ("evaluate",),
    ("training/calibrate.py", "--cross-validate"): ("evaluate",),
    ("training/calibrate.py", "--unsup-loss"): ("train-uda",),
    ("training/guard.py", "--no-guard"): ("train-uda",),
    ("training/guard.py", "--state"): ("predict", "evaluate"),
    ("training/labels.py", "--crop-around"): ("train-uda",),
    ("training/labels.py", "--labels"): ("train-uda",),
    ("training/labels.py", "--label-images"): ("train-uda",),
    ("training/label_names.py", "--label-images"): ("train-uda",),
    ("training/labels.py", "--map-labels"): ("train-iic",),
    ("training/without_effect.py", "--shift"): ("train-iic",),
    ("training/without_effect.py", "--shift-loss"): ("train-iic",),
    ("training/uda.py", "--val-share"): PREPARE,  # "Prepare it again ..."
}
"""Options of another command than the one that shows the message, which says so."""

NOT_OURS = {"--help", "--version", "--nproc-per-node", "--always", "--dirty", "--abbrev", "--match"}
"""Options of Typer, torchrun and git."""
NO_MESSAGES = {"cli/app.py"}


def literals(tree: ast.AST, owner: str | None = None) -> Iterator[tuple[str | None, str]]:
    """Every string of a module that is no docstring, with the class it stands in."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield owner, node.value
        yield from literals(node, node.name if isinstance(node, ast.ClassDef) and owner is None else owner)


def heirs(model: type[Config]) -> Iterator[str]:
    """The commands of a settings class and of those made from it."""
    if model.command and model.flags and model.command not in OF_NO_COMMAND:
        yield model.command
    for subclass in model.__subclasses__():
        yield from heirs(subclass)


def reached(name: str, owner: str | None) -> tuple[str, ...]:
    module = importlib.import_module(f"bioseg_cli.{name.removesuffix('.py').replace('/', '.')}")
    model = getattr(module, owner, None) if owner else None
    if isinstance(model, type) and issubclass(model, Config):
        return tuple(heirs(model))
    fitting = [start for start in REACHED_BY if name.startswith(start)]
    assert fitting, f"{name} names an option: add to REACHED_BY which commands show its messages"
    return REACHED_BY[max(fitting, key=len)]


ADVICE = sorted(
    {
        (path.relative_to(PACKAGE).as_posix(), owner or "", option)
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).as_posix() not in NO_MESSAGES
        for owner, text in literals(ast.parse(path.read_text()))
        for option in OPTION.findall(text)
        if option not in NOT_OURS
    }
)


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    return commands()


@pytest.mark.parametrize(("name", "owner", "option"), ADVICE)
def test_advice_exists_where_it_is_given(options: dict[str, set[str]], name: str, owner: str, option: str) -> None:
    where = OF_ANOTHER.get((name, option)) or reached(name, owner or None)
    lacking = [command for command in where if option not in options[command]]
    assert not lacking, f"{name} advises {option}, which {lacking} lack"


def test_what_is_advised_of_arrays_are_arguments() -> None:
    arguments = {*inspect.signature(bioseg_cli.prepare_arrays).parameters, *ArraysConfig.model_fields}
    asked = [option for name, _, option in ADVICE if name in ("io/arrays.py", "prepare/recipes/arrays.py")]
    assert len(asked) > 3 and {option[2:].replace("-", "_") for option in asked} <= arguments


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        (PredictConfig, "Use smaller images or a smaller --tile."),
        (TrainUDAConfig, "Use smaller images or a smaller --crop or --batch-size or --width."),
        (FolderConfig, "Use smaller images or a smaller --crop."),  # its --tile is a switch
        (EvaluateConfig, "Use smaller images."),
    ],
)
def test_memory_is_saved_by_what_the_command_has(
    settings: type[Config], advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit), _errors_shown(settings.model_fields, debug=False):
        raise MemoryError
    assert capsys.readouterr().err.splitlines()[-1] == advice


@pytest.mark.slow
def test_evaluate_does_not_advise_the_options_of_predict(tmp_path: Path) -> None:
    model = load_model(save_random_model(tmp_path / "m.safetensors"), torch.device("cpu"))
    precision = resolve_precision("fp32", torch.device("cpu"))
    for any_dtype, advice in ((None, "Give uint16 images."), (False, "or --any-dtype if the numbers mean the same.")):
        predictor = Predictor(model, precision, any_dtype=any_dtype)
        with pytest.raises(DataError) as error:
            predictor.check(1, np.dtype(np.float32))
        assert error.value.fix is not None and error.value.fix.endswith(advice)
        assert ("--tile" in str(predictor.out_of_memory(64, 64, None))) == (any_dtype is not None)


def test_the_search_finds_advice(options: dict[str, set[str]]) -> None:
    assert ("io/axes.py", "", "--planes") in ADVICE and (
        "prepare/recipes/settings.py",
        "FolderConfig",
        "--masks",
    ) in ADVICE
    assert len(ADVICE) > 80 and len(options) == 19
