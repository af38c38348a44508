"""A hook of MkDocs: the reference pages, made from the commands, the settings classes and the docstrings themselves."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer
from mkdocs.structure.files import File

# All that the pages are made of comes in here.
import bioseg_cli
from bioseg_cli.cli.app import app
from bioseg_cli.study.settings import Plan

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

COMMAND_LINE = ("commands", "cli")
"""Packages that only bind settings to the command line: the page of the commands says what they do."""


def on_config(config: MkDocsConfig) -> None:
    """Append the pages of the packages to the section "Reference" of the navigation."""
    section = next(entry["Reference"] for entry in config.nav or () if "Reference" in entry)
    section.append({"Python packages": [{name: f"reference/{name}.md"} for name in packages()]})


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages under `reference/`."""
    pages = {"commands": commands_page(), "plan": plan_page(), **{name: package_page(name) for name in packages()}}
    for name, content in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def commands_page() -> str:
    """Every command with its options, as its `--help` groups them."""
    lines = [
        "# Commands and options",
        "Every option is also a key of the YAML file that `--config` takes: `--batch-size` is `batch_size:` there, and "
        "an option on the command line wins. This page is made from what `bioseg COMMAND --help` prints.",
    ]
    for name, command in subcommands(typer.main.get_command(app)):
        lines += [f"## bioseg {name}", command.help or "", f"```text\n{usage(name, command)}\n```"]
        for panel, parameters in panels(command).items():
            lines += [f"**{panel}**", table(("", "takes", "what it does"), map(row, parameters))]
    return "\n\n".join(lines) + "\n"


def subcommands(command: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """The full name of each command that does something, and the command."""
    if not hasattr(command, "commands"):
        yield above, command
    for name in getattr(command, "commands", {}):
        yield from subcommands(command.get_command(None, name), f"{above} {name}".strip())


def usage(name: str, command: Any) -> str:
    """How the command is called."""
    arguments = [parameter.metavar for parameter in command.params if parameter.param_type_name == "argument"]
    return " ".join(["bioseg", name, *arguments, "[OPTIONS]"])


def panels(command: Any) -> dict[str, list[Any]]:
    """The parameters by the title of their panel of the help, in its order."""
    found: dict[str, list[Any]] = {}
    for parameter in command.params:
        argument = parameter.param_type_name == "argument"
        title = getattr(parameter, "rich_help_panel", None) or ("Arguments" if argument else "Options")
        found.setdefault(title, []).append(parameter)
    return found


def row(parameter: Any) -> tuple[str, str, str]:
    """A parameter's names, what it takes, and its help."""
    if parameter.param_type_name == "argument":
        return code(parameter.metavar), "", cell(parameter.help)
    names = [*parameter.opts, *parameter.secondary_opts]
    return " ".join(map(code, names)), code(parameter.metavar), cell(parameter.help)


def plan_page() -> str:
    """The keys of the file that `bioseg study` carries out."""
    fields = Plan.model_fields.items()
    rows = (
        (code(key), "" if field.is_required() else code(field.default), cell(field.description))
        for key, field in fields
    )
    about = "The keys of the YAML file that `bioseg study` takes. [The guide](../study.md) explains them."
    return "\n\n".join(["# Plan of a study", about, table(("key", "default", "what it is"), rows)]) + "\n"


def packages() -> list[str]:
    """The packages whose functions and classes are documented."""
    found = pkgutil.iter_modules(bioseg_cli.__path__)
    return [module.name for module in found if module.ispkg and module.name not in COMMAND_LINE]


def package_page(name: str) -> str:
    """The public functions and classes of a package, from their docstrings."""
    about = "Names of functions may change between versions until 1.0; those of commands, options and files do not."
    return f"# bioseg_cli.{name}\n\n{about}\n\n::: bioseg_cli.{name}\n    options:\n      show_root_heading: false\n"


def table(head: tuple[str, str, str], rows: Any) -> str:
    """A table of Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ("---",) * len(head), *rows))


def code(value: object) -> str:
    """A value set as code, in which a bar ends no cell, and nothing for none."""
    return "" if value in (None, (), {}) else f"`{value}`"


def cell(value: object) -> str:
    """Text that does not end the cell of a table."""
    return str(value).replace("|", "\\|").replace("\n", " ")
