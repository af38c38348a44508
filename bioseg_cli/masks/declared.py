"""What is certain of masks before their values are looked at: what the user says, and what LabKit's files say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bioseg_cli.config import ALL_DRAWN, MaskKind
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.masks.classes import BACKGROUND
from bioseg_cli.masks.labkit import LabkitLabels, labkit_labels
from bioseg_cli.masks.reading import MaskReading
from bioseg_cli.masks.survey import MaskSurvey


@dataclass(frozen=True)
class Declared:
    """What is certain of the masks of a folder.

    Attributes:
        kind: what their values are; None: to be recognised.
        names: of the classes, the background first; none: to be made up.
        undrawn: value of the pixels that nobody drew; None: there are none.
        clear: that is beyond doubt.
        labkit: the labels of LabKit, where the masks are its.
    """

    kind: MaskKind | None
    names: tuple[str, ...]
    undrawn: int | None
    clear: bool
    labkit: LabkitLabels | None

    @classmethod
    def of(cls, paths: Sequence[Path], kind: MaskKind | None, names: Sequence[str], unlabelled: str | None) -> Self:
        """What the user and the files say.

        Args:
            paths: of the masks.
            kind: what their values are; None: not said.
            names: of the classes, the background first; none: not said.
            unlabelled: value of the pixels that nobody drew, or that there are none; None: not said.

        Raises:
            DataError: masks of LabKit whose labels cannot be read, or do not say what 0 is, or say otherwise than the
                user.
        """
        labkit = labkit_labels(paths)
        if unlabelled is not None:
            undrawn = None if unlabelled == ALL_DRAWN else int(unlabelled)
            if labkit is not None and undrawn is None:
                labkit.refuse_background()
        elif labkit is not None:
            labkit.refuse_unclear()
            undrawn = 0
        else:
            return cls(kind, tuple(names), None, False, None)
        if labkit is not None and undrawn == 0:
            kind = kind or "classes"
            names = names or (labkit.names if len(labkit.names) > 1 else ())
        return cls(kind, tuple(names), undrawn, True, labkit)

    @property
    def needs_regions(self) -> bool:
        """Whether the connected regions of each value help to decide what the masks mean."""
        return self.kind is None or (self.kind in ("classes", "colours") and not self.clear)

    def values(self, path: Path, mask: Pixels) -> Pixels:
        """The values of a mask as they are to be understood, in one numbering for all files."""
        return mask if self.labkit is None else self.labkit.values(path, mask)

    def reading(self, survey: MaskSurvey) -> MaskReading:
        """What the masks of a survey mean; raises as `MaskSurvey.reading`."""
        reading = survey.reading(self.kind, self.names, self.undrawn, clear=self.clear)
        if self.labkit is None or self.names or self.undrawn is not None:
            return reading
        # All was drawn: the labels name the classes beside the background, unless they number objects.
        names = (BACKGROUND.name, *self.labkit.names)
        if reading.kind == "classes" or (reading.kind == "binary" and len(names) == len(reading.classes)):
            return survey.reading(self.kind, names, None, clear=self.clear)
        return reading
