"""How large a pixel is, and what a TIFF says of it. Metadata that can't be used cost the size, and never the image."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import tifffile

MICROMETRE = "µm"
SMALLEST, LARGEST = 1e-5, 1e4
"""In micrometres: less than a hundredth of a nanometre, or a centimetre and more, is no pixel of a microscope."""

_METRE = {"am": -18, "fm": -15, "pm": -12, "nm": -9, "µm": -6, "um": -6, "mm": -3, "cm": -2, "dm": -1, "m": 0}
_METRE |= {"dam": 1, "hm": 2, "km": 3, "Mm": 6, "Gm": 9, "Tm": 12, "Å": -10, "A": -10}
_MICROMETRES = {symbol: float(f"1e{power + 6}") for symbol, power in _METRE.items()}
_MICROMETRES |= {"thou": 25.4, "li": 25400 / 12, "in": 25400.0, "pt": 25400 / 72, "ft": 304800.0, "yd": 914400.0}
_MICROMETRES |= {"mi": 1.6e9, "ua": 1.5e17, "ly": 9.5e21, "pc": 3.1e22}
_WORDS = {"angstrom": "Å", "nanometer": "nm", "micron": "µm", "micrometer": "µm", "millimeter": "mm"}
_WORDS |= {"centimeter": "cm", "meter": "m", "kilometer": "km"}
_NO_UNIT = ("", "pixel", "pixels", "px", "inch", "inches", "none", "null", "reference frame")
"""A size in these says nothing of the sample; the inch of ImageJ and of resolution tags is that of screens."""
_TAG_UNITS = {3: "cm", 4: "mm", 5: "µm"}
"""TIFF ResolutionUnit; 1 is none, 2 the inch."""


@dataclass(frozen=True)
class PixelSize:
    """Height and width of a pixel in `unit`: micrometres (`µm`), or the file's own word where it is not metric."""

    y: float
    x: float
    unit: str = MICROMETRE

    def __str__(self) -> str:
        return f"{self.y:.4g} x {self.x:.4g} {self.unit}"

    def times(self, down: float, across: float) -> PixelSize:
        """The size of pixels so many times as high and as wide."""
        return PixelSize(self.y * down, self.x * across, self.unit)

    def differs(self, other: PixelSize, factor: float = 1.001) -> bool:
        """Whether the sizes are in units that can't be compared, or one side is larger by more than a factor."""
        ratios = (self.y / other.y, self.x / other.x)
        return self.unit != other.unit or any(max(ratio, 1 / ratio) > factor for ratio in ratios)

    def to_json(self) -> dict[str, Any]:
        """A mapping that JSON and YAML can hold; `from_json` reads it back."""
        return {"y": self.y, "x": self.x, "unit": self.unit}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(float(content["y"]), float(content["x"]), str(content["unit"]))


class _UnusableError(Exception):
    """What is wrong with a size that a file states."""


def stated_pixel_size(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[PixelSize | None, str | None]:
    """The size of a pixel, from OME, LSM, MetaMorph or ImageJ metadata or resolution tags; and why a stated one is
    not used, which is None where it is, or where the file states none. Resolution tags are those of `page`.

    Micrometres, or the file's own word where it is not metric. Raises nothing.
    """
    try:
        stated = _stated(tif, page)
        return (None if stated is None else _in_one_unit(*stated)), None
    except _UnusableError as problem:
        return None, str(problem)
    except Exception as error:  # metadata are whatever a program made of them
        return None, f"the metadata could not be read ({' '.join(str(error).split())[:80] or type(error).__name__})"


def usable_pixel_size(height: float, unit_y: str, width: float, unit_x: str) -> tuple[PixelSize | None, str | None]:
    """The size of a pixel that is stated in such units, and why it is not used; see `stated_pixel_size`."""
    try:
        return _in_one_unit(_number(height, "its height"), unit_y, _number(width, "its width"), unit_x), None
    except _UnusableError as problem:
        return None, str(problem)


def unusable_sizes(reasons: Iterable[tuple[str, str | None]]) -> list[str]:
    """The remarks on pixel sizes that files state and that can't be used, one for each of their kinds of metadata.

    Args:
        reasons: names of files, and why the sizes in them are not used, None where they are.
    """
    kinds: dict[str, list[tuple[str, str]]] = {}
    for name, reason in reasons:
        if reason is not None:
            kinds.setdefault(re.sub(r"[^A-Za-z ]", "", reason.split(" is ")[0]), []).append((name, reason))
    return [
        f"the pixel size in {name} can't be used: {reason}"
        + (f"; {len(files) - 1} more files are like it" if len(files) > 1 else "")
        for files in kinds.values()
        for name, reason in files[:1]
    ]


def declares_entities(description: str) -> bool:
    """Whether XML brings a document type of its own, as no microscope's does: its entities can fill the memory."""
    return re.search(r"<!\s*(DOCTYPE|ENTITY)", description, re.IGNORECASE) is not None


def _stated(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[float, str, float, str] | None:
    """Height and its unit, width and its unit."""
    first = tif.pages.first  # which is where programs describe the file, and may be a preview of the page
    if "<OME" in first.description:
        return _of_ome(first.description)
    if tif.is_lsm and (lsm := tif.lsm_metadata):
        sizes = [_number(lsm[name], name) for name in ("VoxelSizeY", "VoxelSizeX")]
        return sizes[0], "m", sizes[1], "m"
    if tif.is_stk and (stk := tif.stk_metadata) and stk.get("SpatialCalibration"):
        unit = str(stk["CalibrationUnits"])
        return _number(stk["YCalibration"], "YCalibration"), unit, _number(stk["XCalibration"], "XCalibration"), unit
    if first.is_imagej:
        described = dict(line.partition("=")[::2] for line in first.description.splitlines())
        unit = described.get("unit", "")
        return _of_tags(page, unit, described.get("yunit", unit))
    number = page.tags.valueof("ResolutionUnit")
    unit = _TAG_UNITS.get(number, "") if isinstance(number, int) else ""
    return _of_tags(page, unit, unit)


def _of_ome(text: str) -> tuple[float, str, float, str] | None:
    if declares_entities(text):
        raise _UnusableError("the OME-XML declares entities of its own")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError):
        raise _UnusableError("the OME-XML is damaged") from None
    attributes: Mapping[str, str] = next((e.attrib for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"), {})
    given = [side for side in "YX" if f"PhysicalSize{side}" in attributes]
    if not given:
        return None
    # Where one side is stated, pixels are square.
    sides = [side if side in given else given[0] for side in "YX"]
    (height, unit_y), (width, unit_x) = (
        (_number(attributes[f"PhysicalSize{side}"], f"PhysicalSize{side}"),
         attributes.get(f"PhysicalSize{side}Unit", MICROMETRE))
        for side in sides
    )  # fmt: skip
    return height, unit_y, width, unit_x


def _of_tags(page: tifffile.TiffPage, unit_x: str, unit_y: str) -> tuple[float, str, float, str] | None:
    if _plain(unit_x).lower() in _NO_UNIT:
        return None
    height, width = (_inverse(page.tags.valueof(name), name) for name in ("YResolution", "XResolution"))
    return height, unit_y, width, unit_x


def _inverse(value: Any, name: str) -> float:
    """The size of a pixel, of the rational number of pixels in a unit."""
    if value is None:
        raise _UnusableError(f"there is no {name}")
    numerator, denominator = value if isinstance(value, tuple) else (value, 1)
    return _number(denominator / numerator if numerator else math.nan, name, shown=f"{numerator}/{denominator}")


def _number(value: Any, name: str, shown: str | None = None) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise _UnusableError(f"{name} is {value!r}" if shown is None else f"{name} is {shown}")
    return number


def _in_one_unit(height: float, unit_y: str, width: float, unit_x: str) -> PixelSize | None:
    unit_y, unit_x = _plain(unit_y), _plain(unit_x)
    if unit_y.lower() in _NO_UNIT and unit_x.lower() in _NO_UNIT:
        return None
    factors = [_MICROMETRES.get(unit) for unit in (unit_y, unit_x)]
    if factors[0] is None or factors[1] is None:
        if unit_y != unit_x:
            raise _UnusableError(f"its width is in {unit_x or 'pixels'} and its height in {unit_y or 'pixels'}")
        return PixelSize(height, width, unit_x)
    height, width = height * factors[0], width * factors[1]
    if not all(SMALLEST <= side < LARGEST for side in (height, width)):
        raise _UnusableError(f"{height:g} x {width:g} µm is no size of a pixel under a microscope")
    return PixelSize(height, width, MICROMETRE)


def _plain(unit: str) -> str:
    """The symbol of a unit that is written out, escaped, badly decoded or in another letter case."""
    unit = re.sub(r"\\u00b5", "µ", unit.strip().strip("\0").strip(), flags=re.IGNORECASE)
    unit = unit.replace("\u03bc", "µ").replace("Âµ", "µ").replace("\u212b", "Å")
    if unit in _MICROMETRES:
        return unit if unit != "um" else MICROMETRE
    word = unit.lower()
    if word in _NO_UNIT:
        return word
    word = word.removesuffix("s").replace("metre", "meter")
    word = _WORDS.get(word, word)
    return word if word in _MICROMETRES else unit
