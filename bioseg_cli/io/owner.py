"""Who writes to a place: a process of a machine, and whether it is known to have ended."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import shlex
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter

from bioseg_cli.io.files import write_text
from bioseg_cli.printable import printable

_LONGEST_COMMAND = 120
_POSIX = os.name == "posix"


@dataclass(frozen=True)
class Owner:
    """A process that writes to a place.

    Attributes:
        token: of this ownership, unlike any other; empty where its file cannot be read.
        host: name of the machine.
        machine: what tells the machine, since its last start, and the process numbers on it apart from others.
        process: its number.
        began: what tells the process apart from a later one of the same number; empty where nothing does.
        command: that was given.
        since: when it began to write.
    """

    token: str
    host: str
    machine: str
    process: int
    began: str
    command: str
    since: str

    @classmethod
    def this_process(cls) -> Self:
        """A new ownership of this process."""
        return cls(
            token=secrets.token_hex(8),
            host=platform.node(),
            machine=_this_machine(),
            process=os.getpid(),
            began=_began(os.getpid()) or "",
            command=_this_command(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    @property
    def here(self) -> bool:
        """Whether it is, or was, a process that this one can look for."""
        return self.machine == _this_machine() and _POSIX

    @property
    def gone(self) -> bool:
        """Whether it is known to have ended."""
        return self.here and (began := _began(self.process)) != self.began and began != ""

    @classmethod
    def read(cls, path: Path) -> Owner | None:
        """The owner that a file names; None without a file."""
        try:
            return _OWNER.validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return _UNKNOWN

    def write(self, path: Path) -> None:
        """Write the file that names it."""
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} ({self.command}), since {self.since}"


_OWNER = TypeAdapter(Owner)
_UNKNOWN = Owner("", "a machine", "", 0, "", "its file cannot be read", "an unknown time")


def _this_machine() -> str:
    """The host, its last start, and its set of process numbers, of which a container has one of its own."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _this_command() -> str:
    program = Path(sys.argv[0])
    # `python -m bioseg_cli` has the path of a module there.
    name = program.parent.name if program.name == "__main__.py" else program.name
    words = printable(shlex.join([name, *sys.argv[1:]]))
    return words if len(words) <= _LONGEST_COMMAND else f"{words[:_LONGEST_COMMAND]}..."


def _began(process: int) -> str | None:
    """When a process of this machine began; empty where the system does not say, None where there is none."""
    if not _POSIX:  # the signal 0 is Ctrl-C on Windows
        return ""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass  # another user's
    try:
        # The name of the program stands in brackets, and may hold anything.
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return None if state == "Z" else fields[18]
