"""Settings from YAML and manifests: what is wrong is named with its key, its flag, and its file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from bioseg_cli.config import Config, build_config, flag_of, read_config, read_yaml
from bioseg_cli.errors import UsageError


class Settings(Config):
    command: ClassVar[str] = "train-x"

    inputs: tuple[Path, ...] = Field(min_length=1, json_schema_extra={"argument": True})
    batch_size: int = Field(default=2, ge=1)
    lr: float = 0.1
    loss: Literal["kl", "iid"] = "kl"
    few: str = Field(default="all", pattern=r"^(all|[1-9]\d*)$", description="Images: a number, or all.")

    @model_validator(mode="after")
    def _sensible(self) -> Settings:
        if self.lr > self.batch_size:
            raise ValueError("give a smaller --lr")
        return self


@pytest.fixture
def yaml_file(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "settings.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refusal(*arguments, where: Path | None = None) -> str:
    function = build_config if isinstance(arguments[0], type) else read_config
    with pytest.raises(UsageError) as caught:
        function(*arguments) if where is None else function(*arguments, source=where)
    return str(caught.value)


def test_settings_cannot_be_changed():
    settings = Settings(inputs=("a",))
    with pytest.raises(ValidationError, match="frozen"):
        settings.batch_size = 3


def test_yaml_gives_the_values_it_names(yaml_file):
    path = yaml_file("batch_size: 4\nlr: 1e-3\ninputs: [a.tif, b.tif]\n")
    settings = build_config(Settings, read_config(path, Settings))
    # YAML 1.1 takes 1e-3 for a text; the settings know that it is a number.
    assert (settings.batch_size, settings.lr) == (4, 0.001)
    assert settings.inputs == (Path("a.tif"), Path("b.tif"))


def test_an_unknown_key_is_named_with_its_file_and_the_known_ones(yaml_file):
    path = yaml_file("batchsize: 4\nlr: 0.1\nfoo: 1\n")
    message = refusal(path, Settings)
    assert "Unknown keys 'batchsize', 'foo'" in message
    assert str(path) in message
    assert "batch_size" in message


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"batch_size": 0}, "--batch-size: input should be greater than or equal to 1, got 0"),
        ({"batch_size": "many"}, "--batch-size: input should be a valid integer"),
        ({"loss": "mse"}, "--loss: input should be 'kl' or 'iid', got 'mse'"),
        ({"lr": 3, "batch_size": 1}, "give a smaller --lr"),
        ({"few": "0"}, "--few: '0' does not fit (Images: a number, or all)"),
        ({"typo": 1}, "Unknown key 'typo'"),
        ({"inputs": ()}, "INPUTS: "),
    ],
)
def test_a_wrong_value_is_named_by_its_flag(values, expected):
    message = refusal(Settings, {"inputs": ("a",), **values})
    assert expected in message
    assert "`bioseg train-x --help`" in message


def test_a_missing_positional_argument_is_called_as_the_help_calls_it():
    assert "INPUTS is needed" in refusal(Settings, {})


def test_every_problem_is_reported_at_once():
    message = refusal(Settings, {"inputs": ("a",), "batch_size": 0, "loss": "mse"})
    assert "--batch-size" in message
    assert "--loss" in message


def test_a_wrong_value_is_named_with_the_file_it_came_from(tmp_path: Path):
    assert str(tmp_path / "s.yaml") in refusal(Settings, {"lr": "x"}, where=tmp_path / "s.yaml")


def test_a_manifest_gives_the_settings_of_its_run(yaml_file):
    path = yaml_file("command: train-x\nstatus: finished\nconfig: {lr: 0.5, inputs: [a]}\nmetrics: {lr: 9}\n")
    assert read_config(path, Settings) == {"lr": 0.5, "inputs": ["a"]}


def test_a_manifest_of_another_command_is_refused(yaml_file):
    message = refusal(yaml_file("command: predict\nconfig: {lr: 0.5}\n"), Settings)
    assert "`bioseg predict`" in message
    assert "train-x" in message


def test_a_damaged_manifest_is_refused(yaml_file):
    assert "config is not a mapping" in refusal(yaml_file("command: train-x\nconfig:\n"), Settings)


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text", "", "1: 2\n"])
def test_yaml_that_is_no_mapping_of_names_is_refused(yaml_file, text):
    with pytest.raises(UsageError, match="not a YAML mapping"):
        read_yaml(yaml_file(text))


def test_broken_yaml_is_refused_with_the_place(yaml_file):
    with pytest.raises(UsageError, match=r"not valid YAML.*line 2"):
        read_yaml(yaml_file("a: [1,\nb: {"))


def test_yaml_never_runs_code(yaml_file, tmp_path: Path):
    witness = tmp_path / "witness"
    with pytest.raises(UsageError, match="not valid YAML"):
        read_yaml(yaml_file(f"a: !!python/object/apply:os.mkdir ['{witness}']\n"))
    assert not witness.exists()


def test_a_missing_or_binary_file_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match="could not be read") as caught:
        read_yaml(tmp_path / "none.yaml")
    assert "none.yaml" in str(caught.value)
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="could not be read"):
        read_yaml(tmp_path / "b.yaml")


def test_flags_are_fields_with_dashes():
    assert flag_of("batch_size") == "--batch-size"
