"""Colours of what is right, missed, added, confused and not counted."""

from __future__ import annotations

from bioseg_cli.figures.difference import DIFFERENCE_COLOURS, DIFFERENCE_NAMES, IGNORED
from bioseg_cli.figures.palette import IGNORED_COLOUR, PALETTE


def test_every_kind_of_difference_has_a_name_and_a_colour_of_its_own() -> None:
    colours = [tuple(colour) for colour in DIFFERENCE_COLOURS.tolist()]
    assert len(colours) == len(set(colours)) == len(DIFFERENCE_NAMES) + 1
    assert colours[IGNORED] == IGNORED_COLOUR and not set(colours) & set(PALETTE)
