"""A section of a record: what it holds is written as it came.

The keys stay in their order, none is written that was not given, and those of other versions of bioseg stay too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)


class Section(BaseModel):
    """Values by key, of which those are written that were given."""

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)

    _given: dict[str, None] = PrivateAttr(default_factory=dict)
    """The keys that were given, in their order."""

    @model_validator(mode="wrap")
    @classmethod
    def _keep_order(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        made = handler(values)
        if isinstance(values, Mapping):
            made._given = dict.fromkeys(values)
        return made

    @model_serializer(mode="wrap")
    def _in_order(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content = serialise(self)
        return {name: content[name] for name in self._given}

    def given(self) -> dict[str, Any]:
        """The values that were given, by key and in their order."""
        return {name: getattr(self, name) for name in self._given}

    def having(self, **values: Any) -> Self:
        """A section that has these values too, or instead; raises pydantic's `ValidationError`."""
        return type(self).model_validate({**self.given(), **values})


def problems_of(error: ValidationError) -> str:
    """Each key with what is wrong of it, such as `labels.count: field required`."""
    said = []
    for problem in error.errors():
        message = problem["msg"]
        said.append(f"{'.'.join(map(str, problem['loc']))}: {message[0].lower()}{message[1:]}")
    return "; ".join(said)
