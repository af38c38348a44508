"""What an earlier prediction left in an output folder, and which of the given files it has done as they are now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.images import sha256_of_image
from bioseg_cli.io.prefetch import WORKERS, prefetched_map
from bioseg_cli.objects.instances import ObjectRules
from bioseg_cli.prediction.record import FileEntry, PredictionRecord
from bioseg_cli.prediction.settings import PredictConfig, records_in
from bioseg_cli.prediction.sources import AnySource

OF_ONE_COMMAND = frozenset(
    {"run", "state", "inputs", "recursive", "files_from", "skip_existing", "part", "split"}
    | {"out", "device", "precision", "jobs", "scheduler"}
)
"""Settings that say what is predicted and where it is computed: masks do not depend on them, but for rounding."""


@dataclass(frozen=True)
class EarlierPrediction:
    """The entries of the records in an output folder.

    Attributes:
        out: the folder.
        entries: of each file by its name.
        own: names of the files in the record that is written anew: those of other parts of a job array are not there.
        same: whether each entry was made by the model and with the settings of now.
        level: of pyramids, that is predicted.
    """

    out: Path
    entries: Mapping[str, FileEntry] = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    same: bool = True
    level: int = 0

    @classmethod
    def read(cls, config: PredictConfig, model_hash: str, rules: ObjectRules) -> EarlierPrediction:
        """Read the records of a folder.

        Args:
            config: the settings of now.
            model_hash: SHA-256 of the model of now.
            rules: how objects are told apart now, where they are written.

        Raises:
            DataError: a record is damaged.
        """
        settings = _lasting(config.model_dump(mode="json"))
        entries: dict[str, FileEntry] = {}
        own: set[str] = set()
        same = True
        for path in records_in(config.out):
            record = PredictionRecord.read(path)
            found = {entry.name: entry for entry in record.files}
            entries |= found
            if config.part is None or path.name == config.record_name:
                own |= set(found)
            same &= record.model.sha256 == model_hash and _lasting(record.config) == settings
            same &= not config.objects or record.object_rules == rules.learnt
        return cls(config.out, entries, frozenset(own), same, config.level)

    def done(self, sources: Sequence[AnySource]) -> dict[str, FileEntry]:
        """The entries of those of the files that need no new prediction: equal in content, with all outputs there."""
        if not self.same:
            return {}
        known = [source for source in sources if source.name in self.entries]
        with prefetched_map(self._is_done, known, most=WORKERS) as found:
            return {source.name: self.entries[source.name] for source, done in zip(known, found, strict=True) if done}

    def _is_done(self, source: AnySource) -> bool:
        entry = self.entries[source.name]
        if not all((self.out / name).is_file() for name in entry.outputs):
            return False
        try:
            return entry.sha256 == sha256_of_image(source.path, self.level)
        except (OSError, DataError):
            return False  # the prediction says what is wrong with it

    def without_image(self, sources: Sequence[AnySource]) -> dict[str, FileEntry]:
        """The entries of files that are not given any more.

        Raises:
            UsageError: another model, or other settings, made them: one record cannot hold both.
        """
        given = {source.name for source in sources}
        left = {name: entry for name, entry in self.entries.items() if name in self.own and name not in given}
        if left and not self.same:
            count = len(left)
            raise UsageError(
                f"Another model or other settings made {count} masks whose images are not given any more, such as "
                f"{next(iter(left))}",
                where=self.out,
                fix="Choose another --out, or give --overwrite instead of --skip-existing: it removes all masks there.",
            )
        return left

    def outputs(self, names: Iterable[str]) -> list[Path]:
        """The outputs of the named files."""
        return [self.out / output for name in names for output in self.entries[name].outputs]


def remove_outputs(out: Path, paths: Iterable[Path]) -> None:
    """Remove outputs that lie below a folder; a record that names other files removes nothing there."""
    for path in paths:
        if path.resolve().is_relative_to(out.resolve()):
            path.unlink(missing_ok=True)


def _lasting(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in OF_ONE_COMMAND}
