"""Commands that are made when they are asked for, so that the modules of no other are imported."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand

from bioseg_cli.cli.binding import bind
from bioseg_cli.cli.help import OrderedGroup
from bioseg_cli.config import Config
from bioseg_cli.errors import BiosegError
from bioseg_cli.registry import Registry
from bioseg_cli.runs.console import ConsoleOutput

SettingsT = TypeVar("SettingsT", bound=Config)


class RegisteredCommand(TyperCommand):
    """Stands for a command until it is asked for; its callback makes that command."""


class RegisteredCommands(OrderedGroup):
    """A group of commands, which are made when they are asked for."""

    _listed = False

    # Typer has Click inside in some releases and beside it in others: its types have no name that fits both.
    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name; None where there is none."""
        command = super().get_command(ctx, cmd_name)
        if isinstance(command, RegisteredCommand) and command.callback is not None:
            if self._listed and command.help:
                return command
            command = self.commands[cmd_name] = command.callback()
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, for which a command that says what it does is not made."""
        self._listed = True
        super().format_help(ctx, formatter)
        self._listed = False


def bind_on_use(app: typer.Typer, name: str, about: str) -> None:
    """Register the function of that name of the module of that name in `cli.commands`; its settings are its `config`.

    Args:
        app: its group is `RegisteredCommands`.
        name: of the command, its function and its module.
        about: what the command does.
    """

    def make() -> Any:
        function = getattr(importlib.import_module(f"bioseg_cli.cli.commands.{name}"), name)
        alone = typer.Typer(add_completion=False)
        bind(alone, get_type_hints(function)["config"], function, name=name, about=about)
        return typer.main.get_command(alone)

    app.command(name, cls=RegisteredCommand, help=about)(make)


def bind_registry(
    app: typer.Typer,
    registry: Registry[SettingsT],
    function: Callable[[SettingsT, ConsoleOutput, bool], None],
    *,
    prefix: str = "",
) -> None:
    """Register a command for every name in the registry; the docstring of its settings is the help.

    Args:
        app: its group is `RegisteredCommands`.
        registry: settings classes by name.
        function: what every command does.
        prefix: what is before the name in that of the command.
    """
    for name in registry.names:
        app.command(prefix + name, cls=RegisteredCommand)(_maker(registry, name, prefix + name, function))


def _maker(
    registry: Registry[SettingsT], name: str, command: str, function: Callable[[SettingsT, ConsoleOutput, bool], None]
) -> Callable[[], Any]:
    def make() -> Any:
        alone = typer.Typer(add_completion=False)
        try:
            model = registry.load(name)
        except BiosegError as error:
            # The help lists it with the others, which go on working.
            bind(alone, Config, _refusal(error), name=command, about=error.what)
        else:
            bind(alone, model, function, name=command, about=model.__doc__)
        return typer.main.get_command(alone)

    return make


def _refusal(error: BiosegError) -> Callable[[Config, ConsoleOutput, bool], None]:
    def refuse(config: Config, output: ConsoleOutput, overwrite: bool) -> None:
        raise error

    return refuse
