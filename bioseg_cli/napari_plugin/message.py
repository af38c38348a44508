"""A place in a widget for sentences to the user."""

from __future__ import annotations

from magicgui.widgets import TextEdit


class Message(TextEdit):  # type: ignore[misc]
    """Sentences that the user can read and copy, and not change."""

    def __init__(self) -> None:
        super().__init__(label="", value="")
        self.read_only = True

    def say(self, text: str) -> None:
        """Show a text instead of the one before."""
        self.value = text
