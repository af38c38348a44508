"""One process at a time writes to a place: others are refused by name, and what a dead one left is taken over."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bioseg_cli.errors import OutputError, UsageError
from bioseg_cli.io import ownership
from bioseg_cli.io.owner import Owner
from bioseg_cli.io.ownership import owned_file, owned_folder

pytestmark = pytest.mark.slow

HOLD = """
import sys
from pathlib import Path
from bioseg_cli.io.ownership import owned_file, owned_folder
kind, path, part = sys.argv[1:]
with owned_file(Path(path)) if kind == "file" else owned_folder(Path(path), part=part or None):
    print("mine", flush=True)
    sys.stdin.read()
"""
COMPETE = """
import sys, time
from pathlib import Path
from bioseg_cli.errors import OutputError
from bioseg_cli.io.ownership import owned_folder
print("ready", flush=True)
sys.stdin.readline()
try:
    with owned_folder(Path(sys.argv[1])):
        print("mine", flush=True)
        sys.stdin.read()
except OutputError as error:
    print("refused", flush=True)
"""
ELSEWHERE = replace(Owner.this_process(), host="node7", machine="node7 another start", token="theirs")


@contextlib.contextmanager
def holding(path: Path, kind: str = "folder", part: str = "") -> Iterator[subprocess.Popen[str]]:
    """Another process that owns a place until its input ends."""
    command = [sys.executable, "-c", HOLD, kind, str(path), part]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mine\n"
        yield process


def left_by(owner: Owner, folder: Path) -> Path:
    """The file that an owner of a folder has there."""
    folder.mkdir(exist_ok=True)
    path = folder / ".bioseg.owner"
    path.write_text(json.dumps(asdict(owner)))
    return path


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for long."""
    monkeypatch.setattr(ownership, "SILENT_SECONDS", 0.3)
    monkeypatch.setattr(ownership, "CLAIM_SECONDS", 0.3)
    monkeypatch.setattr(ownership, "BEAT_SECONDS", 0.05)


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_the_second_process_is_refused_by_name(tmp_path: Path, kind: str):
    place = tmp_path / "place"
    owned = owned_file if kind == "file" else owned_folder
    with holding(place, kind) as process:
        with pytest.raises(OutputError, match=f"process {process.pid} on ") as caught, owned(place):
            pass
        assert caught.value.where == str(place)
        assert "Wait until it has ended" in str(caught.value)
    with owned(place):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_owner_is_named_with_its_command(tmp_path: Path):
    with holding(tmp_path) as process:
        found = json.loads((tmp_path / ".bioseg.owner").read_text())
        assert found["process"] == process.pid
        assert found["host"] == os.uname().nodename
        assert found["command"].startswith("-c folder ")


def test_a_command_with_bytes_that_are_no_text_can_be_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["/x/bioseg_cli/__main__.py", "predict", "\udcfc\x1b[2J", "x" * 500])
    with owned_folder(tmp_path):
        owner = Owner.read(tmp_path / ".bioseg.owner")
    assert owner is not None
    assert owner.command.startswith("bioseg_cli predict '\\udcfc\\x1b[2J' xxx") and len(owner.command) < 150


def test_a_file_that_cannot_be_read_for_a_moment_is_no_loss(tmp_path: Path):
    with owned_folder(tmp_path) as owned:
        (tmp_path / ".bioseg.owner").write_text("")
        owned.check()
    assert (tmp_path / ".bioseg.owner").exists()


def test_what_a_killed_owner_left_is_taken_over_at_once(tmp_path: Path):
    with holding(tmp_path) as process:
        process.kill()
        # Nobody has asked yet how it ended: it is still among the processes.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with owned_folder(tmp_path):
            assert json.loads((tmp_path / ".bioseg.owner").read_text())["process"] == os.getpid()


def test_a_later_process_of_the_same_number_is_not_the_owner(tmp_path: Path):
    left_by(replace(Owner.this_process(), began="1"), tmp_path)
    with owned_folder(tmp_path):
        pass


def test_a_stopped_owner_is_still_the_owner(tmp_path: Path, hurried: None):
    with holding(tmp_path) as process:
        os.kill(process.pid, 19)
        try:
            with pytest.raises(OutputError), owned_folder(tmp_path):
                pass
        finally:
            os.kill(process.pid, 18)


@pytest.mark.parametrize("left", [False, True])
def test_of_many_processes_that_begin_together_one_works(tmp_path: Path, left: bool):
    if left:
        left_by(replace(Owner.this_process(), began="1"), tmp_path)
    command = [sys.executable, "-c", COMPETE, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(6)]  # type: ignore[call-overload]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.stdout.readline() for process in processes]
    for process in processes:
        process.communicate()
    assert sorted(said) == ["mine\n"] + ["refused\n"] * 5
    assert list(tmp_path.iterdir()) == []


def test_an_owner_elsewhere_that_touches_its_file_is_at_work(tmp_path: Path, hurried: None):
    path = left_by(ELSEWHERE, tmp_path)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.05):
            os.utime(path)

    beating = threading.Thread(target=beat)
    beating.start()
    told: list[str] = []
    try:
        with pytest.raises(OutputError, match="on node7"), owned_folder(tmp_path, say=told.append):
            pass
    finally:
        ended.set()
        beating.join()
    assert json.loads(path.read_text())["token"] == "theirs"
    assert len(told) == 1 and "Waiting for up to 0.3 s" in told[0] and "node7" in told[0]


def test_an_owner_elsewhere_that_is_silent_is_gone(tmp_path: Path, hurried: None):
    left_by(ELSEWHERE, tmp_path)
    with owned_folder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_own_file_is_touched_again_and_again(tmp_path: Path, hurried: None):
    with owned_folder(tmp_path):
        path = tmp_path / ".bioseg.owner"
        os.utime(path, (0, 0))
        while path.stat().st_mtime == 0:
            threading.Event().wait(0.02)


def test_a_file_that_names_nobody_is_watched_too(tmp_path: Path, hurried: None):
    (tmp_path / ".bioseg.owner").write_text('{"process": "x"}')
    with owned_folder(tmp_path):
        pass


def test_parts_of_a_folder_exclude_the_whole_and_not_each_other(tmp_path: Path):
    with holding(tmp_path, part="1-2"):
        with owned_folder(tmp_path, part="2-2"):
            pass
        for part in (None, "1-2"):
            with pytest.raises(OutputError), owned_folder(tmp_path, part=part):
                pass
    with holding(tmp_path), pytest.raises(OutputError), owned_folder(tmp_path, part="2-2"):
        pass


def test_a_place_that_was_taken_over_is_written_no_more(tmp_path: Path):
    with pytest.raises(OutputError, match="took over"), owned_folder(tmp_path) as owned:
        owned.check()
        path = left_by(ELSEWHERE, tmp_path)
        owned.check()
    assert path.exists()


def test_losing_a_place_is_told_at_the_end(tmp_path: Path):
    with pytest.raises(OutputError, match=r"process .* on node7 .* took over"), owned_folder(tmp_path):
        left_by(ELSEWHERE, tmp_path)


def test_who_waits_is_let_in_when_the_owner_ends(tmp_path: Path):
    with holding(tmp_path / "x", "file") as process:
        assert process.stdin is not None
        threading.Timer(0.2, process.stdin.close).start()
        with owned_file(tmp_path / "x", wait=60):
            pass


def test_a_process_that_was_killed_while_claiming_holds_nobody_up(tmp_path: Path, hurried: None):
    (tmp_path / ".bioseg.claiming").touch()
    with owned_folder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_folders_that_were_made_and_stay_empty_are_removed(tmp_path: Path):
    with owned_folder(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / ".bioseg.owner").is_file()
    assert list(tmp_path.iterdir()) == []
    with owned_folder(tmp_path / "a" / "b"):
        (tmp_path / "a" / "kept").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["kept"]


def test_an_empty_folder_that_was_there_stays(tmp_path: Path):
    (tmp_path / "a").mkdir()
    with owned_folder(tmp_path / "a"):
        pass
    assert (tmp_path / "a").is_dir()


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path):
    (tmp_path / "a").write_text("")
    with pytest.raises(UsageError, match="A file is where the folder would go"), owned_folder(tmp_path / "a"):
        pass
    with pytest.raises(OutputError), owned_folder(tmp_path / "a" / "b"):
        pass


def test_the_longest_names_that_a_disk_allows(tmp_path: Path):
    path = tmp_path / ("x" * 252 + ".h5")
    with owned_file(path):
        (tmp_path / path.name).touch()
        assert len(list(tmp_path.iterdir())) == 2
    assert list(tmp_path.iterdir()) == [path]
