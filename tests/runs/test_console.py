"""What a command says: plain lines without a terminal, and nothing where nothing was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from rich.table import Table
from rich.text import Text

from bioseg_cli.runs import console
from bioseg_cli.runs.console import ConsoleOutput
from bioseg_cli.runs.output import clock

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock that the test sets."""
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    yield now


def test_remarks_go_to_standard_error_as_stamped_lines(capsys):
    ConsoleOutput().say("read 3 files")
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(STAMP + "read 3 files\n", err)


def test_long_remarks_stay_on_one_line(capsys):
    ConsoleOutput().say("word " * 100)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_quiet_drops_remarks_and_progress_but_not_warnings_and_results(capsys, seconds):
    output = ConsoleOutput(quiet=True)
    output.say("remark")
    for _ in output.track(range(3), "steps", 3):
        seconds[0] += 60
    output.warn("look here")
    output.show("result")
    out, err = capsys.readouterr()
    assert out == "result\n"
    assert re.fullmatch(STAMP + "Warning: look here\n", err)


def test_brackets_and_colons_are_text(capsys):
    output = ConsoleOutput()
    output.say("[bold]a[/bold] [/x] :cat:")
    table = Table("file")
    table.add_row("img[a][/b] :cat:.tif")
    output.show(table)
    out, err = capsys.readouterr()
    assert "[bold]a[/bold] [/x] :cat:" in err
    assert "img[a][/b] :cat:.tif" in out


def test_what_a_terminal_would_obey_is_shown_as_escapes(capsys):
    output = ConsoleOutput()
    name = "a\x1b[2Jb\x9bc\udcff.tif"
    output.say(f"read {name}\n")
    table = Table("file", title=name)
    table.add_row(name)
    output.show(table)
    output.show(Text(f"picture {name}\nnext line"))
    out, err = capsys.readouterr()
    shown = "a\\x1b[2Jb\\x9bc\\udcff.tif"
    assert err.endswith(f"read {shown}\\n\n") and len(err.splitlines()) == 1
    assert out.count(shown) == 3 and out.endswith("\nnext line\n") and "\x1b" not in out and "\x9b" not in out


def test_a_table_in_a_pipe_is_not_folded_at_eighty_columns(capsys):
    table = Table("class", "value")
    table.add_row("c" * 120, "1")
    ConsoleOutput().show(table)
    assert "c" * 120 in capsys.readouterr().out


def test_json_replaces_what_is_shown(capsys):
    output = ConsoleOutput(as_json=True)
    output.show("table")
    output.result({"a": [1, None], "b": {"c": 0.5}})
    assert json.loads(capsys.readouterr().out) == {"a": [1, None], "b": {"c": 0.5}}


def test_without_json_a_result_document_is_not_printed(capsys):
    ConsoleOutput().result({"a": 1})
    assert capsys.readouterr().out == ""


def test_what_json_cannot_say_is_an_error_and_not_a_text():
    output = ConsoleOutput(as_json=True)
    with pytest.raises(TypeError, match="set has no form in JSON"):
        output.result({"a": {1, 2}})
    with pytest.raises(ValueError, match="JSON"):
        output.result({"a": float("nan")})


def test_tracking_yields_everything_in_order():
    assert list(ConsoleOutput().track(iter("abc"), "letters", 3)) == ["a", "b", "c"]


def test_progress_without_a_terminal_is_a_line_now_and_then(capsys, seconds):
    with ConsoleOutput().progress("train", 100) as progress:
        for _ in range(50):
            seconds[0] += 1
            progress.advance(note="loss 0.5")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert re.fullmatch(STAMP + r"train 10/100, 1:30 left, loss 0\.5", lines[0])
    assert "train 50/100, 0:50 left" in lines[-1]


def test_quick_work_writes_no_progress_at_all(capsys, seconds):
    list(ConsoleOutput().track(range(5), "steps", 5))
    assert capsys.readouterr().err == ""


def test_time_left_counts_only_what_this_session_did(capsys, seconds):
    with ConsoleOutput().progress("train", 100, done=80) as progress:
        seconds[0] += 20
        progress.advance(10)
    assert "train 90/100, 0:20 left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("duration", "shown"), [(0, "0:00"), (59.6, "1:00"), (125, "2:05"), (3599.7, "1:00:00"), (3723, "1:02:03")]
)
def test_durations_read_as_a_clock(duration, shown):
    assert clock(duration) == shown
