"""The help of a command: its options in panels, each with its name on a line and below it what it does.

In a table of columns a narrow terminal would cut names short and break words; here it takes more lines instead.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

from bioseg_cli.runs.console import PlainConsole

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDEST = 100
"""Columns after which lines are hard to follow."""
SHARED_PANEL = "Shared by all commands"
ARGUMENTS_PANEL, OPTIONS_PANEL = "Arguments", "Options"


class OrderedGroup(TyperGroup):
    """Commands in the order of the work: that to begin with and those that make a data set come first."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands; Typer puts groups of commands behind all others."""
        first = ("init", "prepare")
        return sorted(super().list_commands(ctx), key=lambda name: first.index(name) if name in first else len(first))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help. Where its reader has gone, Rich would exit with 1: `bioseg --help | head` is no failure."""
        with contextlib.suppress(SystemExit):
            super().format_help(ctx, formatter)


class PanelledCommand(TyperCommand):
    """A command that prints its help in panels, in the order of its parameters."""

    # Typer has Click inside in some releases and beside it in others: its types have no name that fits both.
    def get_help_option(self, ctx: Any) -> Any:
        """The option `--help`, which all commands share."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.rich_help_panel = SHARED_PANEL
        return option

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print usage, purpose and panels, as wide as the terminal."""
        console = PlainConsole(sys.stdout)
        console.width = min(console.width, WIDEST)
        console.print(f"{self.get_usage(ctx)}\n\n{self.help or ''}\n")
        panels: dict[str, list[Any]] = {}
        for parameter in self.get_params(ctx):
            argument = parameter.param_type_name == "argument"
            title = getattr(parameter, "rich_help_panel", None) or (ARGUMENTS_PANEL if argument else OPTIONS_PANEL)
            panels.setdefault(title, []).append(parameter)
        for title, parameters in panels.items():
            console.print(_panel(title, parameters))
        if self.epilog:
            console.print(f"\n{self.epilog}", markup=False, highlight=False)


def _panel(title: str, parameters: list[Any]) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.text import Text

    lines: list[RenderableType] = []
    for parameter in parameters:
        lines.append(Text.assemble((_names(parameter), "bold cyan"), " ", (_value(parameter), "yellow")))
        lines.append(Padding(Text(getattr(parameter, "help", None) or ""), (0, 0, 0, 4)))
    return Panel(Group(*lines), title=title, title_align="left", border_style="dim")


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    return " / ".join(
        ", ".join(sorted(names, key=len)) for names in (parameter.opts, parameter.secondary_opts) if names
    )


def _value(parameter: Any) -> str:
    """What an option takes; empty for a switch, and for an argument, whose name stands for its value."""
    return "" if parameter.param_type_name == "argument" else parameter.metavar or ""
