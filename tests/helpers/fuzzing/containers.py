"""Changes within files whose bytes are packed or have checksums: what is inside is changed, and packed rightly again.

A random change of a packed file is found by its checksum. These changes reach what reads the content.
"""

from __future__ import annotations

import gzip
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from random import Random
from typing import Any

import h5py
import numpy as np
import tifffile
from helpers.fuzzing.mutations import MOST_BYTES, mutated
from helpers.fuzzing.texts import mutated_document

_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*")
_COMPRESSIONS = tuple(int(code) for code in tifffile.COMPRESSION)
_TAGS: tuple[int, ...] = (
    254,
    256,
    257,
    258,
    259,
    262,
    266,
    269,
    270,
    273,
    274,
    277,
    278,
    279,
    284,
    317,
    320,
    322,
    323,
    324,
    325,
    330,
)
_TAGS += (338, 339, 347, 512, 513, 530, 33550, 33628, 34412, 37724, 42113, 50838, 50839, 65420)
_NUMBERS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 32, 64, 255, 256, 32773, 65535, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
_TYPES = ("u1", "i2", "u2", "<f4", ">f8", "u8", "c8", "S3", "bool")

Change = Callable[[Random, bytes, bytes], bytes]


def within(dice: Random, content: bytes, other: bytes) -> bytes | None:
    """A file with a change inside of it; None where the format has no inside that is known here.

    Args:
        dice: source of chance.
        content: of the file.
        other: another file of its kind.
    """
    change = next((change for starts, change in _CHANGES if content.startswith(starts)), None)
    if change is None:
        change = _safetensors if content[8:9] == b"{" and len(content) < MOST_BYTES else None
    if change is None:
        return None
    try:
        return change(dice, content, other)
    except (OSError, EOFError, ValueError, LookupError, RuntimeError, TypeError, struct.error, zipfile.BadZipFile,
            zlib.error):  # fmt: skip
        return mutated(dice, content, other)  # what the change would not make of this file, damaged or not


def _png(dice: Random, content: bytes, other: bytes) -> bytes:
    """Another chunk, with its checksum; pixels are changed before they are compressed."""
    chunks = _chunks(content)
    place = dice.randrange(len(chunks))
    kind, data = chunks[place]
    if kind == b"IDAT" and dice.random() < 0.5:
        data = zlib.compress(mutated(dice, zlib.decompress(data), other))
    else:
        data = mutated(dice, data, dice.choice(_chunks(other) or chunks)[1])
    chunks[place] = kind, data
    if dice.random() < 0.2:
        chunks.insert(place, dice.choice(chunks))
    packed = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
              for kind, data in chunks]  # fmt: skip
    return _PNG + b"".join(packed)


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], len(_PNG)
    while place + 8 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        found.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += size + 12
    return found


def _gzip(dice: Random, content: bytes, other: bytes) -> bytes:
    foreign = gzip.decompress(other) if other.startswith(b"\x1f\x8b") else other
    return gzip.compress(mutated(dice, gzip.decompress(content), foreign), 1, mtime=0)


def _zip(dice: Random, content: bytes, _: bytes) -> bytes:
    """Other bytes or another name of an entry."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    place = dice.randrange(len(entries))
    name, data = entries[place]
    if dice.random() < 0.15:
        name = dice.choice(("../" + name, "/" + name, "a" * 300 + name, name + "/", "", "__MACOSX/" + name, "é.roi"))
    else:
        data = mutated(dice, data, dice.choice(entries)[1])
    entries[place] = name, data
    out = BytesIO()
    with zipfile.ZipFile(out, "w", dice.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


def _tiff(dice: Random, content: bytes, _: bytes) -> bytes:
    """Another code, type, count or value of a tag of the first page."""
    order = "<" if content[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", content, 4)
    (count,) = struct.unpack_from(order + "H", content, start)
    changed = bytearray(content)
    for _change in range(dice.choice((1, 1, 2, 3))):
        tag = start + 2 + 12 * dice.randrange(count)
        (code,) = struct.unpack_from(order + "H", changed, tag)
        way = dice.random()
        if way < 0.15:
            struct.pack_into(order + "H", changed, tag, dice.choice(_TAGS))
        elif way < 0.3:
            struct.pack_into(order + "H", changed, tag + 2, dice.randint(0, 20))
        elif way < 0.45:
            struct.pack_into(order + "I", changed, tag + 4, dice.choice(_NUMBERS))
        elif code == 259:
            struct.pack_into(order + "H", changed, tag + 8, dice.choice(_COMPRESSIONS))
        else:
            struct.pack_into(order + dice.choice("HI"), changed, tag + 8, dice.choice(_NUMBERS[:17]))
    return bytes(changed)


def _hdf5(dice: Random, content: bytes, _: bytes) -> bytes:
    """Another attribute, or an array of another type, shape or values, by the library itself."""
    stream = BytesIO(content)
    with h5py.File(stream, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        holder = file if dice.random() < 0.3 else file[dice.choice(names)]
        if len(holder.attrs) and dice.random() < 0.7:
            _change_attribute(dice, holder.attrs)
        elif isinstance(holder, h5py.Dataset):
            _change_array(dice, file, holder)
    return stream.getvalue()


def _change_attribute(dice: Random, attributes: Any) -> None:
    name = dice.choice(sorted(attributes))
    value = attributes[name]
    if dice.random() < 0.2:
        del attributes[name]
    elif isinstance(value, str) and dice.random() < 0.7:
        attributes[name] = mutated_document(dice, value.encode(), value.encode()).decode("utf-8", "replace")
    else:
        values = (0, -1, 2**62, np.nan, "a", "", [1, 2, 3], np.zeros((2, 2)), np.bytes_(b"\xff"), h5py.Empty("f"))
        attributes[name] = dice.choice(values)


def _change_array(dice: Random, file: h5py.File, array: h5py.Dataset) -> None:
    name, way = array.name, dice.random()
    if way < 0.25 and array.shape and array.dtype.kind in "iuf":
        values = array[()]
        values.flat[dice.randrange(values.size)] = dice.choice((0, 1, 2, 255))
        array[()] = values
        return
    shape = tuple(dice.choice((size, 0, 1, size + 1, 2**20)) for size in array.shape) or ((), (3,))[dice.randrange(2)]
    kind = array.dtype if dice.random() < 0.5 else np.dtype(dice.choice(_TYPES))
    del file[name]
    if way > 0.4:
        # In pieces that are not there until they are written, an array takes no place whatever its shape.
        chunks = tuple(max(1, min(size, 64)) for size in shape) if shape else None
        file.create_dataset(name, shape, kind, chunks=chunks)


def _safetensors(dice: Random, content: bytes, other: bytes) -> bytes:
    """Another header, or a text within its metadata."""
    size = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    texts = header.get("__metadata__", {})
    if texts and dice.random() < 0.7:
        name = dice.choice(sorted(texts))
        texts[name] = mutated_document(dice, texts[name].encode(), texts[name].encode()).decode()
        packed = json.dumps(header).encode()
    else:
        packed = mutated_document(dice, json.dumps(header).encode(), b"{}")
    return len(packed).to_bytes(8, "little") + packed + data


_CHANGES: tuple[tuple[bytes | tuple[bytes, ...], Change], ...] = (
    (_PNG, _png),
    (b"\x1f\x8b", _gzip),
    (b"PK\x03\x04", _zip),
    (_TIFF, _tiff),
    (b"\x89HDF", _hdf5),
)
"""By how a file begins."""
