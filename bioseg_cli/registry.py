"""A registry: what can be chosen by name, each a class that is imported when it is asked for.

There are two, `prepare.registry` for data sets and `training.registry` for methods. An installed package adds to
them by its entry points, as `CONTRIBUTING.md` says; a name that bioseg has itself stays bioseg's.
"""

from __future__ import annotations

import importlib
from functools import cached_property
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from bioseg_cli.config import Config
from bioseg_cli.errors import UsageError

SettingsT = TypeVar("SettingsT", bound=Config)


class Registry(Generic[SettingsT]):
    """Settings classes by name; each says in its `command` by which command of bioseg it is used.

    Args:
        base: what each is a subclass of.
        prefix: what its command has before the name.
        group: entry points of installed packages that are in the registry too.
        own: those of bioseg, as "module:Class".
    """

    def __init__(self, base: type[SettingsT], prefix: str, group: str, own: dict[str, str]) -> None:
        self.base = base
        self.prefix = prefix
        self.group = group
        self.own = own

    @cached_property
    def _installed(self) -> dict[str, str]:
        return {point.name: point.value for point in entry_points(group=self.group)}

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, bioseg's own first; none of their modules is imported."""
        return tuple({**self.own, **self._installed})

    def load(self, name: str) -> type[SettingsT]:
        """The settings class of a name.

        Raises:
            UsageError: nothing has that name, or what has it cannot be imported or is no such class.
        """
        reference = self.own.get(name) or self._installed.get(name)
        command = self.prefix + name
        if reference is None:
            raise UsageError(
                f"There is no `bioseg {command}`",
                fix=f"There are {', '.join(self.names)}; a package that adds another has to be installed.",
            )
        module, _, attribute = reference.partition(":")
        try:
            model = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"`bioseg {command}` cannot be loaded ({error})",
                where=reference,
                fix="Install the package that adds it again, or remove it.",
            ) from error
        if not (isinstance(model, type) and issubclass(model, self.base) and model.command == command):
            raise UsageError(
                f"`bioseg {command}` has no settings: they are a subclass of {self.base.__name__} with the command "
                f"{command!r}",
                where=reference,
                fix="Mend the package that adds it; CONTRIBUTING.md has the steps.",
            )
        return model

    def of_command(self, command: str) -> type[SettingsT]:
        """The settings class of a command, as manifests name it; raises as `load` does."""
        return self.load(command.removeprefix(self.prefix))
