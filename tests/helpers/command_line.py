"""The commands and their options."""

from __future__ import annotations

import re

import typer

from bioseg_cli.cli.app import app

OPTION = re.compile(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*(?![\w-])")


def commands() -> dict[str, set[str]]:
    """The options of every command, by its name."""
    found: dict[str, set[str]] = {}

    def walk(command: object, name: str) -> None:
        for inner in getattr(command, "commands", {}):
            walk(command.get_command(None, inner), f"{name} {inner}".strip())  # type: ignore[attr-defined]
        if not hasattr(command, "commands"):
            parameters = command.params  # type: ignore[attr-defined]
            found[name] = {flag for parameter in parameters for flag in (*parameter.opts, *parameter.secondary_opts)}

    walk(typer.main.get_command(app), "")
    return found
