"""What reading did to files of which the user should know, said once for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_NAMED = 3


def reading_notes(notes: Mapping[str, Sequence[str]], what: str) -> list[str]:
    """A sentence for each different note, with how many files it is about and the names of the first.

    Args:
        notes: of every file, by its name; most have none.
        what: the files are, in the plural.
    """
    sentences = []
    for note in dict.fromkeys(note for some in notes.values() for note in some):
        names = [name for name, some in notes.items() if note in some]
        more = ", ..." if len(names) > _NAMED else ""
        sentences.append(f"{len(names)} of {len(notes)} {what}: {note} ({', '.join(names[:_NAMED])}{more})")
    return sentences
