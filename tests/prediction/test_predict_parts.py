"""Job arrays: parts of a prediction in one folder, night after night, while the images and the model change."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from conftest import discs
from helpers.models import save_random_model, write_image

from bioseg_cli.prediction.record_file import RecordFile

pytestmark = pytest.mark.slow

Bioseg = Callable[..., Result]
PARTS = ("1/3", "2/3", "3/3")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_random_model(tmp_path / "model.safetensors")


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    return save_random_model(tmp_path / "other.safetensors", norm="group")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """12 images."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(12):
        write_image(folder / f"t{number}.tif", discs(number)[0][0])
    return folder


@pytest.fixture
def predict(bioseg: Bioseg, images: Path, tmp_path: Path) -> Callable[..., Result]:
    """Predict the images into one folder."""

    def run(model: Path, *options: str) -> Result:
        return bioseg("predict", model, images, "--out", tmp_path / "out", "--precision", "fp32", *options)

    return run


def recorded(out: Path) -> Counter[str]:
    """How many records name each mask."""
    return Counter(
        entry["outputs"][0]
        for path in out.glob("predictions*.yaml")
        for entry in yaml.safe_load(path.read_text())["files"]
    )


def masks(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("*.tif")}


@pytest.mark.parametrize("option", ["--overwrite", "--skip-existing"])
def test_a_longer_list_takes_no_mask_from_another_part(
    predict: Callable[..., Result], model: Path, other_model: Path, images: Path, tmp_path: Path, option: str
) -> None:
    out = tmp_path / "out"
    for part in PARTS:
        assert predict(model, "--part", part).exit_code == 0
    before = masks(out)
    write_image(images / "a.tif", discs(50)[0][0])  # before all others in the list
    for part in PARTS:
        result = predict(other_model, "--part", part, option)
        assert result.exit_code == 0, result.output
    assert recorded(out) == dict.fromkeys(("a.tif", *before), 1)
    after = masks(out)
    assert len(after) == 13 and not any(before[name] == after[name] for name in before)


def test_what_an_array_has_done_is_brought_together_and_not_predicted_again(
    predict: Callable[..., Result], model: Path, other_model: Path, tmp_path: Path
) -> None:
    for each in (model, other_model):
        for part in PARTS:
            assert predict(each, "--skip-existing", "--part", part).exit_code == 0
        result = predict(each, "--skip-existing")
        assert "0 predicted, 0 predicted again, 12 skipped" in result.stdout
        assert recorded(tmp_path / "out") == {f"t{number}.tif": 1 for number in range(12)}


def test_masks_of_two_models_are_not_scored_together(
    bioseg: Bioseg, predict: Callable[..., Result], model: Path, other_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert predict(model).exit_code == 0
    shutil.copytree(out, truth := tmp_path / "truth", ignore=shutil.ignore_patterns("*.yaml"))
    score = ("evaluate", "--predictions", out, "--truth", truth, "--masks-are", "classes")
    assert bioseg(*score).exit_code == 0
    assert predict(other_model, "--skip-existing", "--part", "1/2").exit_code == 0
    refused = bioseg(*score)
    assert refused.exit_code == 3 and "The masks are of 2 models" in refused.stderr
    assert predict(other_model, "--skip-existing", "--part", "2/2").exit_code == 0
    assert bioseg(*score).exit_code == 0


@pytest.mark.parametrize("option", ["--overwrite", "--skip-existing"])
def test_a_folder_holds_the_parts_of_one_division(predict: Callable[..., Result], model: Path, option: str) -> None:
    assert predict(model, "--part", "1/3").exit_code == 0
    refused = predict(model, "--part", "1/2", option)
    assert refused.exit_code == 2 and "predictions-1-3.yaml" in refused.stderr
    assert predict(model, "--skip-existing").exit_code == 0
    assert "0 predicted, 0 predicted again" in predict(model, "--part", "1/2", option, "--skip-existing").stdout


@pytest.mark.parametrize("options", [("--part", "1/1"), ("--part", "1/1", "--skip-existing"), ("--skip-existing",)])
def test_a_mask_that_no_record_names_is_not_replaced_unasked(
    predict: Callable[..., Result], model: Path, images: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    if options[-1] == "--skip-existing":
        (hidden := images / "t3.tif").rename(tmp_path / "t3.tif")
        assert predict(model, *options).exit_code == 0
        (tmp_path / "t3.tif").rename(hidden)
    out.mkdir(exist_ok=True)
    (out / "t3.tif").write_text("drawn by hand")
    refused = predict(model, *options)
    assert refused.exit_code == 2 and str(out / "t3.tif") in "".join(refused.stderr.split("\n"))
    assert (out / "t3.tif").read_text() == "drawn by hand"
    assert predict(model, *options, "--overwrite").exit_code == 0
    assert (out / "t3.tif").read_bytes()[:2] == b"II"


@pytest.mark.parametrize("part", [(), ("--part", "1/1")])
def test_masks_of_a_prediction_that_was_killed_before_it_recorded_them_are_replaced(
    predict: Callable[..., Result], model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part: tuple[str, ...]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(RecordFile, "keep_up", lambda self: None)
        patch.setattr(RecordFile, "end", lambda self, status: self.record())
        assert predict(model, *part).exit_code == 0
    assert len(masks(tmp_path / "out")) == 12 and not recorded(tmp_path / "out")
    result = predict(model, *part, "--skip-existing")
    assert "12 predicted, 0 predicted again, 0 skipped" in result.stdout
