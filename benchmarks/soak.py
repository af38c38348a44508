"""Kill commands, repeat them until they end, and compare what they wrote with that of commands nobody killed.

`python -m benchmarks.soak [--kills 200] [--seed 0] [--command train-uda]`. Kills are SIGKILL and SIGTERM, at random
moments and right before and after renames, in turn; half of the SIGKILLs at random moments hit all that a command has
started. After each kill every file under its final name must be whole. After the last repeat all files must be equal to
those of the command that nobody killed, and no temporary one may be left.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from benchmarks.forked import POLL_SECONDS, AtRename, Forked, import_commands
from benchmarks.soak_commands import COMMANDS, Arguments, Killed, Material
from benchmarks.soak_content import content, contents, differences, hidden
from benchmarks.timing import printer, table_of

PATIENCE = 300
"""Seconds after which a command is taken to hang."""
AGAIN = 0.5
"""How likely it is that a repeat is killed as well."""
ENDINGS = (0, 130, -signal.SIGTERM, -signal.SIGKILL)
"""Exit codes after a signal: 0 where the work was done already, and that of SIGTERM where nothing had begun."""


@dataclass(frozen=True)
class Way:
    """A way to kill: a signal, at a random moment or at a rename."""

    sent: signal.Signals
    moment: Literal["any time", "before", "after"]

    def __str__(self) -> str:
        return f"{self.sent.name} {self.moment}"


MOMENTS: tuple[Literal["any time", "before", "after"], ...] = ("any time", "before", "after")
WAYS = tuple(Way(sent, moment) for moment in MOMENTS for sent in (signal.SIGKILL, signal.SIGTERM))


class Fault(Exception):
    """A kill did harm."""


class Soak:
    """Kills of one command.

    Args:
        command: that is killed.
        folder: for its results.
        dice: of the moments.
    """

    def __init__(self, command: Killed, folder: Path, dice: random.Random) -> None:
        self.command = command
        self.ways = itertools.cycle(WAYS)
        self._folder = folder
        self._said = folder.with_suffix(".txt")
        self._dice = dice
        self._begin()
        process = Forked(command.begin(folder), self._said)
        begun = self._wait_for_owner(process)
        said = self._ended(process)
        self._seconds = time.monotonic() - begun
        self._renames = int(said.splitlines()[-1])
        self._whole = contents(folder)

    def round(self, ways: Sequence[Way]) -> list[Way]:
        """Kill the command in these ways, one attempt after the other; returns those that met it alive.

        Raises:
            Fault: a file was not whole, or the results differ.
        """
        self._begin()
        arguments = self.command.begin(self._folder)
        met = []
        for way in ways:
            if not self._killed(arguments, way):
                break
            met.append(way)
            self._check_whole()
            arguments = self.command.repeat(self._folder)
        else:
            repeat = Forked(arguments, self._said)
            said = self._ended(repeat)
            if repeat.code:
                raise Fault(f"the repeat exited with {repeat.code}:\n{said}")
        if found := differences(self._whole, contents(self._folder)):
            raise Fault(f"these files differ: {', '.join(found)}")
        return met

    def _begin(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        if self.command.earlier is None:
            self._folder.mkdir()
        else:
            shutil.copytree(self.command.earlier, self._folder)

    def _killed(self, arguments: Arguments, way: Way) -> bool:
        """Kill an attempt; False where it had ended before."""
        if way.moment == "any time":
            process = Forked(arguments, self._said)
            self._wait_for_owner(process)
            time.sleep(self._dice.uniform(0, self._seconds))
            send(process, way.sent, to_all=self._dice.random() < 0.5)
        else:
            process = Forked(
                arguments, self._said, AtRename(self._dice.randint(1, self._renames), way.moment, way.sent)
            )
        self._ended(process)
        return process.code != 0

    def _wait_for_owner(self, process: Forked) -> float:
        """Wait until a process writes, or has ended; returns when that was."""
        owner = f'"process": {process.pid},'
        while process.poll() is None:
            with contextlib.suppress(OSError):
                if any(owner in path.read_text() for path in self._folder.rglob(".*.owner")):
                    break
            time.sleep(POLL_SECONDS)
        return time.monotonic()

    def _ended(self, process: Forked) -> str:
        """Wait for the end; returns what was said."""
        try:
            said = process.wait(PATIENCE)
        except TimeoutError as error:
            raise Fault(str(error)) from None
        if process.code not in ENDINGS or "Traceback" in said:
            raise Fault(f"it exited with {process.code}:\n{said}")
        return said

    def _check_whole(self) -> None:
        for path in self._folder.rglob("*"):
            if hidden(path, self._folder) or not path.is_file():
                continue
            try:
                content(path, self._folder)
            except FileNotFoundError:
                pass  # what a command has started goes on for a moment
            except Exception as error:
                raise Fault(f"{path.relative_to(self._folder)} is not whole: {error}") from error


def send(process: Forked, number: signal.Signals, *, to_all: bool) -> None:
    """Send a signal to a process; SIGKILL, where it is wanted, to all that it started as well."""
    started = []
    with contextlib.suppress(psutil.NoSuchProcess):
        started = psutil.Process(process.pid).children(recursive=True)
    process.send(number)
    for child in started if to_all and number == signal.SIGKILL else ():
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def soak(soaks: Sequence[Soak], kills: int, dice: random.Random) -> tuple[Counter[tuple[str, Way]], int]:
    """Kill the commands in turn; returns how often each met its end in which way, and the number of faults."""
    counted: Counter[tuple[str, Way]] = Counter()
    faults = 0
    for each in itertools.cycle(soaks):
        left = kills - counted.total()
        if left <= 0:
            break
        ways = [next(each.ways)]
        while len(ways) < left and dice.random() < AGAIN:
            ways.append(next(each.ways))
        try:
            met = each.round(ways)
            outcome = "equal"
        except Fault as fault:
            met, outcome = ways, f"FAULT: {fault}"
            faults += 1
        counted.update((each.command.name, way) for way in met)
        if met:
            print(f"{counted.total()} {each.command.name}: {', '.join(map(str, met))}: {outcome}", flush=True)
    return counted, faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--command", choices=[command.name for command in COMMANDS], help="kill this one alone")
    options = parser.parse_args()
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        material = Material(folder)
        import_commands()
        chosen = [command for command in COMMANDS if options.command in (None, command.name)]
        soaks = [Soak(command(material), folder / "results", dice) for command in chosen]
        counted, faults = soak(soaks, options.kills, dice)
    table = table_of("Kills", "", *map(str, WAYS))
    for command in chosen:
        table.add_row(command.name, *(str(counted[command.name, way]) for way in WAYS))
    printer().print(table)
    print(f"{counted.total()} kills, {faults} faults")
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
