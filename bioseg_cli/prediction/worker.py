"""The process that does a part of a prediction: `python -m bioseg_cli.prediction.worker`; see `compute.process`."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from bioseg_cli.compute.process import answer
from bioseg_cli.errors import OutputError
from bioseg_cli.prediction.local import LocalPrediction
from bioseg_cli.prediction.part import WANTED, Part
from bioseg_cli.prediction.sources import file_sources
from bioseg_cli.runs.console import ConsoleOutput


def perform(job: bytes) -> dict[str, Any]:
    """Predict the files of a part; the answer has keys of `part.PartEnd`.

    Raises:
        BiosegError: not one of them can be predicted.
    """
    part = Part.model_validate(json.loads(job))
    config = part.config
    wanted = config.out.parent / WANTED
    threading.Thread(target=_stop_without, args=(wanted,), daemon=True).start()
    output = ConsoleOutput(quiet=True)
    local = LocalPrediction(config.run, config, output, part.rules, processes=part.processes)
    try:
        local.predict(file_sources(config.inputs, config.stacks, part.names))
    except OutputError as error:
        return {"unwritable": [error.what, error.fix]}
    return {"outcome": local.outcome.model_dump(mode="json")}


def _stop_without(wanted: Path) -> None:
    while wanted.exists():
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    answer(perform)
