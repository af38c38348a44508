"""The record of a prediction as a model: what its file holds, byte for byte, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from bioseg_cli.errors import DataError, OutputError
from bioseg_cli.io.owner import Owner
from bioseg_cli.io.ownership import owned_folder
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.prediction.distributed import merged_manner
from bioseg_cli.prediction.earlier import Outdated
from bioseg_cli.prediction.record import FailureEntry, FileEntry, Origin, Outcome, PredictionRecord, Tiles
from bioseg_cli.prediction.record_file import RecordFile
from bioseg_cli.runs.manifest import write_manifest
from bioseg_cli.runs.sections import Environment, Status

WRITTEN = sorted((Path(__file__).parent / "data").glob("*.yaml"))
"""Records of version 0.1.0, as it wrote them when it had no model of them."""


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_what_was_written_before_is_read_and_written_back_byte_for_byte(path: Path, tmp_path: Path) -> None:
    record = PredictionRecord.read(path)
    write_manifest(tmp_path / "again.yaml", record.model_dump())
    assert (tmp_path / "again.yaml").read_text() == path.read_text()
    assert not record.model_extra and record.files
    assert not any(entry.model_extra for entry in (*record.files, *record.failures, record.model, record.tiles))


def test_the_model_says_what_the_file_says() -> None:
    clusters, continued = map(PredictionRecord.read, WRITTEN)
    assert clusters.mapping is not None and clusters.values == "classes" and clusters.counts is None
    assert continued.counts is not None and (continued.counts.predicted, continued.counts.skipped) == (1, 9)
    entries = {entry.name: entry for entry in continued.files}
    assert entries["brain"].pixel_size == PixelSize(500.0, 500.0) and entries["brain"].axis == "z"
    assert entries["stack"].axes == "TYX" and len(entries["stack"].estimated_iou.frames) == 3
    assert [entry.name for entry in continued.failures] == ["bad"]


def test_a_record_of_another_version_may_have_less_and_keeps_what_it_has_more(tmp_path: Path) -> None:
    path = tmp_path / "predictions.yaml"
    content = {"of_tomorrow": 1, "files": [{"outputs": ["a.tif"], "colour": "red"}]}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    record = PredictionRecord.read(path)
    assert record.model.sha256 is None and record.files[0].sha256 is None and record.failures == ()
    write_manifest(tmp_path / "again.yaml", record.model_dump())
    assert yaml.safe_load((tmp_path / "again.yaml").read_text()) == content


@pytest.mark.parametrize("text", ["files: 3\n", "files: [{outputs: 1}]\n", "- a list\n"])
def test_a_damaged_record_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "predictions.yaml").write_text(text)
    with pytest.raises(DataError, match="damaged") as refused:
        PredictionRecord.read(tmp_path / "predictions.yaml")
    assert refused.value.where == str(tmp_path / "predictions.yaml")


def record_file(
    out: Path,
    begun: PredictionRecord,
    outcome: Callable[[], Outcome],
    kept: list[FileEntry],
    order: list[str],
    outdated: Outdated | None = None,
) -> RecordFile:
    """The record of a folder that nobody takes over."""
    with owned_folder(out) as ownership:
        return RecordFile(out / "predictions.yaml", begun, outcome, kept, order, outdated or Outdated(out), ownership)


def test_a_record_on_its_way_has_the_files_in_the_order_in_which_they_were_given(tmp_path: Path) -> None:
    found = [FileEntry(name="c"), FileEntry(name="a")]
    begun = PredictionRecord(status=Status.RUNNING, device=None, tiles=None, files=(), failures=())
    file = record_file(
        tmp_path / "out",
        begun,
        lambda: Outcome(device="cpu", files=tuple(found), failures=(FailureEntry(name="d"),)),
        [FileEntry(name="gone"), FileEntry(name="b")],
        ["a", "b", "c", "d"],
    )
    file.write()
    written = yaml.safe_load((tmp_path / "out" / "predictions.yaml").read_text())
    assert list(written) == ["status", "device", "tiles", "files", "failures"]
    assert [entry["name"] for entry in written["files"]] == ["a", "b", "c", "gone"]
    assert (written["status"], written["device"], written["tiles"]) == ("running", "cpu", None)
    found.append(FileEntry(name="d"))
    ended = file.end(Status.FINISHED)
    assert [entry.name for entry in ended.files] == ["a", "b", "c", "d", "gone"] and ended.status == "finished"
    assert yaml.safe_load((tmp_path / "out" / "predictions.yaml").read_text())["finished"] == ended.finished


def test_without_a_mask_there_is_no_record(tmp_path: Path) -> None:
    file = record_file(tmp_path / "out", PredictionRecord(), Outcome, [], [])
    file.write()
    assert file.end(Status.FAILED).status == "failed"
    assert not (tmp_path / "out" / "predictions.yaml").exists()


def test_a_replaced_file_is_in_the_earlier_record_until_its_replacement_is_in_this_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "overlays").mkdir(parents=True)
    for name in ("a.tif", "overlays/a.png", "b.tif", "c.tif"):
        (out / name).write_text(f"old {name}")
    old = PredictionRecord(model=Origin(sha256="old"), config={"tta": True}, counts=None, failures=())
    entries = (FileEntry(name="a", outputs=("a.tif", "overlays/a.png")), FileEntry(name="b", outputs=("b.tif",)))
    outdated = Outdated(out, (old.of_files(entries),))
    found: list[FileEntry] = []
    begun = PredictionRecord(model=Origin(sha256="new"), files=())
    file = record_file(out, begun, lambda: Outcome(files=tuple(found)), [], ["a", "b"], outdated)
    file.write()
    (written,) = PredictionRecord.read(out / "predictions.yaml").earlier
    assert written.files == entries and written.config == {"tta": True} and written.model.sha256 == "old"
    assert "counts" not in written.given() and "failures" not in written.given()
    assert (out / "overlays" / "a.png").is_file()
    found.append(FileEntry(name="a", outputs=("a.tif",)))
    file.write()
    (written,) = PredictionRecord.read(out / "predictions.yaml").earlier
    assert [entry.name for entry in written.files] == ["b"]
    # What the new outputs lack is gone, and nothing else.
    assert not (out / "overlays" / "a.png").exists() and (out / "a.tif").is_file() and (out / "c.tif").is_file()
    found.append(FileEntry(name="b", outputs=("b.tif",)))
    assert "earlier" not in file.end(Status.FINISHED).given()
    assert "earlier" not in yaml.safe_load((out / "predictions.yaml").read_text())


def test_a_record_of_earlier_files_alone_stays(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("old")
    old = PredictionRecord(model=Origin(sha256="old")).of_files([FileEntry(name="a", outputs=("a.tif",))])
    outdated = Outdated(tmp_path, (old,))
    file = record_file(tmp_path, PredictionRecord(files=()), Outcome, [], ["a"], outdated)
    file.end(Status.INTERRUPTED)
    assert PredictionRecord.read(tmp_path / "predictions.yaml").earlier == (old,)


def test_a_record_is_not_written_into_a_folder_that_another_process_took_over(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="took over"), owned_folder(tmp_path) as owned:
        record = (PredictionRecord(), Outcome, [], [], Outdated(tmp_path))
        file = RecordFile(tmp_path / "predictions.yaml", *record, owned)
        Owner.this_process().write(tmp_path / ".bioseg.owner")
        file.write()
    assert not (tmp_path / "predictions.yaml").exists()


def test_what_workers_differ_in_is_listed() -> None:
    tiles = [Tiles(tile=512, overlap=64, largest_batch=1), Tiles(tile=1024, overlap=64, largest_batch=8)]
    first = Outcome(device="cpu", precision="fp32", environment=Environment(cores=2), tiles=tiles[1])
    other = first.having(precision="bf16", tiles=tiles[0])
    assert merged_manner([first, first]) == {
        "device": "cpu", "precision": "fp32", "environment": Environment(cores=2), "tiles": tiles[1],
    }  # fmt: skip
    manner = merged_manner([first, other, first])
    assert manner["precision"] == ("fp32", "bf16") and manner["device"] == "cpu"
    assert manner["tiles"].model_dump() == {"tile": 512, "overlap": 64, "largest_batch": 8}
