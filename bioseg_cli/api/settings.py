"""From arguments to settings, and errors that name arguments where those of the command line name options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from bioseg_cli.config import Config, build_config
from bioseg_cli.errors import BiosegError, UsageError

ConfigT = TypeVar("ConfigT", bound=Config)

_OPTION = re.compile(r"--(?P<name>[a-z][a-z0-9-]*)(?: (?P<number>-?[0-9][0-9.]*(?<!\.))| (?P<axes>[TZCYX]{2,5})\b)?")
_COMMAND = re.compile(r"(`[^`]*`)")


def settings_of(model: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """The settings that arguments give.

    Raises:
        UsageError: an unknown one, one that is missing, or a value out of range.
    """
    try:
        return build_config(model, dict(values))
    except UsageError as error:
        error.fix = "The docstring of the function says which settings there are."
        raise


class ArgumentNames:
    """Calls settings by the names of arguments, in sentences and in the errors of its `with` block.

    `--tile 512` becomes `tile=512`, `--overwrite` becomes `overwrite=True`, and `--resume RUN` `resume='RUN'` where RUN
    is the place of the error. What stands in backticks is a command line, and stays.

    Args:
        model: whose fields are arguments.
        more: names of arguments that are none of its fields.
    """

    def __init__(self, model: type[Config], *more: str) -> None:
        fields = model.model_fields
        self._values = {*fields, *more}
        self._switches = {name for name, field in fields.items() if field.annotation is bool} | {"overwrite"}
        self._off = {f"no_{name}": name for name in self._switches}
        for name, field in fields.items():
            if isinstance(field.json_schema_extra, dict) and "off" in field.json_schema_extra:
                self._off[str(field.json_schema_extra["off"])] = name

    def __call__(self, text: str) -> str:
        """The sentence with the names of arguments."""
        parts = _COMMAND.split(text)
        return "".join(part if part.startswith("`") else _OPTION.sub(self._argument, part) for part in parts)

    def _argument(self, found: re.Match[str]) -> str:
        name, number = found["name"].replace("-", "_"), found["number"]
        if name in self._switches or name in self._off:
            shown = f"{name}=True" if name in self._switches else f"{self._off[name]}=False"
            return shown if number is None else f"{shown} {number}"
        if name not in self._values:
            return found[0]
        return f"{name}={found['axes']!r}" if found["axes"] else f"{name}={number or ''}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, BiosegError):
            error.what = self(error.what)
            if error.fix is not None:
                place = re.compile(rf"--([a-z-]+) {re.escape(error.where or '')}(?=[.,]| |$)")
                fix = error.fix if error.where is None else place.sub(rf"\1={error.where!r}", error.fix)
                error.fix = self(fix)
            error.args = (error.what,)
