"""Files that cannot be in a data set, as a table that names all of them with reason and remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bioseg_cli.runs.console import ConsoleOutput

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bioseg_cli.prepare.rejected import RejectedFile

_NAME_WIDTH = 30
"""Names of files up to this length stay on one line in a narrow terminal."""


@contextmanager
def rejected_shown(output: ConsoleOutput) -> Iterator[None]:
    """Show the files for which `FilesRejected` is raised within the block, and raise it without the list."""
    from bioseg_cli.prepare.rejected import FilesRejected

    try:
        yield
    except FilesRejected as rejected:
        output.result(rejected.to_json())
        if len(rejected.files) == 1:
            raise
        output.show(table_of_files(rejected.files, "Files that cannot be used"))
        raise rejected.beside_table() from None


def table_of_files(files: Sequence[RejectedFile], title: str) -> RenderableType:
    """Files that cannot be used, those with the same reason in one row, each with the folder where there are two."""
    from rich.table import Table
    from rich.text import Text

    folders = {file.folder for file in files}
    rows: dict[tuple[str, str], list[str]] = {}
    for file in files:
        name = file.name if len(folders) == 1 else f"{file.folder.resolve().name}/{file.name}"
        rows.setdefault((file.reason, file.remedy), []).append(name)
    widest = max(len(name) for names in rows.values() for name in names)
    table = Table(title=title, show_lines=True)
    table.add_column("file", overflow="fold", min_width=min(widest, _NAME_WIDTH))
    table.add_column("what is wrong, and what to do", overflow="fold")
    for (reason, remedy), names in rows.items():
        table.add_row(Text("\n".join(names)), Text(f"{reason}.\n{remedy}"))
    return table
