"""The page: the templates filled in, with style and pictures inside, under a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from itertools import count
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bioseg_cli import __version__
from bioseg_cli.dataset.area import with_share
from bioseg_cli.figures.difference import DIFFERENCE_COLOURS, DIFFERENCE_NAMES
from bioseg_cli.report import comparisons, provenance, tables, words
from bioseg_cli.report.findings import Findings
from bioseg_cli.report.paper import PIPELINES, SOURCE
from bioseg_cli.report.plots import draw_plots
from bioseg_cli.report.records import RunRecord
from bioseg_cli.report.strips import Album
from bioseg_cli.report.summary import sentences
from bioseg_cli.runs.output import clock
from bioseg_cli.study.grid import CONTROL
from bioseg_cli.study.statistics import SINGLE

SECTIONS = {
    "accuracy": "Accuracy with few labels",
    "control": "Difference to the supervised control",
    "reversals": "More labels, lower scores",
    "unlabelled": "Without labels",
    "pictures": "Predictions",
    "training": "Learning curves",
    "calibration": "As sure as right",
    "runs": "Runs, settings and machines",
    "reading": "How to read the figures",
}
"""The sections of the page with their headings; each has a template of its name."""


def render(title: str, about: str, findings: Findings, records: Sequence[RunRecord], album: Album) -> str:
    """The page as HTML.

    Args:
        title: heading.
        about: the line below it.
        findings: of the results.
        records: what each run says of itself.
        album: pictures.
    """
    templates = _templates(findings=findings, records=records, album=album, plots=draw_plots(findings, records))
    filled = [
        (identity, heading, Markup(templates.get_template(f"{identity}.html").render()))
        for identity, heading in SECTIONS.items()
    ]
    style = files("bioseg_cli.report").joinpath("templates", "page.css").read_text("utf-8")
    return templates.get_template("page.html").render(
        title=title,
        about=about,
        sections=[section for section in filled if section[-1].strip()],
        style=Markup(style),
        policy=policy(style),
        version=__version__,
    )


def policy(style: str) -> str:
    """The Content-Security-Policy of the page: its own stylesheet, by its hash, its pictures, and nothing else.

    No script runs and nothing is loaded, whatever a name on the page holds. An attribute `style` counts for nothing
    either: colours are in classes, or in attributes of drawings.
    """
    digest = _base64(hashlib.sha256(style.encode()).digest())
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


def _templates(**content: Any) -> Environment:
    """The templates, which see the content and what they write it with."""
    templates = Environment(
        loader=PackageLoader("bioseg_cli.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "base64": _base64,
        "hexadecimal": _hexadecimal,
        "capitalised": words.capitalised,
        "unbroken": words.unbroken,
    }
    numbers = {"Table": count(1), "Figure": count(1)}
    templates.globals |= {
        "next_number": lambda kind: next(numbers[kind]),
        "comparisons": comparisons,
        "provenance": provenance,
        "tables": tables,
        "words": words,
        "sentences": sentences,
        "clock": clock,
        "with_share": with_share,
        "differences": list(zip(DIFFERENCE_NAMES, DIFFERENCE_COLOURS[1:].tolist(), strict=True)),
        "CONTROL": CONTROL,
        "PIPELINES": PIPELINES,
        "SINGLE": SINGLE,
        "SOURCE": SOURCE,
        **content,
    }
    return templates


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _hexadecimal(colour: Sequence[int]) -> str:
    return bytes(colour).hex()
