"""Files of microscopes: CZI by the library of Zeiss; LIF and ND2 byte by byte, as no published library writes them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DIMENSIONS = {"X": 1, "Y": 2, "Z": 3, "T": 4}
"""Leica's numbers of the axes."""
_MAGIC = 0x0ABECEDA
"""What a chunk of Nikon's begins with."""


def write_czi(path: Path, pixels: NDArray[Any], names: Sequence[str], size: float, compression: str = "") -> Path:
    """Pixels (T, Z, C, Y, X) as a CZI of such a pixel size in micrometres."""
    from pylibCZIrw import czi

    options = {"compression_options": compression} if compression else {}
    with czi.create_czi(str(path), exist_ok=True, **options) as file:
        for time, plane, channel in np.ndindex(pixels.shape[:3]):
            place = {"T": time, "Z": plane, "C": channel}
            file.write(np.ascontiguousarray(pixels[time, plane, channel, ..., None]), plane=place)
        metres = {f"scale_{axis}": size * 1e-6 for axis in "xyz"}
        file.write_metadata(path.stem, channel_names=dict(enumerate(names)), **metres)
    return path


def write_lif(path: Path, images: Mapping[str, NDArray[np.uint16]], colours: Sequence[str], size: float) -> Path:
    """Images (T, Z, C, Y, X) by their names as a LIF: XML in UTF-16, and a memory block for each."""
    elements = [
        f'<Element Name="{name}"><Data><Image><ImageDescription>{_channels(pixels, colours)}{_axes(pixels, size)}'
        f'</ImageDescription></Image></Data><Memory Size="{pixels.nbytes}" MemoryBlockID="MemBlock_{number}"/>'
        "</Element>"
        for number, (name, pixels) in enumerate(images.items())
    ]
    text = (
        '<LMSDataContainerHeader Version="2"><Element Name="project"><Data/><Memory Size="0" MemoryBlockID="none"/>'
        f"<Children>{''.join(elements)}</Children></Element></LMSDataContainerHeader>"
    ).encode("utf-16-le")
    content = struct.pack("<IIBI", 0x70, len(text) + 5, 0x2A, len(text) // 2) + text
    for number, pixels in enumerate(images.values()):
        name = f"MemBlock_{number}".encode("utf-16-le")
        header = struct.pack("<IIBQBI", 0x70, 14 + len(name), 0x2A, pixels.nbytes, 0x2A, len(name) // 2)
        content += header + name + pixels.astype("<u2").tobytes()
    path.write_bytes(content)
    return path


def _channels(pixels: NDArray[np.uint16], colours: Sequence[str]) -> str:
    plane = pixels[0, 0, 0].nbytes
    described = [
        '<ChannelDescription DataType="0" ChannelTag="0" Resolution="16" NameOfMeasuredQuantity="" Min="0" Max="65535" '
        f'Unit="" LUTName="{colour}" IsLUTInverted="0" BytesInc="{number * plane}" BitInc="0"/>'
        for number, colour in enumerate(colours)
    ]
    return f"<Channels>{''.join(described)}</Channels>"


def _axes(pixels: NDArray[np.uint16], size: float) -> str:
    described = []
    for letter, count, step in zip("TZCYX", pixels.shape, pixels.strides, strict=True):
        if letter == "C" or (letter in "TZ" and count == 1):
            continue
        length, unit = ((count - 1) * size * 1e-6, "m") if letter in "XYZ" else (count - 1.0, "s")
        described.append(
            f'<DimensionDescription DimID="{_DIMENSIONS[letter]}" NumberOfElements="{count}" Origin="0" '
            f'Length="{length!r}" Unit="{unit}" BitInc="0" BytesInc="{step}"/>'
        )
    return f"<Dimensions>{''.join(reversed(described))}</Dimensions>"


def write_nd2(path: Path, pixels: NDArray[np.uint16], names: Sequence[str], size: float) -> Path:
    """Pixels (T, Z, C, Y, X) as an ND2 of version 3: named chunks, and a map of them at the end."""
    times, planes, channels, height, width = pixels.shape
    attributes = {
        "uiWidth": width, "uiWidthBytes": width * channels * 2, "uiHeight": height, "uiComp": channels,
        "uiBpcInMemory": 16, "uiBpcSignificant": 16, "uiSequenceCount": times * planes, "eCompression": 2,
    }  # fmt: skip
    described = {
        f"i{number:010d}": {"sDescription": name, "uiCompCount": 1, "uiSampleIndex": number, **_probe(name)}
        for number, name in enumerate(names)
    }
    metadata = {
        "bCalibrated": True, "dCalibration": size, "sPicturePlanes": {"uiCount": channels, "sPlaneNew": described}
    }  # fmt: skip
    chunks = {
        "ImageAttributesLV!": _lite({"SLxImageAttributes": attributes}),
        "ImageMetadataSeqLV|0!": _lite({"SLxPictureMetadata": metadata}),
        "ImageMetadataLV!": _lite({"SLxExperiment": _loops(times, planes)}),
    }
    frames = pixels.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    for number, frame in enumerate(frames):
        stamp = struct.pack("<d", float(number))
        chunks[f"ImageDataSeq|{number}!"] = stamp + frame.astype("<u2").tobytes()
    start = struct.pack("<IIQ32s64s", _MAGIC, 32, 64, b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0")
    content, places = start.ljust(4096, b"\0"), b""
    for name, data in chunks.items():
        places += name.encode() + struct.pack("<QQ", len(content), len(data))
        content += struct.pack("<IIQ", _MAGIC, 4072, len(data)) + name.encode().ljust(4072, b"\0") + data
    end = b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", len(content))
    places += end
    head = struct.pack("<IIQ", _MAGIC, 32, len(places)) + b"ND2 FILEMAP SIGNATURE NAME 0001!"
    path.write_bytes(content + head + places)
    return path


def _probe(name: str) -> dict[str, Any]:
    return {"pFluorescentProbe": {"m_sName": name}}


def _loops(times: int, planes: int) -> dict[str, Any]:
    """Time points, and planes within each of them."""
    stack = {"eType": 4, "uLoopPars": {"uiCount": planes, "dZStep": 1.0}}
    if times == 1:
        return stack if planes > 1 else {"eType": 0}
    times_alone = {"uiCount": times, "dStart": 0.0, "dPeriod": 1.0, "dDuration": 1.0}
    within = {"ppNextLevelEx": {"i0000000000": stack}} if planes > 1 else {}
    return {"eType": 1, "uLoopPars": times_alone, **within}


def _lite(values: Mapping[str, Any]) -> bytes:
    """Nikon's binary form of nested values: a kind, a name in UTF-16, and the value of each."""
    content = b""
    for name, value in values.items():
        label = (name + "\0").encode("utf-16-le")
        if isinstance(value, Mapping):
            inside, start = _lite(value), 2 + len(label) + 12
            content += struct.pack("<BB", 11, len(label) // 2) + label
            content += struct.pack("<IQ", len(value), start + len(inside)) + inside + bytes(8 * len(value))
            continue
        kind, packed = _packed(value)
        content += struct.pack("<BB", kind, len(label) // 2) + label + packed
    return content


def _packed(value: object) -> tuple[int, bytes]:
    if isinstance(value, bool):
        return 1, struct.pack("<B", value)
    if isinstance(value, int):
        return 3, struct.pack("<I", value)
    if isinstance(value, float):
        return 6, struct.pack("<d", value)
    return 8, (str(value) + "\0").encode("utf-16-le")
