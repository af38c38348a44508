"""Commands made of settings: flags against YAML, JSON on standard output, errors and exit codes."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
import typer
from click.testing import Result
from pydantic import Field
from typer.testing import CliRunner

from bioseg_cli.cli.app import app
from bioseg_cli.cli.binding import bind
from bioseg_cli.config import Config, Names, flag_of
from bioseg_cli.errors import BiosegError, DataError, Interrupted, PartialFailure, RunError, UsageError
from bioseg_cli.evaluation.settings import EvaluateConfig
from bioseg_cli.init.settings import InitConfig
from bioseg_cli.prediction.settings import PredictConfig
from bioseg_cli.runs.output import Output
from bioseg_cli.training.iic_settings import TrainIICConfig
from bioseg_cli.training.uda_settings import TrainUDAConfig


class Settings(Config):
    command: ClassVar[str] = "work"

    data: Path | None = Field(default=None, json_schema_extra={"argument": "also"}, description="What to work on.")
    inputs: tuple[Path, ...] = Field(default=(), json_schema_extra={"argument": True})
    size: int = Field(default=3, ge=1, description="How large.")
    loss: Literal["kl", "iid"] = "kl"
    stop: bool = True
    near: bool = Field(default=True, json_schema_extra={"off": "far_off"}, description="How far.")
    shares: tuple[float, ...] = ()
    names: Names = ()


class Bound:
    """A command that records its settings and does what it is told to."""

    def __init__(self) -> None:
        self.config: Settings | None = None
        self.overwrite: bool | None = None
        self.action = lambda output: None
        self.app = typer.Typer(pretty_exceptions_enable=False)
        self.app.callback()(lambda: None)
        bind(self.app, Settings, self.work, name="work")

    def work(self, config: Settings, output: Output, overwrite: bool) -> None:
        """Do some work."""
        self.config, self.overwrite = config, overwrite
        self.action(output)

    def __call__(self, *arguments: object) -> Result:
        return CliRunner().invoke(self.app, ["work", *map(str, arguments)])

    def settings(self, *arguments: object) -> Settings:
        result = self(*arguments)
        assert result.exit_code == 0, result.output
        assert self.config is not None
        return self.config

    def fail(self, error: BaseException, *arguments: object) -> Result:
        def action(output: Output) -> None:
            raise error

        self.action = action
        return self(*arguments)


WITH_PANELS = (InitConfig, TrainUDAConfig, TrainIICConfig, EvaluateConfig, PredictConfig)


@pytest.mark.parametrize("model", WITH_PANELS)
def test_every_option_of_a_command_with_panels_is_in_one(model: type[Config]) -> None:
    listed = [field for fields in model.panels.values() for field in fields]
    options = {
        name
        for name, field in model.model_fields.items()
        if not (isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("argument") is True)
    }
    assert len(listed) == len(set(listed))
    assert set(listed) == options, "add new settings to `panels` of their class"


def help_of(command: str, width: int) -> list[str]:
    result = CliRunner(env={"COLUMNS": str(width)}).invoke(app, [command, "--help"])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


@pytest.mark.parametrize("width", [50, 80, 200])
@pytest.mark.parametrize("model", WITH_PANELS)
def test_the_help_cuts_no_name_short_and_has_the_panels_in_order(model: type[Config], width: int) -> None:
    lines = help_of(model.command, width)
    assert max(map(len, lines)) <= min(width, 100)
    assert "…" not in "".join(lines)
    titles = [line.split(" ─")[0].removeprefix("╭─ ") for line in lines if line.startswith("╭─ ")]
    arguments = [] if model is InitConfig else ["Arguments"]
    assert titles == [*arguments, *model.panels, "Shared by all commands"]
    flags = [match.group() for line in lines if (match := re.search(r"(?<=^│ )--[a-z-]+", line))]
    declared = [flag_of(field) for fields in model.panels.values() for field in fields]
    assert flags == [*declared, "--config", "--json", "--quiet", "--overwrite", "--debug"]


def test_the_help_says_what_an_option_takes_and_does() -> None:
    lines = help_of("train-uda", 80)
    place = lines.index(next(line for line in lines if "--unsup-loss <kl|iid|fixmatch|none|NAME>" in line))
    words = " ".join(line.strip("│ ") for line in lines[place + 1 : place + 4])
    assert words.startswith("Consistency loss of the unlabelled images: KL divergence (kl), IIC's mutual")
    text = "\n".join(lines)
    assert "│ --dice-squared / --no-dice-squared   " in text and "│ --width <int>   " in text
    assert "│ -h, --help   " in text and "--config <path>" in text
    assert "--axes <str>" in "\n".join(help_of("predict", 80))
    assert "--views <str,str,...>" in "\n".join(help_of("train-iic", 80))


def test_commands_stand_in_the_order_of_the_work_and_show_a_call_that_they_accept() -> None:
    group = typer.main.get_command(app)
    names = group.list_commands(None)
    assert names[:2] == ["init", "prepare"] and names.index("train-uda") < names.index("predict") < names.index(
        "evaluate"
    )
    commands = {name: group.get_command(None, name) for name in names if name != "prepare"}
    prepare = group.get_command(None, "prepare")
    commands |= {f"prepare {name}": prepare.get_command(None, name) for name in prepare.commands}
    for name, command in commands.items():
        shown = command.epilog.removeprefix(f"Example: bioseg {name} ")
        assert shown != command.epilog, name
        # An option or a value that the command does not know ends with an error.
        command.make_context(name, shlex.split(shown))
    assert f"\n{commands['predict'].epilog}" in "\n".join(help_of("predict", 80))


@pytest.fixture
def bound() -> Bound:
    return Bound()


@pytest.fixture
def yaml_file(tmp_path: Path) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text("size: 7\nloss: iid\nstop: false\nshares: [0.5]\ndata: from-yaml\n")
    return path


def test_fields_are_flags_and_defaults_hold_without_them(bound):
    given = bound.settings("--size", 5, "--loss", "iid", "--no-stop", "--shares", 0.1, "--shares", 0.2)
    assert (given.size, given.loss, given.stop, given.shares) == (5, "iid", False, (0.1, 0.2))
    assert bound.settings() == Settings()


def test_a_switch_may_have_a_name_for_its_other_side(bound):
    assert bound.settings("--near").near is True
    assert bound.settings("--far-off").near is False
    assert bound("--no-near").exit_code == 2
    assert "Default: near." in CliRunner(env={"COLUMNS": "160"}).invoke(bound.app, ["work", "--help"]).stdout


def test_yaml_replaces_defaults_and_a_flag_replaces_yaml(bound, yaml_file):
    assert bound.settings("--config", yaml_file).size == 7
    given = bound.settings("--config", yaml_file, "--size", 3, "--stop", "--shares", 0.9)
    assert (given.size, given.stop, given.shares) == (3, True, (0.9,))  # even where the flag repeats the default
    assert given.loss == "iid"


def test_an_argument_replaces_yaml(bound, yaml_file):
    assert bound.settings("here", "--config", yaml_file).data == Path("here")


def test_a_field_may_be_given_as_argument_or_option(bound):
    assert bound.settings("here").data == bound.settings("--data", "here").data == Path("here")


def test_a_field_given_as_argument_and_as_option_is_refused(bound):
    result = bound("here", "--data", "there")
    assert result.exit_code == 2
    assert "DATA was given twice, as an argument and as --data" in result.stderr


def test_several_arguments_are_collected(bound):
    assert bound.settings("d", "a", "b").inputs == (Path("a"), Path("b"))


def test_overwrite_is_off_unless_given(bound):
    bound.settings()
    assert bound.overwrite is False
    bound.settings("--overwrite")
    assert bound.overwrite is True


def test_an_unknown_key_is_named_and_exits_with_2(bound, tmp_path):
    (tmp_path / "s.yaml").write_text("sise: 7\n")
    result = bound("--config", tmp_path / "s.yaml")
    assert result.exit_code == 2
    assert "Unknown key 'sise'" in result.stderr
    assert "s.yaml" in result.stderr
    assert bound.config is None


def test_a_manifest_of_another_command_is_refused(bound, tmp_path):
    (tmp_path / "manifest.yaml").write_text("command: predict\nconfig: {}\n")
    result = bound("--config", tmp_path / "manifest.yaml")
    assert result.exit_code == 2
    assert "`bioseg predict`" in result.stderr


@pytest.mark.parametrize("arguments", [("--size", 0), ("--size", "x"), ("--loss", "mse"), ("--nonsense",)])
def test_wrong_usage_exits_with_2_and_names_the_flag(bound, arguments):
    result = bound(*arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [(PartialFailure, 1), (UsageError, 2), (DataError, 3), (RunError, 4), (Interrupted, 130)],
)
def test_each_kind_of_error_has_its_exit_code(bound, error: type[BiosegError], code: int):
    result = bound.fail(error("It broke", where="x.tif", fix="Mend it."))
    assert result.exit_code == code
    assert result.stderr == "Error: It broke\nin x.tif\nMend it.\n"
    assert result.stdout == ""


def test_ctrl_c_exits_with_130(bound):
    assert bound.fail(KeyboardInterrupt()).exit_code == 130


def test_an_unexpected_error_is_said_in_two_lines_and_exits_with_4(bound):
    result = bound.fail(ZeroDivisionError("a\nvery long\nstory " + "x" * 1000))
    assert result.exit_code == 4
    assert "Traceback" not in result.stderr
    assert "ZeroDivisionError: a very long story" in result.stderr
    assert "--debug" in result.stderr
    assert len(result.stderr.splitlines()) == 2


def test_debug_shows_where_an_unexpected_error_happened(bound):
    result = bound.fail(ZeroDivisionError("why"), "--debug")
    assert "Traceback" in result.stderr
    assert "in work" in result.stderr
    assert result.exit_code == 4


def test_json_prints_one_document_and_nothing_else(bound):
    def action(output: Output) -> None:
        output.say("remark")
        output.show("table")
        list(output.track(range(3), "steps", 3))
        output.result({"iou": np.float32(0.5), "path": Path("a"), "count": np.int64(3), "none": None})

    bound.action = action
    result = bound("--json")
    assert json.loads(result.stdout) == {"iou": 0.5, "path": "a", "count": 3, "none": None}
    assert "remark" in result.stderr
    assert "table" not in result.output
    assert bound().stdout == "table\n"


def test_markup_in_an_error_is_shown_as_it_is(bound):
    result = bound.fail(DataError("No such file", where="img[1][/bold]:cat:.tif"))
    assert "in img[1][/bold]:cat:.tif" in result.stderr


def test_help_tells_of_every_option_with_its_default(bound):
    text = CliRunner(env={"COLUMNS": "160"}).invoke(bound.app, ["work", "--help"]).stdout
    expected = (
        "Do some work.",
        "DATA",
        "--data",
        "--size",
        "How large. Default: 3.",
        "--no-stop",
        "Default: on.",
        "<str,str,...>",
        "--json",
    )
    assert [words for words in expected if words not in text] == []


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from bioseg_cli.cli.app import app;"
        "result = CliRunner().invoke(app, ['--help']); assert result.exit_code == 0, result.output;"
        "print(sorted({'torch', 'matplotlib', 'numpy', 'scipy', 'h5py', 'skimage'} & set(sys.modules)))"
    )
    done = python(code)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_reader_of_a_pipe_may_leave():
    code = """
import os, sys
from bioseg_cli.cli import binding
from bioseg_cli.runs.console import ConsoleOutput
from bioseg_cli.runs.output import Output
read, write = os.pipe()
os.close(read)
os.dup2(write, 1)
import typer
try:
    with binding._errors_shown({}, debug=False):
        ConsoleOutput().show("x")
        sys.stdout.flush()
except typer.Exit as stop:
    sys.exit(stop.exit_code)
"""
    done = python(code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_shown(shell: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    done = subprocess.run(
        [sys.executable, "-m", "bioseg_cli", "--show-completion", shell], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "_COMPLETE" in done.stdout


def test_completion_offers_the_commands(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("_BIOSEG_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "bioseg train")
    monkeypatch.setenv("COMP_CWORD", "1")
    done = python("import sys; sys.argv = ['bioseg']; from bioseg_cli.cli.app import main; main()")
    assert "train-uda" in done.stdout.split()


def test_completion_installs_into_an_empty_home(tmp_path):
    done = subprocess.run(
        ["bash", "-c", f"{Path(sys.executable).parent}/bioseg --install-completion; exit $?"],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "bash_completions" in (tmp_path / ".bashrc").read_text()
    assert [path.name for path in (tmp_path / ".bash_completions").iterdir()] == ["bioseg.sh"]
