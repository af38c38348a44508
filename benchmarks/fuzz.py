"""Read thousands of damaged and hostile files by every reader that bioseg has, and count what none of its errors says.

`python -m benchmarks.fuzz [--inputs 20000] [--seed 0] [--reader NAME ...] [--keep FOLDER]`. Each input is a whole file
in which something was changed: bits, pieces, numbers of the header, values of JSON and YAML, or what a container holds.
It is read in a process of its own. A fault is an exception that is none of `bioseg_cli.errors`, a process that dies,
more than 10 s, or more than 2 GiB of address space above what the process had before. Faults are kept in the folder:
the input, and what was said. The same seed makes the same inputs, but for dates and identifiers in a few files.
Linux alone, as it asks the system for the memory of the process.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table

from benchmarks.timing import printer, table_of

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # whose sample files are changed here

from helpers.fuzzing.inputs import fuzzed
from helpers.fuzzing.readers import READERS, prepare, read
from helpers.fuzzing.seeds import Seed, written_to
from helpers.fuzzing.worker import Outcome, Worker

MIB = 2**20
LINES_SECONDS = 60.0


@dataclass
class Tally:
    """What became of the inputs of a reader."""

    kinds: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    largest: int = 0

    def add(self, outcome: Outcome) -> None:
        self.kinds[outcome.kind] += 1
        self.slowest = max(self.slowest, outcome.seconds)
        self.largest = max(self.largest, outcome.grown)


def counts_of(inputs: int, names: list[str]) -> dict[str, int]:
    """How many inputs each reader has, by its share."""
    shares = {name: READERS[name].share for name in names}
    whole = sum(shares.values())
    counts = {name: inputs * share // whole for name, share in shares.items()}
    for name in names[: inputs - sum(counts.values())]:
        counts[name] += 1
    return counts


def campaign(seed: int, counts: Mapping[str, int], keep: Path) -> dict[str, Tally]:
    """Read all inputs; a reader after the other."""
    tallies = {name: Tally() for name in counts}
    told = time.monotonic()
    with Worker(read, prepare) as worker:
        for reader, number in ((name, number) for name, count in counts.items() for number in range(count)):
            outcome, given = outcome_of(worker, seed, reader, number)
            tallies[reader].add(outcome)
            if outcome.kind == "fault":
                where = kept(keep, f"{reader} {seed} {number}", given, outcome)
                print(f"{reader} {number}: {headline(outcome.said)} ({where})", flush=True)
            if time.monotonic() - told > LINES_SECONDS:
                told = time.monotonic()
                print(f"{reader}: {number + 1} of {counts[reader]}", flush=True)
    return tallies


def outcome_of(worker: Worker, seed: int, reader: str, number: int) -> tuple[Outcome, Seed]:
    given = fuzzed(seed, reader, number)
    with tempfile.TemporaryDirectory() as folder:
        return worker.outcome(reader, written_to(Path(folder), given)), given


def kept(folder: Path, name: str, given: Seed, outcome: Outcome) -> Path:
    """The folder in which an input and what was said of it are stored."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    written_to(place, given)
    (place / "fault.txt").write_text(outcome.said, encoding="utf-8", errors="backslashreplace")
    return place


def headline(said: str) -> str:
    """The error of a traceback, or how the process ended."""
    lines = said.strip().splitlines()
    if not said.startswith("Traceback"):
        return lines[0]
    return next(line for line in reversed(lines) if not line.startswith(" "))[:160]


def rows_of(tallies: Mapping[str, Tally]) -> Iterator[tuple[str, ...]]:
    total = Tally()
    for name, tally in tallies.items():
        yield row_of(name, tally)
        total.kinds += tally.kinds
        total.slowest, total.largest = max(total.slowest, tally.slowest), max(total.largest, tally.largest)
    yield row_of("all", total)


def row_of(name: str, tally: Tally) -> tuple[str, ...]:
    counts = [tally.kinds.total(), *(tally.kinds[kind] for kind in ("read", "refused", "fault"))]
    return name, *(f"{count:,}" for count in counts), f"{tally.slowest:.2f}", f"{tally.largest / MIB:,.0f}"


def shown(tallies: Mapping[str, Tally]) -> Table:
    table = table_of("Fuzzed inputs", "reader", "inputs", "read", "refused", "faults", "slowest, s", "largest, MiB")
    for row in rows_of(tallies):
        table.add_row(*row)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", nargs="+", choices=list(READERS), default=list(READERS), metavar="NAME",
                        help=f"of {', '.join(READERS)}")  # fmt: skip
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder for inputs that made a fault")
    options = parser.parse_args()
    tallies = campaign(options.seed, counts_of(options.inputs, options.reader), options.keep)
    printer().print(shown(tallies))
    raise SystemExit(any(tally.kinds["fault"] for tally in tallies.values()))


if __name__ == "__main__":
    main()
