"""The commands of a registry: each is made when it is asked for, so that the modules of no other are imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

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
    """A group of commands, some of which are of a registry."""

    # Typer has Click inside in some releases and beside it in others: its types have no name that fits both.
    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name; None where there is none."""
        command = super().get_command(ctx, cmd_name)
        if isinstance(command, RegisteredCommand) and command.callback is not None:
            command = self.commands[cmd_name] = command.callback()
        return command


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
