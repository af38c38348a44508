"""Settings that depend on the images and the machine: what `--preset best` leaves open, and updates for `--minutes`.

They are fixed before the training begins and stand in its manifest, so that repeating it repeats them.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
import torch

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.runs.sections import TimeBudget
from bioseg_cli.training.grey_levels import accuracy_lost
from bioseg_cli.training.initial import Start
from bioseg_cli.training.labels import asked_for
from bioseg_cli.training.settings import TrainConfig
from bioseg_cli.training.uda_settings import TrainUDAConfig

ConfigT = TypeVar("ConfigT", bound=TrainConfig)

MEASURED_MASKS = 10
"""Labelled images that the size of the objects and the meaning of grey levels are measured on."""
EXPOSURES = (1.0, 0.5, 0.25, 0.125)
"""Shares of the changes of exposure among which the largest that leaves the classes apart is chosen, or else none."""
LARGEST_COST = 0.01
"""What changed exposures may take from the balanced accuracy of a classifier by grey level; docs/results.md."""
OBJECTS_ACROSS = 4
"""A crop is so many median objects wide: the network sees each with its surroundings."""
SMALLEST_OBJECT = 16
"""Regions of fewer pixels are specks, not objects."""
CROPS = (192, 384)
"""The least and the largest crop that is chosen."""
CPU_WIDTH, GPU_WIDTH = 16, 32

VALIDATIONS = 10
"""Times that a run is validated in the budget."""
VALIDATION_SHARE = 0.1
"""Share of `--minutes` that validation may take."""
SHORTEST = 1e-6
"""Seconds that a validation is taken to last at least."""


def fitted_to_images(
    config: ConfigT, dataset: Dataset, device: torch.device, start: Start | None = None
) -> tuple[ConfigT, list[str]]:
    """The settings with the width, crop, exposure and epoch that `--preset best` leaves open, and what to say.

    The width is that of the network whose weights the training starts from, if it does.
    """
    if not isinstance(config, TrainUDAConfig) or config.preset != "best" or config.resume is not None:
        return config, []
    found: dict[str, Any] = {}
    said = []
    if "width" not in config.model_fields_set and start is not None:
        found["width"] = start.architecture.width
        said.append(f"width {found['width']}, which {start.source} has")
    elif "width" not in config.model_fields_set:
        on_gpu = device.type == "cuda"
        found["width"] = GPU_WIDTH if on_gpu else CPU_WIDTH
        said.append(f"width {found['width']}, as there is {'a' if on_gpu else 'no'} GPU")
    if "crop" not in config.model_fields_set:
        diameter = object_diameter(dataset, config)
        wanted = CROPS[0] if diameter is None else 16 * math.ceil(OBJECTS_ACROSS * diameter / 16)
        found["crop"] = int(np.clip(wanted, *CROPS))
        if diameter is not None:
            objects = f"half of the objects are wider than {diameter:.0f}"
        elif dataset.drawn_in_part:
            objects = "no object was drawn with all that is around it, and strokes have no size (--crop says another)"
        else:
            objects = "no object was found in the masks"
        said.append(f"crops of {found['crop']} pixels, as {objects}")
    if "exposure" not in config.model_fields_set and config.augment == "microscopy":
        found["exposure"] = harmless_exposure(dataset, config)
        if found["exposure"] < 1:
            said.append(f"--exposure {found['exposure']:g}, as larger changes of exposure would mix up the classes")
    if config.epoch_steps is None and config.steps is not None:
        found["epoch_steps"] = math.ceil(config.steps / VALIDATIONS)
    return config.model_copy(update=found), [f"Chosen by --preset best: {'; '.join(said)}"] if said else []


def object_diameter(dataset: Dataset, config: TrainUDAConfig) -> float | None:
    """Median diameter in pixels of the circles that have the area of the regions in the labelled images.

    In images that were drawn in part, a region beside pixels that nobody drew is a stroke, or a part of an object.
    """
    from scipy.ndimage import binary_dilation
    from skimage.measure import label

    labelled = asked_for(dataset, config)
    areas: list[int] = []
    for index in labelled[:MEASURED_MASKS].tolist():
        codes = dataset.labels(index)
        regions = label(np.where(codes == dataset.ignore, 0, codes), background=0)  # type: ignore[no-untyped-call]
        of_regions = np.bincount(regions.reshape(-1))
        if dataset.drawn_in_part:
            of_regions[regions[binary_dilation(codes == dataset.ignore, np.ones((3, 3)))]] = 0
        areas += of_regions[1:].tolist()
    areas = [area for area in areas if area >= SMALLEST_OBJECT]
    return 2 * math.sqrt(float(np.median(areas)) / math.pi) if areas else None


def harmless_exposure(dataset: Dataset, config: TrainUDAConfig) -> float:
    """The largest of `EXPOSURES` after which the grey levels of labelled pixels tell the classes apart as before."""
    labelled = asked_for(dataset, config)[:MEASURED_MASKS].tolist()
    costs = zip(EXPOSURES, accuracy_lost(dataset, labelled, EXPOSURES), strict=True)
    return next((exposure for exposure, cost in costs if cost <= LARGEST_COST), 0.0)


def fitted_to_minutes(config: ConfigT, seconds: dict[str, float], spent: float = 0.0) -> tuple[ConfigT, TimeBudget]:
    """The settings with as many updates as the time allows, and the record of how that was found.

    Args:
        config: settings with `minutes`.
        seconds: of a `step` and a `validation`, see `loop.Trainer.timed`.
        spent: seconds of the budget that a forest has already spent on pseudo-labels.
    """
    if not isinstance(config, TrainUDAConfig) or config.minutes is None:
        raise ValueError("the settings have no --minutes")
    budget = max(0.0, 60 * config.minutes - spent)
    # A clock of few ticks finds that a validation without an image takes no time.
    afforded = VALIDATION_SHARE * budget / max(seconds["validation"], SHORTEST)
    validations = int(np.clip(afforded, 1, VALIDATIONS))
    steps = max(1, int((budget - validations * seconds["validation"]) / seconds["step"]))
    epoch = config.epoch_steps or math.ceil(steps / validations)
    found = TimeBudget(
        minutes=config.minutes,
        seconds_per_step=round(seconds["step"], 4),
        seconds_per_validation=round(seconds["validation"], 4),
    )
    return config.model_copy(update={"minutes": None, "steps": steps, "epoch_steps": epoch}), found
