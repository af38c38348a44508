"""Fuzzed files: every reader reads or refuses them, by an error that names the file, in a moment and in little memory.

`python -m benchmarks.fuzz` reads thousands of them.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
from helpers.fuzzing.inputs import fuzzed, seeds_of
from helpers.fuzzing.misbehaviour import misbehave
from helpers.fuzzing.readers import READERS, prepare, read
from helpers.fuzzing.seeds import written_to
from helpers.fuzzing.worker import Worker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is asked of Linux"),
]

SEED = 20
INPUTS = 20
"""For each reader."""
WHOLE = 16
"""Files of each reader that are read as they are."""


@pytest.fixture(scope="module")
def worker():
    with Worker(read, prepare) as started:
        yield started


@pytest.mark.parametrize("reader", READERS)
def test_fuzzed_inputs_are_read_or_refused(worker: Worker, reader: str, tmp_path: Path):
    outcomes = Counter[str]()
    for number in range(INPUTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        outcome = worker.outcome(reader, written_to(folder, fuzzed(SEED, reader, number)))
        outcomes[outcome.kind] += 1
        assert outcome.kind != "fault", f"input {number}: {outcome.said}"
    assert outcomes["refused"]


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_reads_whole_files(worker: Worker, reader: str, tmp_path: Path):
    """Fuzzed files say nothing of a reader that refuses all."""
    seeds, refused = seeds_of(reader), []
    seeds = seeds[:: max(1, len(seeds) // WHOLE)]
    for number, seed in enumerate(seeds):
        folder = tmp_path / str(number)
        folder.mkdir()
        if worker.outcome(reader, written_to(folder, seed)).kind != "read":
            refused.append(seed.name)
    assert len(refused) <= len(seeds) // 4, refused


def test_an_input_is_a_function_of_its_number():
    first, again, other = (fuzzed(SEED, "settings", number) for number in (3, 3, 4))
    assert first == again != other


@pytest.fixture(scope="module")
def watched():
    """A worker that reads by a reader which misbehaves."""
    with Worker(misbehave, most_seconds=1, most_bytes=2**30) as started:
        yield started


@pytest.mark.parametrize(
    ("what", "kind", "said"),
    [
        ("hang", "fault", "took more than 1 s"),
        ("die", "fault", "Segmentation fault"),
        ("fill", "fault", "MemoryError"),
        ("slip", "fault", "ZeroDivisionError"),
        ("refuse", "refused", "The file is refused"),
        ("go on", "read", ""),
    ],
)
def test_the_worker_tells_faults_from_refusals(watched: Worker, what: str, kind: str, said: str, tmp_path: Path):
    path = tmp_path / "file"
    path.write_text(what)
    outcome = watched.outcome("any", path)
    assert (outcome.kind, said in outcome.said) == (kind, True), outcome
    path.write_text("go on")
    assert watched.outcome("any", path).kind == "read"
