"""The fuzzed inputs: each is a function of a seed, the name of its reader, and its number."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random

from helpers.fuzzing.containers import within
from helpers.fuzzing.mutations import mutated
from helpers.fuzzing.readers import READERS
from helpers.fuzzing.seeds import Seed
from helpers.fuzzing.texts import mutated_document, mutated_text

_DOCUMENTS = (".json", ".yaml", ".geojson", ".labels", ".zattrs", ".zgroup", ".zarray", ".zmetadata")
_TEXTS = (*_DOCUMENTS, ".csv", ".txt")


@cache
def seeds_of(reader: str) -> Sequence[Seed]:
    """The whole files of a reader; libraries write dates and random identifiers into a few of them."""
    return tuple(READERS[reader].seeds())


def fuzzed(seed: int, reader: str, number: int) -> Seed:
    """An input for a reader: a whole file in which something was changed."""
    dice = Random(f"{seed} {reader} {number}")
    original, foreign = dice.choice(seeds_of(reader)), dice.choice(seeds_of(reader))
    changeable = [name for name in original.files if name not in original.kept]
    files = dict(original.files)
    for name in dice.sample(changeable, min(len(changeable), dice.choice((1, 1, 1, 2)))):
        same = foreign.files.get(name) or dice.choice(list(foreign.files.values()))
        files[name] = changed(dice, name or original.name, files[name], same)
    if len(changeable) > 1 and dice.random() < 0.1:
        del files[dice.choice(changeable)]
    return Seed(original.name, files, original.kept)


def changed(dice: Random, name: str, content: bytes, other: bytes) -> bytes:
    """A file with changes of the kind that its format has."""
    way = dice.random()
    if name.endswith(_TEXTS):
        if way < 0.6 and name.endswith(_DOCUMENTS):
            return mutated_document(dice, content, other)
        return mutated_text(dice, content, other) if way < 0.85 else mutated(dice, content, other)
    packed = within(dice, content, other) if way < 0.5 else None
    return mutated(dice, content, other) if packed is None else packed
