"""Results of a study that never ran, and the page of its report."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from bioseg_cli.evaluation.document import Intervals, ScoreRecord
from bioseg_cli.report.findings import Findings
from bioseg_cli.report.session import make_page
from bioseg_cli.runs.console import ConsoleOutput
from bioseg_cli.study.grid import Budget
from bioseg_cli.study.results import RunResult, ScoreRow, StudyResults

STATES = ("best-supervised", "best-final")
BUDGETS = {"10 %": 10, "25 %": 25, "50 %": 50}
VOID = {"br", "col", "img", "meta"}


def score_row(
    name: str, mean: float, state: str | None, head: str | None = None, mapping: str | None = None
) -> ScoreRow:
    images = {f"image{number}": mean + 0.01 * (number - 3) for number in range(7)}
    score = ScoreRecord(mean_iou=mean, images=7, intervals=Intervals(mean_iou=(mean - 0.02, mean + 0.02)))
    return ScoreRow(name=name, state=state, head=head, mapping=mapping, score=score, images=images)


def study(
    means: Callable[[str, str, int, str], float],
    *,
    data: Sequence[str] = ("FluoHoechst",),
    losses: Sequence[str] = ("kl", "iid"),
    budgets: Mapping[str, int] = BUDGETS,
    repeats: Sequence[tuple[int, int]] = ((0, 0), (1, 1), (2, 2)),
    noise: float = 0.004,
    iic: bool = True,
    folder: Path = Path("/nowhere"),
) -> StudyResults:
    """A finished study whose runs scatter around `means(data, loss, labels, state)`."""
    runs = []
    for place, name in enumerate(data):
        for draw, seed in repeats:
            random = np.random.default_rng([place, draw, seed])
            cells = [(loss, title, count) for title, count in budgets.items() for loss in ("none", *losses)]
            for loss, title, count in [*cells, ("none", "all", 100)]:
                shift = noise * random.standard_normal()
                run = f"{name}-{loss}-{title}-draw{draw}-seed{seed}"
                rows = tuple(score_row(run, means(name, loss, count, state) + shift, state) for state in STATES)
                budget, which = Budget(count, title), 0 if title == "all" else draw
                runs.append(
                    RunResult(run, folder / run, name, loss, budget, which, seed, "0" * 64, "finished", rows=rows)
                )
            if iic:
                run = f"{name}-iic-seed{seed}"
                rows = tuple(
                    score_row(run, 0.4 + 0.1 * (head == "aux") + 0.02 * (mapping == "oracle")
                              + noise * random.standard_normal(), "best-final", head, mapping)
                    for head in ("main", "aux")
                    for mapping in ("stored", "oracle")
                )  # fmt: skip
                runs.append(RunResult(run, folder / run, name, "iic", None, 0, seed, "1" * 64, "finished", rows=rows))
    baselines = {
        name: (score_row("otsu", 0.87, None), score_row("kmeans", 0.86, None), score_row("all-background", 0.43, None))
        for name in data
    }
    files = {name: {"uda": folder / f"{name}.h5", "iic": folder / f"{name}.h5"} for name in data}
    return StudyResults("a study", "test", files, tuple(runs), baselines, {"states": list(STATES)})


def kl_wins(data: str, loss: str, labels: int, state: str) -> float:
    gain = {"kl": 0.02, "iid": -0.03}.get(loss, 0.0)
    return 0.90 + 0.0002 * labels + gain - 0.002 * (state == "best-final" and loss != "none")


def page_of(results: StudyResults) -> str:
    return make_page(Findings(results), ConsoleOutput(quiet=True))[0]


def as_shown(text: str) -> str:
    """With one space for white space, as a browser shows it; a no-break space is none."""
    return re.sub(r"[ \n]+", " ", text).strip(" \n")


class Page(HTMLParser):
    """A page as a browser sees it; refuses tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.words = ""
        self.feed(text)
        assert self.open == []
        self.words = as_shown(self.words)
        self.tables = [[list(map(as_shown, row)) for row in table] for table in self.tables]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open or "svg" in self.open:
            return
        self.words += data
        if {"th", "td"} & set(self.open):
            self.tables[-1][-1][-1] += f" {data}"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def plots(self) -> list[dict[str, str | None]]:
        """Drawings but for the squares of a key."""
        return [attributes for attributes in self.all("svg") if attributes.get("role") == "img"]
