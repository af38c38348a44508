"""Files that cannot be in a data set: collected, with reason and remedy, so that one error or table names all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bioseg_cli.errors import BiosegError, DataError, OutputError
from bioseg_cli.io.folders import natural_key
from bioseg_cli.printable import listing

Kind = Literal["image", "mask"]

_NAMED_REASONS = 20


@dataclass(frozen=True)
class RejectedFile:
    """A file that cannot be used, or a folder of which something has to be said first.

    Attributes:
        path: the file.
        folder: the folder of images or of masks that it is in.
        kind: what it was taken for.
        reason: what is wrong with it, a sentence without a full stop.
        remedy: what to do, a sentence.
    """

    path: Path
    folder: Path
    kind: Kind
    reason: str
    remedy: str

    @property
    def name(self) -> str:
        """The path within the folder, with slashes; `.` is the folder itself."""
        return self.path.relative_to(self.folder).as_posix()

    def to_json(self) -> dict[str, str]:
        """An entry of the document of `bioseg prepare folder --json`."""
        return {"path": str(self.path), **self.record(), "remedy": self.remedy}

    def record(self) -> dict[str, str]:
        """What a data set says of it, which is the same wherever the folder was."""
        return {"file": self.name, "kind": self.kind, "reason": self.reason}


class FilesRejected(DataError):
    """Files that cannot be used, all that there are.

    Args:
        files: at least one.
        total: how many files were looked at.
        advice: a sentence on what else can be done.
    """

    def __init__(self, files: Sequence[RejectedFile], total: int, advice: str = "") -> None:
        self.files = tuple(files)
        self.total = total
        self.advice = advice
        if len(files) == 1:
            file = files[0]
            super().__init__(file.reason, where=file.path, fix=" ".join(filter(None, (file.remedy, advice))))
            return
        names: dict[str, list[str]] = {}
        for file in files:
            names.setdefault(file.reason, []).append(file.name)
        remedies = dict.fromkeys(file.remedy for file in files)
        reasons = [f"{listing(some)} ({reason})" for reason, some in names.items()]
        remedy = next(iter(remedies)) if len(remedies) == 1 else "Repair these files, or move them away."
        super().__init__(
            f"{self._counted}: {listing(reasons, most=_NAMED_REASONS)}",
            where=files[0].folder,
            fix=" ".join(filter(None, (remedy, advice))),
        )

    def to_json(self) -> dict[str, Any]:
        """The document of `bioseg prepare folder --json` where no data set is written."""
        return {"rejected": [file.to_json() for file in self.files], "files": self.total}

    @property
    def _counted(self) -> str:
        count = sum(file.path != file.folder for file in self.files)
        return f"{count} of {self.total} files cannot be used"

    def beside_table(self) -> DataError:
        """The same error without the reasons, where a table gives them."""
        fix = " ".join(filter(None, ("The table says why, and what to do.", self.advice)))
        return DataError(self._counted, where=self.where, fix=fix)


class Rejected:
    """Collects what is wrong with the files of a data set.

    Attributes:
        files: that cannot be used, in the order in which they were found.
        questions: errors that are about a whole folder: leaving files out settles none of them.
    """

    def __init__(self) -> None:
        self.files: list[RejectedFile] = []
        self.questions: list[tuple[Path, Kind, BiosegError]] = []

    @property
    def paths(self) -> set[Path]:
        """The files that cannot be used."""
        return {file.path for file in self.files}

    def add(self, path: Path, folder: Path, kind: Kind, reason: str, remedy: str) -> None:
        """Collect a file, unless something else is wrong with it already."""
        if path not in self.paths:
            self.files.append(RejectedFile(path, folder, kind, reason, remedy))

    @contextmanager
    def collecting(self, path: Path, folder: Path, kind: Kind) -> Iterator[None]:
        """Collect the file where its `DataError` is raised within the block."""
        try:
            yield
        except OutputError:
            raise
        except DataError as error:
            self.take(path, folder, kind, error)

    def take(self, path: Path, folder: Path, kind: Kind, error: DataError) -> None:
        """Collect a file for what an error says of it."""
        # Some decoders name the file with its folder, which is none of the data set's business.
        reason = error.what.replace(str(path), path.name)
        self.add(path, folder, kind, reason, error.fix or "Repair the file, or move it away.")

    def ask(self, folder: Path, kind: Kind, error: BiosegError) -> None:
        """Collect an error that is about the whole folder."""
        self.questions.append((folder, kind, error))

    def refuse(self, total: int, advice: str = "") -> None:
        """Raise for what was collected.

        Raises:
            FilesRejected: some files cannot be used.
            BiosegError: the error about the folder, where that is all.
        """
        if not self.files:
            self.refuse_questions()
            return
        asked = [
            RejectedFile(folder, folder, kind, error.what, error.fix or "Check the folder.")
            for folder, kind, error in self.questions
        ]
        raise FilesRejected([*self.in_order(), *asked], total, advice)

    def refuse_questions(self) -> None:
        """Raise the first error about a whole folder."""
        for _, _, error in self.questions:
            raise error

    def in_order(self) -> list[RejectedFile]:
        """The files, images before masks, each in natural order."""
        return sorted(self.files, key=lambda file: (file.kind, [*map(natural_key, map(Path, Path(file.name).parts))]))
