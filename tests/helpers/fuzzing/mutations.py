"""Changes to the bytes of a file: bits, pieces, numbers of its header, and pieces of another file of its kind."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from random import Random

Mutation = Callable[[Random, bytes, bytes], bytes]
"""From a source of chance, a file and another one of its kind to a changed file."""

MOST_BYTES = 2**20
"""Of a changed file: small files are read often, and declare as much as large ones."""

_EXTREMES: tuple[int, ...] = (
    0,
    1,
    -1,
    2,
    3,
    127,
    128,
    255,
    256,
    2**15 - 1,
    2**15,
    2**16 - 1,
    2**16,
    2**24,
    2**30,
    2**31 - 1,
    2**31,
)
_EXTREMES += (2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
_SIZES = (1, 2, 4, 8)
_TEXTS = (b"0", b"-1", b"1", b"1e400", b"nan", b"inf", b"2147483648", b"9223372036854775808", b"1" * 400, b"", b"\0")
_DIGITS = re.compile(rb"[0-9]+(?:\.[0-9]+)?")


def mutated(dice: Random, content: bytes, other: bytes) -> bytes:
    """A file after one change or several; `other` is another file of its kind."""
    for _ in range(dice.choice((1, 1, 1, 2, 3, 6))):
        content = dice.choice(MUTATIONS)(dice, content, other)[:MOST_BYTES]
    return content


def _place(dice: Random, content: bytes) -> int:
    """Somewhere in a file: often in its first bytes or its last ones, where formats have their tables."""
    last = max(len(content) - 1, 0)
    end = min(last, 512)
    near = dice.random()
    if near < 0.4:
        return dice.randint(0, end)
    return last - dice.randint(0, end) if near < 0.6 else dice.randint(0, last)


def _length(dice: Random, content: bytes) -> int:
    """Of a piece: mostly a few bytes."""
    return min(int(2 ** dice.uniform(0, 12)), len(content))


def flip_bits(dice: Random, content: bytes, _: bytes) -> bytes:
    changed = bytearray(content)
    for _bit in range(dice.choice((1, 1, 2, 8)) if changed else 0):
        changed[_place(dice, content)] ^= 1 << dice.randrange(8)
    return bytes(changed)


def overwrite(dice: Random, content: bytes, _: bytes) -> bytes:
    """Random bytes, or one byte many times, in place of a piece."""
    place, length = _place(dice, content), _length(dice, content)
    filling = dice.randbytes(length) if dice.random() < 0.5 else bytes([dice.choice((0, 255, 65, 48))]) * length
    return content[:place] + filling + content[place + length :]


def truncate(dice: Random, content: bytes, _: bytes) -> bytes:
    return content[: _place(dice, content)]


def remove(dice: Random, content: bytes, _: bytes) -> bytes:
    place = _place(dice, content)
    return content[:place] + content[place + _length(dice, content) :]


def repeat(dice: Random, content: bytes, _: bytes) -> bytes:
    """A piece, many times over."""
    place, length = _place(dice, content), _length(dice, content)
    times = dice.choice((1, 2, 10, 1000))
    return content[:place] + content[place : place + length] * times + content[place:]


def set_number(dice: Random, content: bytes, _: bytes) -> bytes:
    """An extreme number of 1 to 8 bytes, in either order of bytes, in place of what is there."""
    size = dice.choice(_SIZES)
    place = _place(dice, content)
    if dice.random() < 0.7:
        place -= place % size
    number = dice.choice(_EXTREMES) % (1 << 8 * size)
    packed = number.to_bytes(size, "little" if dice.random() < 0.5 else "big")
    return content[:place] + packed + content[place + size :]


def set_real(dice: Random, content: bytes, _: bytes) -> bytes:
    """A real number that is none, infinite, huge or tiny."""
    packed = struct.pack(
        dice.choice(("<f", ">f", "<d", ">d")), dice.choice((0.0, -1.0, 1e-38, 3e38, float("nan"), float("inf")))
    )
    place = _place(dice, content) // 4 * 4
    return content[:place] + packed + content[place + len(packed) :]


def set_digits(dice: Random, content: bytes, _: bytes) -> bytes:
    """Another number in place of one that is written out."""
    found = list(_DIGITS.finditer(content))
    if not found:
        return content
    number: re.Match[bytes] = dice.choice(found)
    text = dice.choice(_TEXTS)
    if dice.random() < 0.6:  # of the same length, so that all behind it stays in its place
        text = text[: len(number[0])].rjust(len(number[0]), b"9")
    return content[: number.start()] + text + content[number.end() :]


def splice(dice: Random, content: bytes, other: bytes) -> bytes:
    """A piece of the other file in place of one here, at the same place or elsewhere."""
    length, source = _length(dice, other), _place(dice, other)
    place = source if dice.random() < 0.5 else _place(dice, content)
    return content[:place] + other[source : source + length] + content[place + length :]


def cross(dice: Random, content: bytes, other: bytes) -> bytes:
    """The beginning of one file, and the end of the other."""
    return content[: _place(dice, content)] + other[_place(dice, other) :]


MUTATIONS: Sequence[Mutation] = (
    flip_bits, overwrite, truncate, remove, repeat, set_number, set_number, set_number, set_real, set_digits, splice,
    cross,
)  # fmt: skip
