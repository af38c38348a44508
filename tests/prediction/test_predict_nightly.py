"""Prediction night after night: folder trees, lists of files, only what is new, parts of a job array, and signals."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import Result
from conftest import discs
from helpers.models import record_of, save_random_model, write_image
from PIL import Image

from bioseg_cli.compute.signals import ended_by_signals
from bioseg_cli.io.images import read_frame
from bioseg_cli.prediction.image_output import ImageOutput
from bioseg_cli.prediction.record_file import RecordFile

pytestmark = pytest.mark.slow

Bioseg = Callable[..., Result]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_random_model(tmp_path / "model.safetensors")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """13 images."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(13):
        write_image(folder / f"t{number}.tif", discs(number)[0][0])
    return folder


def contents(out: Path) -> dict[str, bytes]:
    """The masks in a folder."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.tif")}


def names(out: Path) -> list[str]:
    """The names in the record."""
    return [entry["name"] for entry in record_of(out)["files"]]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_tree_of_folders_is_mirrored(bioseg: Bioseg, model: Path, tmp_path: Path, jobs: int) -> None:
    plates = tmp_path / "plates"
    for number, place in enumerate(("a", "b/day 2", "b/.hidden", ".")):
        (plates / place).mkdir(parents=True, exist_ok=True)
        write_image(plates / place / "t1.tif", discs(number)[0][0])
    out = plates / "masks"  # what an earlier prediction wrote below the images is no image
    for _ in range(2):
        options = ("--recursive", "--overlay", "--overwrite", "--jobs", jobs, "--precision", "fp32")
        result = bioseg("predict", model, plates, "--out", out, *options)
        assert result.exit_code == 0, result.output
    assert sorted(contents(out)) == ["a/t1.tif", "b/day 2/t1.tif", "t1.tif"]
    assert sorted(names(out)) == ["a/t1", "b/day 2/t1", "t1"]
    assert (out / "overlays" / "b" / "day 2" / "t1.png").is_file()
    single = bioseg(
        "predict", model, plates / "b" / "day 2" / "t1.tif", "--out", tmp_path / "one", "--precision", "fp32"
    )
    assert single.exit_code == 0, single.output
    np.testing.assert_array_equal(read_frame(tmp_path / "one" / "t1.tif"), read_frame(out / "b" / "day 2" / "t1.tif"))
    (plates / "empty").mkdir()
    result = bioseg("predict", model, plates / "empty", "--out", tmp_path / "none", "--recursive")
    assert result.exit_code == 3 and "holds no images" in result.stderr


@pytest.mark.parametrize("folder", ["objects", "Overlays", "probabilities"])
def test_no_mask_lies_among_the_files_of_objects_overlays_and_probabilities(
    bioseg: Bioseg, model: Path, tmp_path: Path, folder: str
) -> None:
    for place in ("plates", f"plates/{folder}"):
        (tmp_path / place).mkdir()
        write_image(tmp_path / place / "t1.tif", discs(0)[0][0])
    result = bioseg("predict", model, tmp_path / "plates", "--recursive", "--objects", "--out", tmp_path / "out")
    assert result.exit_code == 2 and f"the folder {folder.lower()}" in result.stderr
    assert not (tmp_path / "out").exists()


def test_files_are_named_by_a_list(bioseg: Bioseg, model: Path, images: Path, tmp_path: Path) -> None:
    listed = "".join(f"{images / name}.tif\n" for name in ("t3", "t11")) + "\n"
    (tmp_path / "list.txt").write_text(listed)
    result = bioseg("predict", model, "--files-from", tmp_path / "list.txt", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert names(tmp_path / "out") == ["t3", "t11"]
    command = [sys.executable, "-m", "bioseg_cli", "predict", model, "--files-from", "-", "--out", tmp_path / "piped"]
    done = subprocess.run([str(word) for word in command], input=listed, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "piped") == ["t3", "t11"]
    (tmp_path / "list.txt").write_text("\n")
    for given in (tmp_path / "list.txt", tmp_path / "missing.txt"):
        result = bioseg("predict", model, "--files-from", given, "--out", tmp_path / "no")
        assert result.exit_code == 3 and "list of files" in result.stderr
    result = bioseg("predict", model, "--out", tmp_path / "no")
    assert result.exit_code == 2 and "nothing to predict was given" in result.stderr


def test_a_list_may_begin_with_a_mark_and_only_line_breaks_part_its_names(
    bioseg: Bioseg, model: Path, images: Path, tmp_path: Path
) -> None:
    (images / "t3.tif").rename(images / "t\x0c3.tif")
    listed = f"\ufeff{images / 't4.tif'}\r\n{images}/t\x0c3.tif\r\n"
    (tmp_path / "list.txt").write_bytes(listed.encode())
    result = bioseg("predict", model, "--files-from", tmp_path / "list.txt", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert names(tmp_path / "out") == ["t4", "t\x0c3"]


def test_only_what_is_new_or_changed_is_predicted(bioseg: Bioseg, model: Path, images: Path, tmp_path: Path) -> None:
    command = ("predict", model, images, "--out", tmp_path / "out", "--skip-existing", "--precision", "fp32")
    result = bioseg(*command)
    assert result.exit_code == 0, result.output
    assert "13 predicted, 0 predicted again, 0 skipped" in result.stdout
    first = contents(tmp_path / "out")
    write_image(images / "new.tif", discs(90)[0][0])
    write_image(images / "t5.tif", discs(91)[0][0])
    (images / "t12.tif").unlink()
    result = bioseg(*command)
    assert "1 predicted, 1 predicted again, 11 skipped" in result.stdout
    assert "not given any more stay: 1" in result.stdout
    record = record_of(tmp_path / "out")
    assert record["counts"] == {"predicted": 1, "predicted_again": 1, "skipped": 11, "without_image": 1}
    assert record["status"] == "finished" and len(record["files"]) == 14
    second = contents(tmp_path / "out")
    assert {name for name in second if first.get(name) != second[name]} == {"new.tif", "t5.tif"}
    fresh = bioseg("predict", model, images, "--out", tmp_path / "fresh", "--precision", "fp32")
    assert fresh.exit_code == 0, fresh.output
    for name in contents(tmp_path / "fresh"):
        np.testing.assert_array_equal(read_frame(tmp_path / "out" / name), read_frame(tmp_path / "fresh" / name))
    (tmp_path / "out" / "t0.tif").unlink()
    assert "0 predicted, 1 predicted again, 12 skipped" in bioseg(*command).stdout


def test_another_model_or_setting_predicts_everything_again(
    bioseg: Bioseg, model: Path, images: Path, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "out", "--skip-existing")
    assert bioseg("predict", model, images, *out).exit_code == 0
    assert "0 predicted, 13 predicted again, 0 skipped" in bioseg("predict", model, images, *out, "--tta").stdout
    assert "13 skipped" in bioseg("predict", model, images, *out, "--tta", "--device", "cpu").stdout
    other = save_random_model(tmp_path / "other.safetensors", norm="group")
    (images / "t12.tif").unlink()
    result = bioseg("predict", other, images, *out, "--tta")
    # The mask of t12 is of the first model, and would stay beside those of the other.
    assert result.exit_code == 2 and "t12" in result.stderr and "--overwrite instead" in result.stderr
    assert len(contents(tmp_path / "out")) == 13
    (tmp_path / "out" / "t12.tif").unlink()  # as the message advises
    assert "0 predicted, 12 predicted again, 0 skipped" in bioseg("predict", other, images, *out, "--tta").stdout
    assert "earlier" not in record_of(tmp_path / "out") and len(names(tmp_path / "out")) == 12


def test_an_earlier_mask_stays_where_its_image_fails(bioseg: Bioseg, model: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("predict", model, images, "--out", out, "--skip-existing")
    assert bioseg(*command, "--overlay").exit_code == 0
    before = contents(out)
    (images / "t3.tif").write_bytes((images / "t3.tif").read_bytes()[:200])
    result = bioseg(*command, "--tta")
    assert result.exit_code == 1 and "earlier mask of an image that failed stays" in result.stderr
    record = record_of(out)
    (older,) = record["earlier"]
    assert [entry["name"] for entry in older["files"]] == ["t3"] and len(record["files"]) == 12
    assert (older["config"]["tta"], record["config"]["tta"]) == (False, True)
    assert [name for name, mask in contents(out).items() if mask == before[name]] == ["t3.tif"]
    # What only the earlier prediction wrote is left of the file that it made, and of no other.
    assert [path.name for path in (out / "overlays").iterdir()] == ["t3.png"]
    scored = bioseg("evaluate", "--predictions", out, "--truth", out)
    assert scored.exit_code == 3 and "An earlier prediction made t3.tif" in scored.stderr
    write_image(images / "t3.tif", discs(3)[0][0])
    assert "0 predicted, 1 predicted again, 12 skipped" in bioseg(*command, "--tta").stdout
    assert "earlier" not in record_of(out) and not list((out / "overlays").iterdir())


def test_who_goes_back_to_the_first_model_keeps_its_masks(
    bioseg: Bioseg, model: Path, images: Path, tmp_path: Path
) -> None:
    command = ("predict", model, images, "--out", tmp_path / "out", "--skip-existing")
    assert bioseg(*command).exit_code == 0
    sound = (images / "t3.tif").read_bytes()
    (images / "t3.tif").write_bytes(sound[:200])
    assert bioseg(*command, "--tta").exit_code == 1
    (images / "t3.tif").write_bytes(sound)
    assert "0 predicted, 12 predicted again, 1 skipped" in bioseg(*command).stdout
    assert len(names(tmp_path / "out")) == 13 and "earlier" not in record_of(tmp_path / "out")


def test_a_mask_that_was_replaced_just_before_a_kill_is_not_taken_for_that_of_the_first_model(
    bioseg: Bioseg, model: Path, images: Path, tmp_path: Path
) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    command = ("predict", model, images, "--out", out, "--skip-existing")
    assert bioseg(*command).exit_code == 0
    assert bioseg("predict", model, images, "--out", other, "--skip-existing", "--tta").exit_code == 0
    first = contents(out)
    shutil.copy(other / "t3.tif", out)
    killed = {**record_of(other), "status": "running", "files": [], "earlier": [record_of(out)]}
    (out / "predictions.yaml").write_text(yaml.safe_dump(killed))
    assert "0 predicted, 13 predicted again, 0 skipped" in bioseg(*command).stdout
    assert contents(out) == first and contents(other)["t3.tif"] != first["t3.tif"]


def test_parts_share_a_folder(bioseg: Bioseg, model: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in (1, 2, 3):
        result = bioseg("predict", model, images, "--out", out, "--part", f"{number}/3")
        assert result.exit_code == 0, result.output
    parts = [yaml.safe_load((out / f"predictions-{number}-3.yaml").read_text())["files"] for number in (1, 2, 3)]
    assert [len(files) for files in parts] == [1, 5, 7]
    assert len({entry["name"] for files in parts for entry in files}) == 13 == len(contents(out))
    again = bioseg("predict", model, images, "--out", out, "--part", "2/3")
    assert again.exit_code == 2 and "predictions-2-3.yaml" in again.stderr
    assert "5 skipped" in bioseg("predict", model, images, "--out", out, "--part", "2/3", "--skip-existing").stdout
    whole = bioseg("predict", model, images, "--out", out, "--skip-existing")
    assert "13 skipped" in whole.stdout
    assert [path.name for path in out.glob("*.yaml")] == ["predictions.yaml"] and len(names(out)) == 13
    result = bioseg("predict", model, images, "--out", out, "--part", "4/3")
    assert result.exit_code == 2 and "names part 4 of 3" in result.stderr


def test_images_of_two_parts_never_share_a_mask_nor_replace_an_image(
    bioseg: Bioseg, model: Path, images: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(images / "t1.tif", other / "t0.tif")
    for part in ("1/2", "2/2"):
        pair = images / "t0.tif", other / "t0.tif"
        refused = bioseg("predict", model, *pair, "--out", tmp_path / "out", "--part", part)
        assert refused.exit_code == 2 and "would have the same mask" in refused.stderr
    assert not (tmp_path / "out").exists()
    Image.fromarray(discs(0)[0][0]).save(tmp_path / "t1.png")
    before = (other / "t0.tif").rename(other / "t1.tif").read_bytes()
    result = bioseg("predict", model, tmp_path / "t1.png", other / "t1.tif", "--out", other, "--part", "1/2")
    assert result.exit_code == 2 and (other / "t1.tif").read_bytes() == before


def test_masks_have_a_place_by_default(
    bioseg: Bioseg, disc_run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert bioseg("predict", disc_run, images / "t1.tif").exit_code == 0
    assert (tmp_path / "predicted" / disc_run.name / "t1.tif").is_file()


def until(there: Callable[[], Any], process: subprocess.Popen[bytes]) -> None:
    """Wait until something is there, as long as the process that makes it is alive."""
    while not there():
        assert process.poll() is None, "the process ended before it was asked to"
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
def test_a_prediction_that_is_terminated_goes_on(bioseg: Bioseg, model: Path, images: Path, tmp_path: Path) -> None:
    for number in range(13, 60):
        shutil.copy(images / "t1.tif", images / f"t{number}.tif")
    out = tmp_path / "out"
    given = [model, images, "--out", out, "--skip-existing", "--tile", 64, "--tta", "--precision", "fp32"]
    command = [sys.executable, "-m", "bioseg_cli", "predict", *map(str, given)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until(lambda: len(list(out.glob("t*.tif"))) > 2, process)
    assert record_of(out)["status"] == "running"
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode not in (0, -signal.SIGTERM), said
    record = record_of(out)
    assert record["status"] == "interrupted"
    assert 2 < len(record["files"]) < 60
    assert sorted(f"{name}.tif" for name in names(out)) == sorted(contents(out))
    assert not list(out.rglob(".*"))
    result = bioseg("predict", *given)
    assert f"{60 - len(record['files'])} predicted, 0 predicted again, {len(record['files'])} skipped" in result.stdout
    whole = ("predict", model, images, "--out", tmp_path / "whole", *given[5:])
    assert bioseg(*whole).exit_code == 0
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_another_model_replaces_masks_one_by_one(
    bioseg: Bioseg, model: Path, images: Path, tmp_path: Path, how: signal.Signals
) -> None:
    for number in range(13, 40):
        shutil.copy(images / "t1.tif", images / f"t{number}.tif")
    out = tmp_path / "out"
    other = save_random_model(tmp_path / "other.safetensors", norm="group")
    given = [images, "--out", out, "--skip-existing", "--tta", "--precision", "fp32"]
    assert bioseg("predict", model, *given).exit_code == 0
    first = contents(out)
    command = [sys.executable, "-m", "bioseg_cli", "predict", *map(str, [other, *given])]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    replaced: set[str] = set()

    def some_are_replaced() -> bool:
        found = {path.name: path.read_bytes() for path in out.glob("t*.tif")}
        assert set(found) == set(first)  # complete at every moment
        replaced.update(name for name in found if found[name] != first[name])
        return len(replaced) > 4

    until(some_are_replaced, process)
    process.send_signal(how)
    _, said = process.communicate()
    assert process.returncode not in (0, -signal.SIGTERM), said
    record, left = record_of(out), {name: (out / name).read_bytes() for name in first}
    (older,) = record["earlier"]
    old, new = ({entry["name"] for entry in made["files"]} for made in (older, record))
    assert len(old | new) == 40 and not old & new
    assert older["model"]["path"] == str(model) and record["model"]["path"] == str(other)
    whole = tmp_path / "whole"
    assert bioseg("predict", other, images, "--out", whole, *given[3:]).exit_code == 0
    assert all(left[f"{name}.tif"] == contents(whole)[f"{name}.tif"] for name in new)
    if how == signal.SIGTERM:
        assert all(left[f"{name}.tif"] == first[f"{name}.tif"] for name in old) and new
    result = bioseg("predict", other, *given)
    assert f"0 predicted, {len(old)} predicted again, {len(new)} skipped" in result.stdout
    assert contents(out) == contents(whole) and "earlier" not in record_of(out)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [(ImageOutput, "begin", 3), (ImageOutput, "finish", 3), (ImageOutput, "entry", 3), (RecordFile, "end", 1)],
    ids=lambda value: str(getattr(value, "__name__", value)),
)
def test_no_mask_is_missing_in_the_record_whenever_an_interrupt_comes(
    bioseg: Bioseg, model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    owner: type, name: str, call: int, moment: str,
) -> None:  # fmt: skip
    calls, done = 0, getattr(owner, name)

    def interrupted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if (calls, moment) == (call, "before"):
            raise KeyboardInterrupt
        result = done(*arguments)
        if (calls, moment) == (call, "after"):
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(owner, name, interrupted)
    result = bioseg("predict", model, images, "--out", tmp_path / "out")
    assert result.exit_code == 130 and calls >= call, result.output
    assert sorted(f"{found}.tif" for found in names(tmp_path / "out")) == sorted(contents(tmp_path / "out"))
    assert record_of(tmp_path / "out")["status"] == "interrupted"
    assert not list((tmp_path / "out").glob(".*"))


def test_signals_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), ended_by_signals():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
