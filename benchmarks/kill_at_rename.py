"""Run bioseg, and send this very process a signal right before or after one of its renames.

`python -m benchmarks.kill_at_rename NUMBER before|after SIGNAL ARGUMENTS...`. Whatever bioseg writes gets its final
name by a rename, so that these are the moments at which its files change. With 0 for NUMBER no signal is sent; the last
line on standard error then says how many renames there were.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from typing import Any

from bioseg_cli.cli.app import main as bioseg


class Renames:
    """Stands for `os.replace`.

    Args:
        number: of the rename that a signal is sent at, from 1.
        moment: before or after the rename.
        sent: the signal.
    """

    def __init__(self, number: int, moment: str, sent: signal.Signals) -> None:
        self.count = 0
        self._number = number
        self._moment = moment
        self._sent = sent
        self._rename = os.replace
        self._lock = threading.Lock()

    def __call__(self, *arguments: Any, **options: Any) -> None:
        """Rename, and count it."""
        with self._lock:
            self.count += 1
            chosen = self.count == self._number
        if chosen and self._moment == "before":
            os.kill(os.getpid(), self._sent)
        self._rename(*arguments, **options)
        if chosen and self._moment == "after":
            os.kill(os.getpid(), self._sent)


def main() -> None:
    number, moment, sent, *arguments = sys.argv[1:]
    renames = Renames(int(number), moment, signal.Signals[sent])
    os.replace = os.rename = renames
    if int(number) == 0:
        atexit.register(lambda: print(renames.count, file=sys.stderr))
    sys.argv[1:] = arguments
    bioseg()


if __name__ == "__main__":
    main()
