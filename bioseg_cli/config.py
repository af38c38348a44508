"""Configurations: frozen pydantic models, and how they are read from YAML.

The fields of a command's settings (`prepare.settings`, `training.settings`, ...) *are* its flags: `batch_size` is
`--batch-size` and `batch_size:` in YAML, with the field's description as the help text. There is no second list to
keep in step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bioseg_cli.errors import UsageError
from bioseg_cli.io.axes import LETTERS

IGNORE_BY_DTYPE = {"uint8": 255, "uint16": 65535}
"""The label of pixels that count nowhere: no loss, no statistic, no metric."""

DeviceName = Annotated[
    str,
    Field(pattern=r"^(auto|cpu|mps|cuda(:[0-9]+)?)$", json_schema_extra={"metavar": "<auto|cpu|cuda|cuda:N|mps>"}),
]
"""A kind of device, or one GPU of several by its number."""
DEVICE_ABOUT = (
    "Device to compute on: cpu, cuda (the first GPU), cuda:1 (the second GPU) and so on, mps, or auto. auto takes a "
    "GPU where there is one."
)
PrecisionName = Literal["auto", "fp32", "bf16"]
SplitName = Literal["train", "val", "test"]
StateName = Literal["best-supervised", "best-final", "best-miou", "last", "control"]
STATES: tuple[StateName, ...] = ("best-supervised", "best-final", "best-miou", "last", "control")
ViewName = Literal["rotation", "flip", "photometric"]
VIEWS: tuple[ViewName, ...] = ("rotation", "flip", "photometric")
MAGNITUDE_MAX = 30
"""The highest magnitude of a strong operation; an operation of magnitude 0 would change nothing."""


def _split_commas(value: object) -> object:
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list | tuple) and all(isinstance(entry, str) for entry in names):
        return tuple(name.strip() for entry in names for name in entry.split(","))
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_split_commas)]
"""Names, in a flag separated by commas."""


def _axis_letters(given: str) -> str:
    letters = given.upper()
    if len(set(letters)) != len(letters) or not {"Y", "X"} <= set(letters) <= set(LETTERS):
        raise ValueError(
            f"--axes: each of Y and X once, and of T, Z and C what there is, in the order of the file, got {given!r}"
        )
    return letters


AxisLetters = Annotated[str, AfterValidator(_axis_letters)]
"""Axes of a stack, such as CYX."""
AXES_ABOUT = (
    "Axes of TIFF stacks that do not name their axes: one letter per axis, in order: T (time), Z (plane), C (channel), "
    "Y (row), X (column). YXC has its channels last. Each time point and each plane becomes an image."
)
LEVEL_ABOUT = (
    "Level of pyramids to read (whole slides, OME-TIFF, OME-Zarr): 0 is the full resolution, 1 the next smaller one."
)
PLANES_ABOUT = "Take every plane of a TIFF stack with a Z axis as an image of its own."

LARGEST_NUMBER = 2**63
"""Whole numbers are smaller than this one: no library takes more."""
LONGEST_SHOWN = 200
"""Characters of a value that an error shows."""

MaskKind = Literal["binary", "instances", "classes", "colours"]
"""What the values of masks mean: object or not, a number an object, a number a class, a colour a class."""
ALL_DRAWN = "none"
"""What is given where masks have no value for pixels that nobody drew."""
UnlabelledValue = Annotated[str, BeforeValidator(str), Field(pattern=rf"^({ALL_DRAWN}|[0-9]{{1,10}})$")]
"""A value of masks, or `ALL_DRAWN`."""
UNLABELLED_ABOUT = (
    "Value of pixels that nobody drew, in partly labelled masks (scribbles, boxes, single cells). These pixels count "
    "nowhere. none means that every pixel was drawn. By default the labels of LabKit are recognised, and masks in "
    "doubt are refused with a question."
)


class Config(BaseModel):
    """A frozen configuration that refuses unknown keys."""

    # Built when first used: a command uses one of them, and all are loaded for the help.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    command: ClassVar[str] = ""
    """Name of the command it belongs to; a manifest of another command is refused."""
    example: ClassVar[str] = ""
    """Arguments and options of one typical call, which the help shows."""
    flags: ClassVar[bool] = True
    """Whether its fields are flags of the command, or keys of a file alone."""

    several_processes: ClassVar[bool] = False
    """Whether the command can share its work out among processes that `torchrun` starts."""

    replaces: ClassVar[Mapping[str, frozenset[str]]] = {}
    """Of settings that stand for each other, by the name of one: those of a file that it takes the place of."""

    panels: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """How the help groups the options: fields by the title of their panel, those first that are used most."""

    def to_line(self) -> str:
        """A line of JSON; names of files that are not UTF-8 keep their bytes, for which pydantic's own has no form."""
        return json.dumps(self.model_dump(mode="json"))


class ClassInfo(Config):
    """One class of a segmentation: its name and its display colour (red, green, blue; 0..255)."""

    name: str
    colour: tuple[int, int, int]


BORDER_HEAD = "border"


class UNetConfig(Config):
    """Architecture of the U-Net; see `model.unet`."""

    in_channels: int = Field(ge=1)
    heads: dict[str, int]
    """Output channels by head name: `main`, for IIC `aux`, and `BORDER_HEAD` where borders of objects were learnt."""
    width: int = Field(default=64, ge=1)
    depth: int = Field(default=4, ge=1, le=16)
    norm: Literal["batch", "instance", "group", "none"] = "batch"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    variant: Literal["same", "original"] = "same"


ConfigT = TypeVar("ConfigT", bound=Config)


def build_config(model: type[ConfigT], values: dict[str, Any], *, source: Path | None = None) -> ConfigT:
    """Validate `values` as `model`; every problem is named with its flag.

    Raises:
        UsageError: an unknown key, a missing one, or a value out of range.
    """
    for name, value in values.items():
        if isinstance(value, int) and abs(value) >= LARGEST_NUMBER:
            raise UsageError(f"{_shown(name, model)}: the number has more than 64 bits", where=source)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UsageError(
            "; ".join(_describe(problem, model) for problem in error.errors()),
            where=source,
            fix=f"`bioseg {model.command} --help` lists the options."
            if model.flags
            else f"docs/{model.command}.md lists the keys.",
        ) from None
    except UnicodeEncodeError:  # Pydantic looks some texts up as UTF-8
        problem = "A value holds half a character (a lone surrogate)"
        raise UsageError(problem, where=source, fix="Write it anew.") from None


def read_config(path: Path, model: type[ConfigT]) -> dict[str, Any]:
    """Read the values a YAML file, or the manifest of an earlier run, gives for `model`.

    A manifest is recognised by its `config` and `command` keys, so that a run can be repeated from its own record.

    Raises:
        UsageError: no such file, not YAML, not a mapping, an unknown key, or a manifest of another command.
    """
    if not path.exists():
        fix = "Check the path. `bioseg examples` writes the files that the documentation names under examples/."
        raise UsageError("There is no such file", where=path, fix=fix)
    values = read_yaml(path)
    if "command" in values and "config" in values:
        if values["command"] != model.command:
            raise UsageError(
                f"The manifest is of `bioseg {values['command']}`", where=path, fix=f"It can't drive {model.command}."
            )
        values = values["config"]
        if not isinstance(values, dict):
            raise UsageError("The manifest is damaged: its config is not a mapping", where=path)
    unknown = sorted(set(values) - set(model.model_fields))
    if unknown:
        raise UsageError(
            f"Unknown key{'s' if len(unknown) > 1 else ''} {', '.join(map(repr, unknown))}",
            where=path,
            fix=f"Known keys: {', '.join(sorted(model.model_fields))}.",
        )
    return values


def overlaid(stored: Mapping[str, Any], given: Mapping[str, Any], model: type[Config]) -> dict[str, Any]:
    """The values of a file, and those given beside it: they win, also over those that they take the place of."""
    replaced = {name for key in given for name in model.replaces.get(key, ())} - given.keys()
    return {**{name: value for name, value in stored.items() if name not in replaced}, **given}


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping with string keys.

    Raises:
        UsageError: no such file, not YAML, not a mapping, or what `yaml_text` refuses.
    """
    from bioseg_cli.io.yaml_text import parse_yaml  # most commands read none

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The file could not be read ({error})", where=path) from None
    try:
        content = parse_yaml(text)
    except ValueError as error:
        raise UsageError(f"The file is not valid YAML ({error})", where=path) from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError("The file is not a YAML mapping of names to values", where=path)
    return content


def flag_of(field: str) -> str:
    """The command-line flag of a configuration field: `batch_size` is `--batch-size`."""
    return "--" + field.replace("_", "-")


def _describe(problem: Any, model: type[Config]) -> str:
    location, message = problem["loc"], problem["msg"]
    if problem["type"] == "extra_forbidden":
        return f"Unknown key {location[-1]!r} (known: {', '.join(sorted(model.model_fields))})"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    if problem["type"] == "missing":
        return f"{_shown(location[0], model)} is needed"
    if problem["type"] == "string_pattern_mismatch" and (about := model.model_fields[str(location[0])].description):
        # A regular expression tells a user little; the help says in words which forms there are.
        return f"{_shown(location[0], model)}: {_shortened(problem['input'])} does not fit ({about.rstrip('.')})"
    return f"{_shown(location[0], model)}: {message[0].lower()}{message[1:]}, got {_shortened(problem['input'])}"


def _shortened(value: object) -> str:
    """A value as Python writes it, or the beginning of it."""
    shown = repr(value)
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."


def _shown(field: str | int, model: type[Config]) -> str:
    """A field as the command line calls it: `--ratio`, or `INPUTS` for a positional argument; or as a key."""
    name = str(field)
    if not model.flags:
        return name
    info = model.model_fields.get(name)
    extra = info.json_schema_extra if info is not None else None
    positional = isinstance(extra, dict) and extra.get("argument") is True
    return name.upper() if positional else flag_of(name)
