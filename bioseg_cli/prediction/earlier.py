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
from bioseg_cli.prediction.sources import AnySource, mask_name
from bioseg_cli.runs.sections import Status

OF_ONE_COMMAND = frozenset(
    {"run", "state", "inputs", "recursive", "files_from", "skip_existing", "part", "split", "force"}
    | {"out", "device", "precision", "jobs", "scheduler"}
)
"""Settings that say what is predicted and where it is computed: masks do not depend on them, but for rounding."""


@dataclass(frozen=True)
class EarlierPrediction:
    """The entries of the records in an output folder, by their masks: a volume may be called as an image is.

    Where the record of a whole prediction and that of a part name the same mask, the part made it: see `records_in`.

    Attributes:
        out: the folder.
        entries: of each file.
        made_by: the record that says what made the file.
        own: masks in the record that is written anew: those of other parts of a job array are not there.
        fitting: masks that are known to be made by the model and with the settings of now.
        killed: an earlier prediction did not end, so that there may be masks which its record does not name.
        level: of pyramids, that is predicted.
    """

    out: Path
    entries: Mapping[str, FileEntry] = field(default_factory=dict)
    made_by: Mapping[str, PredictionRecord] = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    fitting: frozenset[str] = frozenset()
    killed: bool = False
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
        made_by: dict[str, PredictionRecord] = {}
        own: set[str] = set()
        unfit: set[str] = set()
        killed = False
        for path in records_in(config.out):
            whole = PredictionRecord.read(path)
            mine = config.part is None or path.name == config.record_name
            killed |= mine and whole.status == Status.RUNNING
            for record in (whole, *whole.earlier):
                found = {entry.mask: entry for entry in record.files}
                entries |= found
                made_by |= dict.fromkeys(found, record)
                if mine:
                    own |= set(found)
                same = record.model.sha256 == model_hash and _lasting(record.config) == settings
                # Where a kill came between a mask and the record, the mask of an `earlier` entry is the new one.
                unsure = record is not whole and whole.status != Status.FINISHED
                unfit -= set(found)
                if not same or unsure or (config.objects and record.object_rules != rules.learnt):
                    unfit |= set(found)
        fitting = frozenset(entries) - unfit
        return cls(config.out, entries, made_by, frozenset(own), fitting, killed, config.level)

    def done(self, sources: Sequence[AnySource]) -> dict[str, FileEntry]:
        """The entries of those of the files that need no new prediction: equal in content, with all outputs there."""
        masks = {mask: source for source in sources if (mask := mask_name(source)) in self.fitting}
        with prefetched_map(self._is_done, masks.items(), most=WORKERS) as found:
            return {mask: self.entries[mask] for mask, done in zip(masks, found, strict=True) if done}

    def _is_done(self, known: tuple[str, AnySource]) -> bool:
        mask, source = known
        entry = self.entries[mask]
        if not all((self.out / name).is_file() for name in entry.outputs):
            return False
        try:
            return entry.sha256 == sha256_of_image(source.path, self.level)
        except (OSError, DataError):
            return False  # the prediction says what is wrong with it

    def without_image(self, sources: Sequence[AnySource]) -> dict[str, FileEntry]:
        """The entries of files that are not given any more, and whose outputs are there.

        Raises:
            UsageError: another model, or other settings, made some of them: a folder would have masks of both for good.
        """
        given = set(map(mask_name, sources))
        left = {
            mask: entry for mask, entry in self.entries.items() if mask in self.own - given and self._is_there(mask)
        }
        if unfit := [mask for mask in left if mask not in self.fitting]:
            raise UsageError(
                f"Another model or other settings made {len(unfit)} masks whose images are not given any more, such as "
                f"{unfit[0]}",
                where=self.out,
                fix="Move these masks away, choose another --out, or give --overwrite instead of --skip-existing: it "
                "removes all masks there.",
            )
        return left

    def outdated(self, masks: Iterable[str]) -> Outdated:
        """What is there of the files with these masks, to be replaced."""
        files: dict[int, list[FileEntry]] = {}
        records = {id(record): record for record in self.made_by.values()}
        for mask in filter(self._is_there, masks):
            files.setdefault(id(self.made_by[mask]), []).append(self.entries[mask])
        return Outdated(self.out, tuple(records[number].of_files(entries) for number, entries in files.items()))

    def _is_there(self, mask: str) -> bool:
        return any((self.out / output).is_file() for output in self.entries[mask].outputs)


@dataclass(frozen=True)
class Outdated:
    """Files of earlier predictions that are predicted again. Each stays until its replacement is there.

    Attributes:
        out: the output folder.
        records: that say what made the files, each of such files alone.
    """

    out: Path
    records: tuple[PredictionRecord, ...] = ()

    def without(self, replacements: Iterable[FileEntry]) -> tuple[PredictionRecord, ...]:
        """The records of the files that have no replacement yet."""
        replaced = {entry.mask for entry in replacements}
        left = [(record, [entry for entry in record.files if entry.mask not in replaced]) for record in self.records]
        return tuple(record.of_files(files) for record, files in left if files)

    def remove_leftovers(self, replacements: Iterable[FileEntry]) -> None:
        """Remove what only the replaced files had, such as pictures that are not asked for any more."""
        outputs = {entry.mask: entry.outputs for entry in replacements}
        taken = {output for names in outputs.values() for output in names}
        replaced = (entry for record in self.records for entry in record.files if entry.mask in outputs)
        left = (output for entry in replaced for output in entry.outputs if output not in taken)
        remove_outputs(self.out, [self.out / output for output in left])


def remove_outputs(out: Path, paths: Iterable[Path]) -> None:
    """Remove outputs that lie below a folder; a record that names other files removes nothing there."""
    for path in paths:
        if path.resolve().is_relative_to(out.resolve()):
            path.unlink(missing_ok=True)


def _lasting(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in OF_ONE_COMMAND}
