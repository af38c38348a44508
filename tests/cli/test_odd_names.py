"""Files with names that are no text, look alike, or hold what a terminal obeys: through all commands, losslessly."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from click.testing import Result
from conftest import discs

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.masks.mask_file import read_mask

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux alone"),
    pytest.mark.slow,
]

NAMES = [
    b"caf\xe9_1",  # Latin-1
    unicodedata.normalize("NFD", "zäh_2").encode(),
    unicodedata.normalize("NFC", "zäh_3").encode(),
    b"line\nbreak_4",
    b"\x1b[31mred_5",
    b"[red]bold[blink]_6",
    b"-rf 100% #7",
    b"a$x$ \\frac_8",
    "\u202egpj.細胞 µ_9".encode(),
    b"n" * 240 + b"_10",
]
PROGRAM = """
import json, sys
from bioseg_cli.cli.app import main
for arguments in json.loads(sys.stdin.read()):
    sys.argv = ["bioseg", *arguments]
    try:
        main()
    except SystemExit as end:
        if end.code:
            sys.exit(f"{arguments}: {end.code}")
"""


def name_of(raw: bytes) -> str:
    return os.fsdecode(raw)


def run_all(commands: list[list[str]], cwd: Path, encoding: str) -> subprocess.CompletedProcess[bytes]:
    """Run commands one after the other in a process whose standard output knows few characters."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "LC_ALL": "C", "COLUMNS": "200"}
    program, given = [sys.executable, "-c", PROGRAM], json.dumps(commands).encode()
    return subprocess.run(program, input=given, cwd=cwd, env=environment, capture_output=True, check=False)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A folder in which all commands worked on such names, and what they said."""
    folder = tmp_path_factory.mktemp("odd")
    for part in ("images", "masks", "truth"):
        (folder / part).mkdir()
    for number, raw in enumerate(NAMES):
        image, mask = discs(number)
        tifffile.imwrite(folder / "images" / name_of(raw + b".tif"), image[0])
        # The masks as another system would store them: composed, and with an ending.
        composed = unicodedata.normalize("NFC", name_of(raw))
        tifffile.imwrite(folder / "masks" / f"{composed}_mask.tif", mask)
    prepared = ["prepare", "folder", "--images", "images", "--out", "set.h5", "--picture", "--masks"]
    evaluated = ["evaluate", "--predictions", "predicted", "--json", "--truth"]
    result = run_all(
        [
            [*prepared, "masks"],
            ["preview", "set.h5", "--out", "preview.png"],
            ["suggest", "set.h5", "--among", "all", "--out", "sheet.png", "--export", "to-label"],
            ["train-uda", "set.h5", "--run", "run", "--labels", "2", "--width", "2", "--steps", "2"],
            ["predict", "run", "images", "--out", "predicted", "--overlay"],
            [*evaluated, "masks", "--images", "images", "--out", "report", "--csv", "table.csv", "--quiet"],
            [*evaluated, "set.h5", "--split", "val", "--quiet"],
            ["evaluate", "run", "--out", "of-run"],
            ["prepare", "folder", "--images", "images", "--masks", "predicted", "--out", "again.h5", "--quiet"],
        ],
        folder,
        "ascii",
    )
    said, shown = result.stderr.decode(), result.stdout.decode()
    assert result.returncode == 0, said
    return folder, shown, said


def test_names_arrive_in_the_data_set_as_they_are(done: tuple[Path, str, str]):
    with Dataset(done[0] / "set.h5") as dataset:
        files = {dataset.source(index).file for index in range(dataset.size)}
        assert files == {name_of(raw + b".tif") for raw in NAMES}
        assert dataset.labelled.all()
        assert set(dataset.group) == {name_of(raw) for raw in NAMES}


def test_the_masks_are_those_of_their_images(done: tuple[Path, str, str]):
    with Dataset(done[0] / "set.h5") as dataset:
        of_file = {dataset.source(index).file: dataset.labels(index) for index in range(dataset.size)}
    for number, raw in enumerate(NAMES):
        np.testing.assert_array_equal(of_file[name_of(raw + b".tif")], discs(number)[1])


def test_predictions_are_called_as_their_images(done: tuple[Path, str, str]):
    assert sorted(os.fsencode(path.name) for path in (done[0] / "predicted").iterdir()) == sorted(
        [b"overlays", b"predictions.yaml", *(raw + b".tif" for raw in NAMES)]
    )
    record = yaml.safe_load((done[0] / "predicted/predictions.yaml").read_text(encoding="utf-8"))
    assert {entry["input"] for entry in record["files"]} == {f"images/{name_of(raw)}.tif" for raw in NAMES}
    assert all((done[0] / "predicted" / entry["outputs"][0]).is_file() for entry in record["files"])


def test_the_record_of_such_names_repeats_the_prediction(done: tuple[Path, str, str], bioseg: Callable[..., Result]):
    folder = done[0]
    first = folder / "images" / name_of(NAMES[0] + b".tif")
    assert bioseg("predict", folder / "run", first, "--out", folder / "one").exit_code == 0
    record = folder / "one" / "predictions.yaml"
    result = bioseg("predict", "--config", record, "--out", folder / "one", "--overwrite")
    assert result.exit_code == 0, result.output
    assert read_mask(folder / "one" / first.name).shape == discs(0)[1].shape


def test_predictions_are_scored_and_prepared(done: tuple[Path, str, str]):
    folder, shown, _ = done
    against_masks = json.loads((folder / "report/evaluation.json").read_text(encoding="utf-8"))["runs"][0]
    assert against_masks["images"] == len(NAMES)
    start = shown.index("{")
    documents, decoder = [], json.JSONDecoder()
    while start >= 0:
        document, end = decoder.raw_decode(shown[start:])
        documents.append(document)
        start = shown.find("\n{", start + end)
        start = start + 1 if start >= 0 else start
    assert documents[0]["runs"][0]["confusion"] == against_masks["confusion"]
    assert documents[1]["runs"][0]["images"] == 2
    with Dataset(folder / "again.h5") as dataset:
        assert dataset.labelled.all()


def test_nothing_that_a_terminal_obeys_is_printed(done: tuple[Path, str, str]):
    _, shown, said = done
    for text in (shown, said):
        assert text.isascii()
        assert not any(ord(letter) < 32 and letter != "\n" for letter in text)
    assert "\nbreak_4" not in shown and "\nbreak_4" not in said


def test_tables_are_in_utf_8_whatever_the_locale(done: tuple[Path, str, str]):
    with (done[0] / "report/per_image.csv").open(encoding="utf-8", newline="") as stream:
        names = {row["image"] for row in csv.DictReader(stream)}
    assert "caf\\udce9_1_mask" in names  # no text: as an escape
    assert "zäh_3_mask" in names and "\u202egpj.細胞 µ_9_mask" in names


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_console_without_the_characters_ends_nothing(tmp_path: Path, encoding: str):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for number, raw in enumerate([b"caf\xe9", "細胞".encode(), b"\x9b31m", b"a", b"b"]):
        for part, pixels in zip(("images", "masks"), discs(number), strict=True):
            tifffile.imwrite(tmp_path / part / name_of(raw + b".tif"), pixels)
    command = ["prepare", "folder", "--images", "images", "--masks", "masks", "--classes", "Hintergrund,µ-細胞"]
    result = run_all([[*command, "--out", name_of(b"\xfcbung.h5")]], tmp_path, encoding)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / name_of(b"\xfcbung.h5")).is_file()
    shown = result.stdout.decode(encoding)
    assert "\\udcfcbung.h5" in shown
    assert ("µ-" in shown) == (encoding != "ascii") and ("細胞" in shown) == (encoding == "utf-8")


def test_errors_name_such_files_on_one_line(tmp_path: Path, bioseg: Callable[..., Result]):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    tifffile.imwrite(tmp_path / "images/a.tif", discs(0)[0][0])
    tifffile.imwrite(tmp_path / "masks" / name_of(b"[red]\x1b[2J\nError: b\xff.tif"), discs(0)[1])
    result = bioseg(
        "prepare", "folder", "--images", tmp_path / "images", "--masks", tmp_path / "masks", "--out", "x.h5"
    )
    assert result.exit_code == 3
    first, second, *_ = result.stderr.splitlines()
    assert first == "Error: The mask has no image"
    assert second == f"in {tmp_path}/masks/[red]\\x1b[2J\\nError: b\\udcff.tif"


def test_names_that_look_the_same_are_refused_by_name(tmp_path: Path, disc_run: Path, bioseg: Callable[..., Result]):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for form in ("NFC", "NFD"):
        tifffile.imwrite(tmp_path / "images" / f"{unicodedata.normalize(form, 'ü')}.tif", discs(0)[0][0])
    tifffile.imwrite(tmp_path / "masks/ü.tif", discs(0)[1])
    arguments = "--images", tmp_path / "images", "--masks", tmp_path / "masks", "--out", tmp_path / "x.h5"
    result = bioseg("prepare", "folder", *arguments)
    assert result.exit_code == 3 and "are both named like ü.tif" in result.stdout
    result = bioseg("predict", disc_run, tmp_path / "images", "--out", tmp_path / "out")
    assert result.exit_code == 2 and "would have the same mask" in result.stderr


@pytest.mark.parametrize("names", [("a.tif", "a.png"), ("Foo.tif", "foo.tif"), ("a.ome.tif", "a.tif")])
def test_two_images_whose_masks_would_be_one_file(
    tmp_path: Path, disc_run: Path, bioseg: Callable[..., Result], names: tuple[str, str]
):
    import imageio.v3 as iio

    (tmp_path / "images").mkdir()
    for name in names:
        iio.imwrite(tmp_path / "images" / name, discs(0)[0][0])
    result = bioseg("predict", disc_run, tmp_path / "images", "--out", tmp_path / "out")
    assert result.exit_code == 2 and "would have the same mask" in result.stderr
    assert not (tmp_path / "out").exists()


def test_pictures_of_frames_never_replace_those_of_other_images(
    tmp_path: Path, disc_run: Path, bioseg: Callable[..., Result]
):
    (tmp_path / "images").mkdir()
    tifffile.imwrite(
        tmp_path / "images/a.tif",
        np.stack([discs(i)[0][0] for i in range(2)]),
        photometric="minisblack",
        metadata={"axes": "TYX"},
    )
    tifffile.imwrite(tmp_path / "images/a_f001.tif", discs(3)[0][0])
    arguments = "predict", disc_run, tmp_path / "images", "--out", tmp_path / "out"
    result = bioseg(*arguments, "--overlay")
    assert result.exit_code == 2 and "would have the same names" in result.stderr
    assert bioseg(*arguments).exit_code == 0


def test_the_longest_names_that_a_disk_allows(tmp_path: Path, disc_run: Path, bioseg: Callable[..., Result]):
    (tmp_path / "images").mkdir()
    for name in ("x" * 251, "y" * 250, "z"):
        tifffile.imwrite(
            tmp_path / "images" / f"{name}.tif",
            np.stack([discs(0)[0][0]] * 2),
            photometric="minisblack",
            metadata={"axes": "TYX"},
        )
    out = tmp_path / "out"
    assert bioseg("predict", disc_run, tmp_path / "images", "--out", out).exit_code == 0
    assert (out / f"{'x' * 251}.tif").is_file()
    # The names of the pictures are longer: they are too long, and fail their images alone.
    result = bioseg("predict", disc_run, tmp_path / "images", "--out", out, "--overlay", "--overwrite")
    assert result.exit_code == 1 and "2 of 3 images failed" in result.stderr
    assert "could not be written (File name too long)" in result.stderr
    assert sorted(path.name for path in out.glob("*.tif")) == ["z.tif"]
    assert sorted(path.name for path in (out / "overlays").iterdir()) == ["z_f000.png", "z_f001.png"]
