"""What a program writes when its streams are missing, full or read by nobody, and what libraries write into them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bioseg_cli.runs.streams import Unheeded, let_go

PREPARED = "from bioseg_cli.runs.streams import prepare_streams; prepare_streams();"


def run(code: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", PREPARED + code], capture_output=True, check=True)


@pytest.mark.parametrize(
    "code",
    [
        "import warnings; warnings.warn('a\\x1b]0;x\\x07\\n\\x9b1m\\udce9', stacklevel=2)",
        "import logging; logging.getLogger('x').warning('a%s', '\\x1b]0;x\\x07\\n\\x9b1m\\udce9')",
    ],
)
def test_what_libraries_say_reaches_no_terminal_as_a_command(code: str):
    said = run(code).stderr.decode()
    assert "a\\x1b]0;x\\x07\n\\x9b1m\\udce9" in said
    assert not {"\x1b", "\x07", "\x9b"} & set(said)


@pytest.mark.skipif(os.name == "nt", reason="descriptors of POSIX")
def test_closed_streams_are_opened_again(tmp_path: Path):
    code = "import os, sys; f = open(sys.argv[1], 'w'); print('lost'); os.write(1, b'lost'); print(f.fileno(), file=f)"
    command = [sys.executable, "-c", PREPARED + code, str(tmp_path / "x")]
    closing = "import os, sys; [os.close(n) for n in (0, 1, 2)]; os.execv(sys.argv[1], sys.argv[1:])"
    subprocess.run([sys.executable, "-c", closing, *command], check=True)
    assert int((tmp_path / "x").read_text()) > 2


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_a_stream_that_nobody_reads_swallows_what_is_written():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1) as stream:
        unheeded = Unheeded(stream)
        for _ in range(3):
            assert unheeded.write("a line\n") == 7
            unheeded.flush()
        assert unheeded.isatty() is False


def test_a_stream_that_is_read_is_written_as_it_is():
    stream = io.StringIO()
    unheeded = Unheeded(stream)
    unheeded.write("a\n")
    unheeded.flush()
    assert stream.getvalue() == "a\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_what_is_let_go_leaves_nothing_in_the_buffer():
    with Path("/dev/full").open("w") as stream:
        stream.write("never written")
        let_go(stream)
        stream.write("nor this")
