"""The manifest as a model: what its file holds, byte for byte, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import new_manifest
from pydantic import ValidationError

from bioseg_cli.errors import DataError
from bioseg_cli.runs.directory import RunDirectory, default_state
from bioseg_cli.runs.manifest import Manifest, write_manifest
from bioseg_cli.runs.sections import (
    BestEpoch,
    Conclusion,
    Environment,
    GuardRecord,
    LabelledImages,
    Labels,
    Progress,
    Status,
    TrainedOn,
)

WRITTEN = sorted((Path(__file__).parent / "data" / "manifests").glob("*.yaml"), key=lambda path: path.stem)
"""Manifests of version 0.1.0, as it wrote them when it had no model of them."""


def stored(folder: Path, content: Any) -> Path:
    """A run directory with a manifest alone: a mapping, or the text of the file."""
    folder.mkdir(exist_ok=True)
    text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    (folder / "manifest.yaml").write_text(text)
    return folder


def changed(**values: Any) -> dict[str, Any]:
    return {**new_manifest().content(), **values}


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_what_was_written_before_is_read_and_written_back_byte_for_byte(path: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(stored(tmp_path / "run", path.read_text()))
    write_manifest(tmp_path / "again.yaml", manifest.content())
    assert (tmp_path / "again.yaml").read_text() == path.read_text()
    assert not manifest.model_extra
    sections = [manifest.data, manifest.times, manifest.environment, manifest.progress, manifest.precision]
    assert not any(section.model_extra for section in sections if section is not None)


def test_there_is_a_manifest_of_each_kind() -> None:
    assert [path.stem for path in WRITTEN] == ["iic", "iic-restarts", "study-job", "uda", "uda-guard"]


def test_the_sections_say_what_the_file_says(tmp_path: Path) -> None:
    of = {path.stem: Manifest.read(stored(tmp_path / path.stem, path.read_text())) for path in WRITTEN}
    guarded, clusters, restarts = of["uda-guard"], of["iic"], of["iic-restarts"]
    assert guarded.status == Status.FINISHED and guarded.status.ended
    assert guarded.labels is not None and guarded.labels == guarded.labelled_images and guarded.labels.count == 4
    assert guarded.guard is not None and guarded.guard.hands_out == "control" and guarded.guard.alarms
    assert default_state(RunDirectory(tmp_path, guarded)) == "control"
    assert default_state(RunDirectory(tmp_path, of["uda"])) == "best-supervised"
    assert (guarded.outputs, clusters.outputs) == ("classes", "clusters")
    assert clusters.clusters == {"main": 2, "aux": 10} and clusters.labelled_images == clusters.mapped_by
    assert clusters.mappings is not None and len(clusters.mappings["last"]["aux"].classes) == 10
    assert default_state(RunDirectory(tmp_path, clusters)) == "best-final"
    assert [restart.kept for restart in restarts.restarts].count(True) == 1 and not clusters.restarts
    assert of["uda"].updates == of["uda"].progress.updates == 8


def test_keys_of_other_versions_are_kept_where_they_were(tmp_path: Path) -> None:
    content = new_manifest().content()
    later = {"of_tomorrow": {"a": [1, None]}, **content, "data": {"shards": 3, **content["data"]}}
    manifest = Manifest.read(stored(tmp_path / "run", later))
    manifest.status = Status.FAILED
    assert list(manifest.content()) == list(later)
    assert manifest.content() == {**later, "status": "failed"}
    assert list(manifest.content()["data"]) == ["shards", "path", "content_hash"]


def test_a_manifest_of_an_earlier_version_has_defaults_that_are_not_written(tmp_path: Path) -> None:
    manifest = Manifest.read(stored(tmp_path / "run", content := changed(labels={"count": 2, "of": 8})))
    assert (manifest.hash, manifest.best, manifest.guard, manifest.processes, manifest.updates) == ("", {}, None, 1, 0)
    assert manifest.labels is not None and manifest.labels.unseen is None and manifest.labels.images is None
    assert manifest.content() == content


def test_keys_are_in_the_order_in_which_they_came() -> None:
    manifest = new_manifest()
    first = list(manifest.content())
    manifest.progress = Progress(seconds=1.5, epochs=1, updates=2)
    manifest.best = {"last": BestEpoch(value=0.5, epoch=1)}
    manifest.progress = Progress(seconds=2.5, epochs=2, updates=4)
    assert list(manifest.content()) == [*first, "progress", "best"]
    assert list(manifest.content()["progress"].items()) == [("seconds", 2.5), ("epochs", 2), ("updates", 4)]


def test_none_of_a_section_is_written_where_it_was_given_and_none_of_a_method_is_nothing() -> None:
    assert Environment(git_revision=None, cores=2).model_dump() == {"git_revision": None, "cores": 2}
    manifest = new_manifest()
    manifest.add(TrainedOn(labels=None, unlabelled=0))
    manifest.add(Conclusion(status=Status.COLLAPSED, norm_images=None, collapse={"last": {"main": "one map"}}))
    assert manifest.content() == {
        **changed(status="collapsed"),
        "unlabelled": 0,
        "collapse": {"last": {"main": "one map"}},
    }


def test_of_another_manifest_those_keys_are_taken_that_it_has() -> None:
    first, other = new_manifest(), new_manifest()
    other.progress, other.device = Progress(epochs=1, updates=2, seconds=3.0), "cpu"
    first.take(other, ("metrics", "progress"))
    assert first.content() == {**new_manifest().content(), "progress": {"epochs": 1, "updates": 2, "seconds": 3.0}}


def test_a_section_is_not_changed_but_made_anew() -> None:
    record = GuardRecord(images=3, hands_out="last")
    with pytest.raises(ValidationError, match="frozen"):
        record.images = 4
    later = record.having(alarms=["a"], hands_out="control")
    assert record.model_dump() == {"images": 3, "hands_out": "last"}
    assert later.model_dump() == {"images": 3, "hands_out": "control", "alarms": ("a",)}


def test_a_copy_is_its_own() -> None:
    manifest = new_manifest()
    copy = manifest.model_copy(deep=True)
    copy.progress = Progress(epochs=1, updates=2, seconds=3.0)
    copy.config["lr"] = 5
    assert manifest.content() == new_manifest().content() and copy.content()["progress"]["updates"] == 2


def test_names_that_are_not_utf8_keep_their_bytes(tmp_path: Path) -> None:
    manifest = new_manifest()
    manifest.add(TrainedOn(labels=Labels(count=1, of=1, images=("a\udcff",))))
    write_manifest(tmp_path / "manifest.yaml", manifest.content())
    assert Manifest.read(tmp_path).labelled_images == manifest.labels
    assert isinstance(manifest.labels, LabelledImages) and Manifest.read(tmp_path).labels.images == ("a\udcff",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("command: train-uda\n", "config: field required"),
        (changed(status="paused"), "status: "),
        (changed(config=[1]), "config: "),
        (changed(data={"path": "a"}), "data.content_hash: field required"),
        (changed(labels={"count": "many", "of": 8}), "labels.count: "),
        (changed(best={"worst": {"value": 1.0, "epoch": 1}}), "best.worst"),
        (changed(guard=["a"]), "guard: "),
    ],
)
def test_a_damaged_manifest_is_refused_with_the_key_the_file_and_what_to_do(
    content: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        RunDirectory.open(stored(tmp_path / "run", content))
    error = caught.value
    assert error.what.startswith("The manifest is damaged (") and said in error.what
    assert error.where == str(tmp_path / "run" / "manifest.yaml") and error.fix == "Give another run."


def test_the_help_does_not_wait_for_the_models_of_manifests() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from bioseg_cli.cli.app import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        "print(sorted({'bioseg_cli.runs.manifest', 'bioseg_cli.runs.sections'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
