"""Settings to command: the fields of a settings class become the arguments, options and help of a Typer command.

Shared by every command: `--config`, `--json`, `--quiet`, `--overwrite`, `--debug`, how values given in YAML and as
flags are merged, and how errors are shown.
"""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, TypeVar, Union, get_args, get_origin

import typer
from typer.models import ArgumentInfo

from bioseg_cli.cli.help import SHARED_PANEL, PanelledCommand
from bioseg_cli.compute.memory import is_out_of_memory, refuse_small_address_space
from bioseg_cli.compute.signals import ended_by_signals
from bioseg_cli.compute.torchrun import tell_launcher, this_launch
from bioseg_cli.config import Config, build_config, flag_of, overlaid, read_config
from bioseg_cli.errors import BiosegError, DataError, Interrupted, RunError, UsageError
from bioseg_cli.runs.console import ConsoleOutput, error_console

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

ConfigT = TypeVar("ConfigT", bound=Config)
POSITIONAL_SUFFIX = "_argument"

SHARED: dict[str, tuple[Any, Any]] = {
    "config": (Optional[Path], typer.Option(None, metavar="<path>", help="YAML with the same names as the flags, or the manifest of a run; flags win.")),  # noqa: E501, UP045
    "json": (bool, typer.Option(False, "--json", help="Print one JSON document on standard output, and nothing else there.")),  # noqa: E501
    "quiet": (bool, typer.Option(False, "--quiet", help="No progress and no remarks.")),
    "overwrite": (bool, typer.Option(False, "--overwrite", help="Replace what an earlier command wrote.")),
    "debug": (bool, typer.Option(False, "--debug", help="Show the traceback of an error.")),
}  # fmt: skip


def bind(
    app: typer.Typer,
    model: type[ConfigT],
    function: Callable[[ConfigT, ConsoleOutput, bool], None],
    *,
    name: str,
    about: str | None = None,
) -> None:
    """Register `function` as the command `name`: its docstring is the help, the fields of `model` are its options.

    A field marked `json_schema_extra={"argument": True}` is positional; one marked `"also"` is both, positional and
    an option, and may be given either way. A switch marked `json_schema_extra={"off": NAME}` is turned off by `--NAME`
    and not by `--no-...`. The help groups the options by `model.panels` and ends with `model.example`; `about` is the
    help of a function that several commands share. Only the command of a model with `several_processes` may be started
    by `torchrun` as several.
    """
    fields = model.model_fields

    def command(**values: Any) -> None:
        shared = {key: values.pop(key) for key in SHARED}
        output = ConsoleOutput(as_json=shared["json"], quiet=shared["quiet"])
        with _errors_shown(fields, debug=shared["debug"]), ended_by_signals():
            refuse_small_address_space()
            _check_working_folder()
            if this_launch().count > 1 and not model.several_processes:
                raise UsageError(f"torchrun is for train-uda, not for {name}", fix=f"Start `bioseg {name}` without it.")
            given = _given(values, fields)
            stored = {} if shared["config"] is None else read_config(shared["config"], model)
            config = build_config(model, overlaid(stored, given, model), source=shared["config"])
            _refuse_rivals(given, model)
            function(config, output, shared["overwrite"])

    panels = {key: panel for panel, keys in model.panels.items() for key in keys}
    parameters = [
        parameter
        for key in sorted(fields, key=lambda key: list(panels).index(key) if key in panels else len(panels))
        for parameter in _parameters(key, fields[key], panels.get(key))
    ]
    parameters.sort(key=lambda parameter: not isinstance(parameter.default, ArgumentInfo))
    for key, (kind, option) in SHARED.items():
        option.rich_help_panel = SHARED_PANEL
        parameters.append(inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = about or function.__doc__
    example = f"Example: bioseg {model.command} {model.example}" if model.example else None
    app.command(name, cls=PanelledCommand, epilog=example)(command)


def _parameters(key: str, field: FieldInfo, panel: str | None) -> list[inspect.Parameter]:
    """The Typer parameters of one field. All default to None, so that a flag given can win over YAML."""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    role = extra.get("argument", False)
    kind: Any = field.annotation
    if get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis:
        kind = list[get_args(kind)[0]]  # type: ignore[misc]
    kind = Optional[kind]  # noqa: UP045 - a value, not an annotation
    about = field.description or ""
    if not field.is_required() and field.default not in (None, ()):
        sides = (extra["off"], key) if "off" in extra else ("off", "on")
        default = sides[field.default] if isinstance(field.default, bool) else field.default
        default = ",".join(map(str, default)) if isinstance(default, tuple) else default
        about = f"{about} Default: {default}."
    parameters = []
    if role:
        name = key + POSITIONAL_SUFFIX if role == "also" else key
        argument = typer.Argument(None, metavar=key.upper(), help=about)
        parameters.append((name, argument))
    if role is not True:
        flag = flag_of(key)
        off = flag_of(str(extra.get("off", f"no_{key}")))
        names = f"{flag}/{off}" if field.annotation is bool else flag
        metavar = str(extra["metavar"]) if "metavar" in extra else _metavar(field.annotation)
        parameters.append((key, typer.Option(None, names, metavar=metavar, help=about, rich_help_panel=panel)))
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, default in parameters
    ]


def _metavar(kind: Any) -> str | None:
    """What the help says an option takes: <int>, <kl|iid>, or of names several, <str,str,...>; None for a switch."""
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        (kind,) = (member for member in get_args(kind) if member is not NoneType)
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return f"<{'|'.join(map(str, get_args(kind)))}>"
    if get_origin(kind) is tuple:
        kind = get_args(kind)[0]
        return "<str,str,...>" if kind is str else _metavar(kind)
    return None if kind is bool else f"<{kind.__name__.lower()}>"


def _given(values: dict[str, Any], fields: dict[str, FieldInfo]) -> dict[str, Any]:
    given = {key: value for key, value in values.items() if value not in (None, [])}
    for key in [key for key in given if key.endswith(POSITIONAL_SUFFIX) and key not in fields]:
        name = key.removesuffix(POSITIONAL_SUFFIX)
        if name in given:
            raise UsageError(f"{name.upper()} was given twice, as an argument and as {flag_of(name)}")
        given[name] = given.pop(key)
    return given


def _refuse_rivals(given: Mapping[str, Any], model: type[Config]) -> None:
    """Raise `UsageError` where options were given of which one takes the place of the other."""
    for name in given:
        if rivals := sorted(model.replaces.get(name, frozenset()) & given.keys()):
            raise UsageError(f"give {flag_of(name)} or {flag_of(rivals[0])}, not both", fix="Leave one of them out.")


_MEMORY = ("crop", "tile", "batch_size", "width")
"""Settings that take less memory where they are smaller."""


class _errors_shown:  # noqa: N801 - reads as a statement
    """Turn what went wrong into two or three lines on standard error and an exit code.

    Args:
        fields: of the command's settings, some of which save memory.
        debug: show the traceback too.
    """

    def __init__(self, fields: dict[str, FieldInfo], *, debug: bool) -> None:
        savers = [key for key in _MEMORY if key in fields and fields[key].annotation is not bool]
        self.smaller = " or ".join(map(flag_of, savers))
        self.debug = debug

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, typer.Exit | SystemExit):
            return
        if self.debug:
            error_console().print("".join(traceback.format_exception(error)))
        shown: BiosegError
        if isinstance(error, BiosegError):
            shown = error
        elif isinstance(error, KeyboardInterrupt):
            shown = Interrupted("Stopped", fix="Nothing half-written was left.")
        elif is_out_of_memory(error):
            shown = RunError(
                "Memory ran out", fix=f"Use smaller images{self.smaller and f' or a smaller {self.smaller}'}."
            )
        elif isinstance(error, OSError) and error.filename is not None:
            shown = DataError(
                f"The system refuses: {error.strerror}", where=os.fsdecode(error.filename), fix="Check the path."
            )
        else:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            shown = RunError(
                f"Unexpected {reason}", fix="This is a fault in bioseg: run again with --debug to see where."
            )
        show_error(shown)
        tell_launcher(shown)
        raise typer.Exit(shown.exit_code) from None


def _check_working_folder() -> None:
    try:
        Path.cwd()
    except OSError:
        fix = "Change to a folder that exists (cd), and repeat."
        raise DataError("The working folder is gone", fix=fix) from None


def show_error(error: BiosegError) -> None:
    """Print an error: what happened, where, what to do."""
    console = error_console()
    console.print("Error: ", style="bold red", end="")
    console.print(str(error))
