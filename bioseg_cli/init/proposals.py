"""What is proposed for the questions of `bioseg init`, and which of them are open."""

from __future__ import annotations

from pathlib import Path

from bioseg_cli.config import flag_of
from bioseg_cli.errors import UsageError
from bioseg_cli.init.settings import NO_MASKS, PROPOSED_MINUTES, InitConfig
from bioseg_cli.io.folders import natural_key
from bioseg_cli.masks.pairing import is_mask_name

_IMAGES = Path("images")
_OF_PREDICTIONS = "pred"
"""What names of folders begin with that hold the masks of a network."""


def proposed_images() -> Path | None:
    """The folder `images`, if there is one."""
    return _IMAGES if _IMAGES.is_dir() else None


def proposed_masks(images: Path) -> Path:
    """A folder beside that of the images that is called like masks; `NO_MASKS` where there is none."""
    beside = sorted((path for path in images.parent.iterdir() if path.is_dir()), key=natural_key)
    found = (path for path in beside if is_mask_name(path) and not path.name.lower().startswith(_OF_PREDICTIONS))
    return next(found, Path(NO_MASKS))


def completed(config: InitConfig) -> InitConfig:
    """The settings with an answer to each question: what was given, and with `yes` else what is proposed.

    Raises:
        UsageError: without `yes`, some answers are not given; or no folder of images can be proposed.
    """
    questions = ("images", "masks", "minutes")
    missing = [name for name in questions if getattr(config, name) is None]
    if missing and not config.yes:
        flags = [flag_of(name) for name in missing]
        listed = " and ".join([*([", ".join(flags[:-1])] if flags[1:] else []), flags[-1]])
        raise UsageError(
            f"There is no terminal to ask in, and {listed} {'is' if len(missing) == 1 else 'are'} not given",
            fix="Give them, or --yes to take what is proposed. --masks none says that nothing is drawn yet.",
        )
    images = config.images or proposed_images()
    if images is None:
        raise UsageError("--images is needed: there is no folder called images here", fix="Give the folder.")
    masks = config.masks if config.masks is not None or not images.is_dir() else proposed_masks(images)
    return config.model_copy(update={"images": images, "masks": masks, "minutes": config.minutes or PROPOSED_MINUTES})
