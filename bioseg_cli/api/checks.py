"""What is wrong or unusual in data sets, runs and folders of images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioseg_cli.api.settings import ArgumentNames, settings_of
from bioseg_cli.checking import session
from bioseg_cli.checking.result import CheckResult
from bioseg_cli.checking.settings import CheckConfig
from bioseg_cli.runs.logged import LoggedOutput

AnyPath = str | os.PathLike[str]


def check(paths: AnyPath | Sequence[AnyPath], **settings: Any) -> CheckResult:
    """Read everything in data sets, runs and folders of images, and compare it (`bioseg check`).

    What is wrong is not raised: see `CheckResult.harmful`.

    Args:
        paths: data sets, run directories, and folders of images or of data sets and runs.
        settings: those of `bioseg check`: `axes`, `planes`.

    Raises:
        UsageError: a file that is no data set, or settings that do not fit.
        DataError: a path does not exist, or a folder holds nothing to check.
    """
    given = (paths,) if isinstance(paths, str | os.PathLike) else paths
    with ArgumentNames(CheckConfig):
        config = settings_of(CheckConfig, {"paths": tuple(map(Path, given)), **settings})
        return session.run(config, LoggedOutput())
