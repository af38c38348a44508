"""The commands that the documentation tells people to type."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACEHOLDER = re.compile(r"\b(RUN|FILE|DIR|DATA|COMMAND)\b")


def documented_commands(page: Path) -> list[str]:
    """Every `bioseg ...` of a page, in order: in code blocks and within the text, but for those with placeholders."""
    parts = page.read_text().split("```")
    commands: list[str] = []
    for number, part in enumerate(parts):
        in_a_block = number % 2 == 1
        pattern = r"^(bioseg .*?)(?:\s+#.*)?$" if in_a_block else r"`(bioseg [^`]*)`"
        commands += [" ".join(found.split()) for found in re.findall(pattern, part, flags=re.MULTILINE)]
    return [
        command
        for command in commands
        if not PLACEHOLDER.search(command) and "install-completion" not in command and command.count(" ") >= 2
    ]
