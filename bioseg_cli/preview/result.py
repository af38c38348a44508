"""What `session.run` returns: the picture that was drawn, and what is on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class PreviewResult:
    """A picture of what training makes of images.

    Attributes:
        picture: the file.
        data: the data set.
        view: that is drawn; see `preview.settings`.
        images: their names, a row each.
        magnitude: of the strong operations; None of another view.
    """

    picture: Path
    data: Path
    view: str
    images: tuple[str, ...]
    magnitude: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The document of `bioseg preview --json`."""
        document = {
            "picture": str(self.picture),
            "data": str(self.data),
            "view": self.view,
            "images": list(self.images),
        }
        return document if self.magnitude is None else {**document, "magnitude": self.magnitude}
