"""bioseg: label-efficient segmentation of microscopy images, as a library and from the command line.

What is named in `__all__` is the library; it is imported when it is first used. docs/python.md shows it at work.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

__all__ = [
    "BestState",
    "BiosegError",
    "CheckResult",
    "DataError",
    "Dataset",
    "EvaluationResult",
    "Interrupted",
    "Model",
    "PartialFailure",
    "PixelSize",
    "Prediction",
    "PreparedDataset",
    "RunError",
    "StudyResult",
    "TrainedRun",
    "TrainingProgress",
    "UsageError",
    "__version__",
    "check",
    "evaluate",
    "load_model",
    "open_dataset",
    "prepare_arrays",
    "prepare_folder",
    "run_study",
    "train_iic",
    "train_uda",
]

_MODULES = {
    "api.checks": ("check",),
    "api.data": ("PreparedDataset", "open_dataset", "prepare_arrays", "prepare_folder"),
    "api.model": ("Model", "Prediction", "load_model"),
    "api.scoring": ("evaluate", "run_study"),
    "api.training": ("BestState", "TrainedRun", "train_iic", "train_uda"),
    "checking.result": ("CheckResult",),
    "dataset.reader": ("Dataset",),
    "errors": ("BiosegError", "DataError", "Interrupted", "PartialFailure", "RunError", "UsageError"),
    "evaluation.result": ("EvaluationResult",),
    "io.pixel_size": ("PixelSize",),
    "study.result": ("StudyResult",),
    "training.watch": ("TrainingProgress",),
}
"""Where each comes from. `__init__.pyi` says the same to type checkers."""


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
