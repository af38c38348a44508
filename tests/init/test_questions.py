"""`bioseg init` at a terminal: a real one, whose other end answers."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
import tifffile
import yaml
from conftest import discs
from PIL import Image

pty = pytest.importorskip("pty", reason="Windows has no such terminals")
pytestmark = pytest.mark.slow

PATIENCE = 300.0
"""Seconds of silence after which no question comes any more, however busy the machine is."""


class Terminal:
    """`bioseg init` in a terminal of 60 columns."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._end, other = pty.openpty()
        environment = {**os.environ, "COLUMNS": "60", "TERM": "dumb"}
        command = [sys.executable, "-m", "bioseg_cli", "init", *options]
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=other, stdout=other, stderr=other, start_new_session=True
        )
        os.close(other)
        self.seen = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._end)

    def answer(self, question: str, reply: str) -> None:
        """Wait for the words of a question, and type a reply."""
        asked = len(self.seen)
        while question not in " ".join(self.seen[asked:].split()):
            assert self._read(), self.seen
        os.write(self._end, f"{reply}\n".encode())

    def ends_with(self) -> int:
        """The exit status, when all is said."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def _read(self) -> bool:
        if not select.select([self._end], [], [], PATIENCE)[0]:
            return False
        try:
            part = os.read(self._end, 4096)
        except OSError:  # what Linux says when the other end is closed
            return False
        self.seen += part.decode()
        return bool(part)


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    folder = tmp_path / "plate"
    for name in ("images", "drawn"):
        (folder / name).mkdir(parents=True)
    for number in range(6):
        image, mask = discs(number)
        tifffile.imwrite(folder / "images" / f"t{number}.tif", image[0])
        if number < 3:
            Image.fromarray(mask).save(folder / "drawn" / f"t{number}.png")
    return folder


@pytest.fixture
def terminal(plate: Path) -> Iterator[Terminal]:
    with Terminal(plate) as opened:
        yield opened


def test_answers_become_settings_and_commands(plate: Path, terminal: Terminal) -> None:
    terminal.answer("Folder of the images (images)", "nowhere")
    terminal.answer("There is no folder nowhere", "")
    terminal.answer("there are none yet) (none)", "drawn")
    terminal.answer("understood rightly", "")
    terminal.answer("Names of the classes", "background,nucleus")
    terminal.answer("Minutes that the training may take (5)", "0")
    terminal.answer("A number above 0 is needed", "0.5")
    assert terminal.ends_with() == 0, terminal.seen
    assert yaml.safe_load((plate / "plate.yaml").read_text()) == {
        "images": "images", "masks": "drawn", "classes": ["background", "nucleus"], "out": "data/plate.h5",
    }  # fmt: skip
    assert "--minutes 0.5" in (plate / "plate.sh").read_text()
    assert "3 of 6 images have one" in terminal.seen and (plate / "plate.png").is_file()


def test_what_an_error_asks_for_is_asked(plate: Path, terminal: Terminal) -> None:
    (plate / "images" / "t9.tif").write_bytes(b"")
    for number in range(3):  # two values beside 0 that may be classes, or numbers of objects
        labels = discs(number)[1]
        labels[:2] = 2
        Image.fromarray(labels).save(plate / "drawn" / f"t{number}.png")
    terminal.answer("Folder of the images (images)", "")
    terminal.answer("there are none yet) (none)", "drawn")
    terminal.answer("Leave these files out and go on?", "y")
    terminal.answer("What do the values of the masks mean? [binary/instances/classes/colours]", "strange")
    terminal.answer("What do the values of the masks mean? [binary/instances/classes/colours]", "classes")
    terminal.answer("Names of the classes", "")
    terminal.answer("Minutes", "")
    assert terminal.ends_with() == 0, terminal.seen
    settings = yaml.safe_load((plate / "plate.yaml").read_text())
    assert settings["skip_bad"] is True and settings["masks_are"] == "classes"


def test_who_closes_the_input_stops_it(plate: Path, terminal: Terminal) -> None:
    terminal.answer("Folder of the images (images)", "")
    terminal.answer("there are none yet) (none)", "drawn")
    terminal.answer("understood rightly", "\x04")
    assert terminal.ends_with() == 130, terminal.seen
    assert "Stopped" in terminal.seen and sorted(path.name for path in plate.iterdir()) == ["drawn", "images"]


def test_who_stops_it_keeps_the_files_that_it_would_have_replaced(plate: Path) -> None:
    for suffix in (".yaml", ".sh", ".png"):
        (plate / f"plate{suffix}").write_text("earlier")
    with Terminal(plate, "--images", "images", "--masks", "drawn", "--overwrite") as terminal:
        terminal.answer("understood rightly", "\x04")
        assert terminal.ends_with() == 130, terminal.seen
    assert all((plate / f"plate{suffix}").read_text() == "earlier" for suffix in (".yaml", ".sh", ".png"))
