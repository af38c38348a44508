"""`bioseg predict --objects`: the files of objects agree with each other and with the mask, and go with the record."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
import tifffile
from click.testing import Result
from conftest import discs
from helpers.models import record_of, save_random_model, write_image

from bioseg_cli.annotations.geojson import annotation
from bioseg_cli.annotations.raster import covered
from bioseg_cli.io.images import inspect_image
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.masks.mask_file import read_mask

pytestmark = pytest.mark.slow

Bioseg = Callable[..., Result]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def files(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def tables(out: Path) -> list[str]:
    return sorted(path.name for path in out.glob("objects*"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images" / "a").mkdir(parents=True)
    for name, number in (("t1", 101), ("t2", 102), ("a/t1", 103)):
        write_image(tmp_path / "images" / f"{name}.tif", discs(number)[0][0])
    return tmp_path / "images"


@pytest.fixture
def predict(bioseg: Bioseg) -> Callable[..., dict[str, Any]]:
    def run(*arguments: object) -> dict[str, Any]:
        result = bioseg("predict", *arguments, "--json")
        assert result.exit_code == 0, result.output
        document: dict[str, Any] = json.loads(result.stdout)
        return document

    return run


def test_all_files_of_an_image_hold_the_same_objects(
    predict: Callable[..., dict[str, Any]], disc_run: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    document = predict(disc_run, images / "t1.tif", images / "t2.tif", "--out", out, "--objects")
    assert [entry["outputs"] for entry in document["files"]] == [
        [f"{name}.tif", *(f"objects/{name}.{suffix}" for suffix in ("tif", "csv", "zip", "geojson"))]
        for name in ("t1", "t2")
    ]
    joined = rows_of(out / "objects.csv")
    assert joined == [*rows_of(out / "objects" / "t1.csv"), *rows_of(out / "objects" / "t2.csv")]
    for entry in document["files"]:
        name = entry["name"]
        labels = tifffile.imread(out / "objects" / f"{name}.tif")
        assert labels.dtype == np.uint16 and labels.max() == entry["objects"]["cell"] > 0
        assert inspect_image(out / "objects" / f"{name}.tif").pixel_size == PixelSize(0.5, 0.5)
        mask = read_mask(out / f"{name}.tif")
        assert (mask[labels > 0] == 1).all() and np.count_nonzero(mask[labels == 0]) < 16
        pixels = tifffile.imread(images / f"{name}.tif")
        rows = [row for row in joined if row["image"] == name]
        assert [int(row["object"]) for row in rows] == list(range(1, labels.max() + 1))
        for row in rows:
            inside = labels == int(row["object"])
            assert int(row["pixels"]) == inside.sum() and float(row["area_um2"]) == inside.sum() / 4
            assert float(row["intensity_mean_c1"]) == pytest.approx(pixels[inside].mean())
            assert int(row["intensity_max_c1"]) == pixels[inside].max() and row["class"] == "cell"
        path = out / "objects" / f"{name}.geojson"
        drawn = np.zeros_like(labels)
        for number, shape in enumerate(annotation(path, json.loads(path.read_text())).shapes, 1):
            area = covered(shape.area, *labels.shape)
            drawn[area.rows, area.columns][area.inside] = number
        np.testing.assert_array_equal(drawn, labels)
        assert len(roifile.roiread(path.with_suffix(".zip"))) == labels.max()


def test_objects_do_not_depend_on_what_else_is_written_or_on_tiles(
    predict: Callable[..., dict[str, Any]], model: Path, tmp_path: Path
) -> None:
    write_image(tmp_path / "large.tif", discs(5, 150)[0][0])
    for name, options in (("a", ()), ("b", ("--overlay", "--probabilities", "--tile", 128))):
        predict(model, tmp_path / "large.tif", "--out", tmp_path / name, "--objects", "--precision", "fp32", *options)
    for suffix in ("tif", "csv", "geojson"):
        first, second = (tmp_path / name / "objects" / f"large.{suffix}" for name in "ab")
        assert first.read_bytes() == second.read_bytes()
    assert (tmp_path / "b" / "overlays" / "large.png").is_file()


def test_only_the_formats_that_were_asked_for_are_written(
    predict: Callable[..., dict[str, Any]], model: Path, images: Path, tmp_path: Path
) -> None:
    given = ("--out", tmp_path / "out", "--objects", "--objects-format")
    predict(model, images / "t1.tif", *given, "rois,labels")
    assert files(tmp_path / "out") == {"predictions.yaml", "t1.tif", "objects/t1.tif", "objects/t1.zip"}
    predict(model, images / "t1.tif", *given, "table", "--overwrite")
    assert files(tmp_path / "out") == {"predictions.yaml", "t1.tif", "objects/t1.csv", "objects.csv"}
    predict(model, images / "t1.tif", "--out", tmp_path / "out", "--overwrite")
    assert files(tmp_path / "out") == {"predictions.yaml", "t1.tif"}


def test_objects_of_frames_are_numbered_on_and_say_their_frame(
    predict: Callable[..., dict[str, Any]], disc_run: Path, tmp_path: Path
) -> None:
    movie = np.stack([discs(number)[0][0] for number in (101, 102, 103)])
    write_image(tmp_path / "movie.tif", movie, axes="TYX")
    predict(disc_run, tmp_path / "movie.tif", "--out", tmp_path / "out", "--objects")
    labels = tifffile.imread(tmp_path / "out" / "objects" / "movie.tif")
    assert labels.shape == movie.shape
    rows = rows_of(tmp_path / "out" / "objects.csv")
    for row in rows:
        (frames,) = np.nonzero((labels == int(row["object"])).any(axis=(1, 2)))
        assert frames.tolist() == [int(row["frame"])]
    path = tmp_path / "out" / "objects" / "movie.geojson"
    shapes = annotation(path, json.loads(path.read_text())).shapes
    assert [shape.frame for shape in shapes] == [int(row["frame"]) for row in rows]
    assert {*map(int, np.unique(labels))} == {0, *(int(row["object"]) for row in rows)}


def test_what_is_done_is_skipped_and_stays_in_the_table(
    predict: Callable[..., dict[str, Any]], model: Path, images: Path, tmp_path: Path
) -> None:
    given = (model, images, "--recursive", "--out", tmp_path / "out", "--skip-existing", "--objects")
    assert predict(*given)["counts"]["predicted"] == 3
    first = (tmp_path / "out" / "objects.csv").read_text()
    assert {row["image"] for row in rows_of(tmp_path / "out" / "objects.csv")} == {"t1", "t2", "a/t1"}
    (tmp_path / "out" / "objects" / "t2.zip").unlink()
    (tmp_path / "out" / "objects.csv").unlink()
    counts = predict(*given)["counts"]
    assert (counts["skipped"], counts["predicted_again"]) == (2, 1)
    assert (tmp_path / "out" / "objects.csv").read_text() == first
    assert (tmp_path / "out" / "objects" / "t2.zip").is_file()
    assert predict(*given[:-1])["counts"]["predicted_again"] == 3
    assert not any((tmp_path / "out" / "objects").rglob("*.*")) and tables(tmp_path / "out") == ["objects"]


def test_other_rules_make_other_objects(
    predict: Callable[..., dict[str, Any]], disc_run: Path, images: Path, tmp_path: Path
) -> None:
    given = (disc_run, images / "t1.tif", "--out", tmp_path / "out", "--skip-existing", "--objects")
    assert len(predict(*given)["object_rules"]) == 1
    assert predict(*given)["counts"]["skipped"] == 1
    record = (tmp_path / "out" / "predictions.yaml").read_text()
    changed = record.replace("  seed_height: ", "  seed_height: 3")
    assert changed != record
    (tmp_path / "out" / "predictions.yaml").write_text(changed)
    assert predict(*given)["counts"]["predicted_again"] == 1


def test_parts_have_tables_of_their_own_until_they_are_joined(
    predict: Callable[..., dict[str, Any]], model: Path, images: Path, tmp_path: Path
) -> None:
    given = (model, images, "--recursive", "--out", tmp_path / "out", "--objects")
    for part in ("1/2", "2/2"):
        predict(*given, "--part", part)
    assert tables(tmp_path / "out") == ["objects", "objects-1-2.csv", "objects-2-2.csv"]
    parts = [row for part in (1, 2) for row in rows_of(tmp_path / "out" / f"objects-{part}-2.csv")]
    assert predict(*given, "--skip-existing")["counts"]["skipped"] == 3
    assert tables(tmp_path / "out") == ["objects", "objects.csv"]
    joined = rows_of(tmp_path / "out" / "objects.csv")
    assert sorted(map(str, joined)) == sorted(map(str, parts))


def test_several_processes_write_what_one_does(
    predict: Callable[..., dict[str, Any]], disc_run: Path, images: Path, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    for name, jobs in (("a", 1), ("b", 2)):
        predict(disc_run, images, "--recursive", "--out", tmp_path / name, "--objects", "--jobs", jobs)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    for name in files(tmp_path / "a") - {"predictions.yaml"}:
        if not name.endswith(".zip"):  # their entries have the time
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert record_of(tmp_path / "a")["object_rules"] == record_of(tmp_path / "b")["object_rules"]


def test_an_image_that_fails_leaves_no_objects(bioseg: Bioseg, model: Path, images: Path, tmp_path: Path) -> None:
    (images / "t2.tif").write_bytes(b"no image")
    result = bioseg("predict", model, images, "--out", tmp_path / "out", "--objects")
    assert result.exit_code == 1
    assert {row["image"] for row in rows_of(tmp_path / "out" / "objects.csv")} == {"t1"}
    assert not [name for name in files(tmp_path / "out") if "t2" in name]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--objects-format", "rois"), "give --objects too"),
        (("--objects", "--objects-format", "excel"), "'excel' (known: labels, table, parquet, rois, geojson)"),
        (("--objects", "--objects-format", "parquet"), "so name both"),
        (("--objects", "--raw-clusters"), "gives no classes"),
    ],
)
def test_options_that_do_not_go_together(
    bioseg: Bioseg, model: Path, images: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    result = bioseg("predict", model, images, "--out", tmp_path / "out", *options)
    assert result.exit_code == 2 and words in " ".join(result.output.split())


def test_parquet_is_refused_before_the_prediction_where_nothing_writes_it(
    bioseg: Bioseg, model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    given = ("--out", tmp_path / "out", "--objects", "--objects-format", "table,parquet")
    result = bioseg("predict", model, images, *given)
    assert result.exit_code == 2 and "pip install 'bioseg[tables]'" in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def test_volumes_have_no_objects(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint16), np.eye(4)).to_filename(tmp_path / "v.nii.gz")
    result = bioseg("predict", model, tmp_path / "v.nii.gz", "--out", tmp_path / "out", "--objects")
    assert result.exit_code == 2 and "Objects are written for images, not for volumes" in result.output
