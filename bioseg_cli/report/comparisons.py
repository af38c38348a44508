"""What a difference to the supervised control says, and what its tests could say."""

from __future__ import annotations

from bioseg_cli.report import words
from bioseg_cli.report.findings import Findings
from bioseg_cli.study.cells import Cell
from bioseg_cli.study.statistics import Comparison

BETTER, WORSE = "better than the control", "worse than the control"
UNCLEAR, UNTOLD = "no clear difference", "cannot be told"


def reading(comparison: Comparison) -> str:
    """What a difference to the control says."""
    if comparison.clear is None:
        return UNTOLD
    if not comparison.clear:
        return UNCLEAR
    return BETTER if comparison.difference.mean > 0 else WORSE


def compared(findings: Findings) -> dict[str, list[Cell]]:
    """By data set, the cells that have a difference to their control."""
    by_data = {
        data: [cell for cell in findings.cells if cell.data == data and cell.control is not None]
        for data in findings.results.data
    }
    return {data: cells for data, cells in by_data.items() if cells}


def pairs_of(comparison: Comparison) -> tuple[str, str | None]:
    """What the pairs of a difference are, and what has none; to stand beside their number."""
    draws = comparison.difference.unit == "label draw"
    unit = "pairs of label draws, the seeds of a draw averaged" if draws else "pairs of seeds"
    if not comparison.unpaired:
        return unit, None
    runs = words.counted(comparison.unpaired, "run")
    return unit, f"left out, as the other method has no run of the repeat: {runs}"


def tests_of(cell: Cell, comparison: Comparison) -> list[str]:
    """P of the t test, the same after Holm's correction, and of the signed-rank test with the smallest there can be."""
    t, wilcoxon = comparison.t, comparison.wilcoxon
    smallest = least_wilcoxon(len(comparison.difference.units))
    return [
        words.DASH if t is None else words.probability(t.p_value),
        words.DASH if cell.p_corrected is None else words.probability(cell.p_corrected),
        words.DASH if wilcoxon is None else f"{wilcoxon.p_value:.3g} (≥ {smallest:.3g})",
    ]


def why_untested(comparison: Comparison) -> str | None:
    """Why several pairs have no test; None where they have, or where there is one pair."""
    untested = comparison.t is None and len(comparison.difference.units) > 1
    return "no test: all differences are equal" if untested else None


def least_wilcoxon(pairs: int) -> float:
    """The smallest p value that the exact two-sided signed-rank test can have with so many pairs."""
    return min(1.0, 2.0 ** (1 - pairs))
