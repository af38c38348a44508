"""Volume files: real values, labels and positions, streamed, and every kind of file that is none."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
from helpers.volumes import AFFINE, write_minc, write_nifti
from hypothesis import given
from hypothesis import strategies as st
from nibabel.minc2 import Minc2Image

from bioseg_cli.errors import DataError
from bioseg_cli.io.folders import is_volume
from bioseg_cli.io.volumes import Volume, open_volume

SHAPE = (5, 4, 3)  # x, y, z, as NIfTI counts
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
NAMES = ("v.nii", "v.nii.gz")
BIGBRAIN = Path(os.environ.get("BIOSEG_DATA", "")) / "bigbrain"


def read(volume: Volume, planes: int = 2, start: int = 0) -> np.ndarray:
    return np.concatenate(list(volume.blocks(planes, start=start)))


def read_labels(volume: Volume, planes: int = 2, start: int = 0) -> np.ndarray:
    return np.concatenate(list(volume.label_blocks(planes, start=start)))


def counting(dtype: str, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("dtype", [*INTEGERS, "float32", "float64"])
def test_numbers_of_every_type_come_back_with_the_slowest_axis_first(
    tmp_path: Path, dtype: str, byte_order: str, name: str
) -> None:
    values = counting(dtype)
    values[1, 2, 0] = np.iinfo(dtype).min if values.dtype.kind in "iu" else -1.5
    volume = open_volume(write_nifti(tmp_path / name, values, byte_order=byte_order))
    kept = values.dtype if values.dtype.kind in "iu" and values.dtype.itemsize <= 2 else np.dtype(np.float32)
    assert (volume.shape, volume.dtype) == (SHAPE[::-1], kept)
    blocks = list(volume.blocks(2))
    assert [(block.shape, block.dtype) for block in blocks] == [((2, 4, 5), kept), ((1, 4, 5), kept)]
    assert all(block.flags.c_contiguous and block.dtype.isnative for block in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks), values.transpose().astype(kept))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("image_class", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_both_versions_of_the_format_and_names_in_capitals(
    tmp_path: Path, image_class: Callable[..., Any], name: str
) -> None:
    path = write_nifti(tmp_path / name, counting("uint8"), image_class=image_class)
    path = path.rename(path.with_name(name.upper()))
    np.testing.assert_array_equal(read(open_volume(path)), counting("uint8").T)


@given(planes=st.integers(1, 9), start=st.integers(0, 7), compressed=st.booleans())
def test_blocks_of_any_size_from_any_plane(
    tmp_path_factory: pytest.TempPathFactory, planes: int, start: int, compressed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / NAMES[compressed]
    values = counting("int16", (3, 2, 7))
    if not path.exists():
        write_nifti(path, values)
    blocks = list(open_volume(path).blocks(planes, start=start))
    assert [len(block) for block in blocks] == [min(planes, 7 - at) for at in range(start, 7, planes)]
    np.testing.assert_array_equal(np.concatenate([np.empty((0, 2, 3), "int16"), *blocks]), values.T[start:])


def test_wrong_planes_are_a_mistake_of_the_caller(tmp_path: Path) -> None:
    volume = open_volume(write_nifti(tmp_path / "v.nii", counting("uint8")))
    for planes, start in ((0, 0), (1, 4), (1, -1)):
        with pytest.raises(ValueError, match="of 3"):
            list(volume.blocks(planes, start=start))


def test_the_affine_follows_the_axes(tmp_path: Path) -> None:
    volume = open_volume(write_nifti(tmp_path / "v.nii", counting("uint8")))
    i, j, k = 4, 1, 2
    np.testing.assert_allclose(volume.affine @ (k, j, i, 1), AFFINE @ (i, j, k, 1), rtol=1e-6)
    np.testing.assert_allclose(volume.voxel_size, np.linalg.norm(AFFINE[:3, :3], axis=0)[::-1], rtol=1e-6)
    assert volume.oriented


@pytest.mark.parametrize(("units", "millimetres"), [("mm", 1), ("micron", 0.001), ("meter", 1000), ("unknown", 1)])
def test_positions_are_millimetres_whatever_the_file_counts_in(tmp_path: Path, units: str, millimetres: float) -> None:
    volume = open_volume(write_nifti(tmp_path / "v.nii.gz", counting("uint8"), units=units))
    expected = AFFINE[:, [2, 1, 0, 3]] * np.array([millimetres] * 3 + [1])[:, None]
    np.testing.assert_allclose(volume.affine, expected, rtol=1e-6)


@pytest.mark.parametrize(("codes", "oriented"), [((0, 0), False), ((1, 0), True), ((0, 4), True)])
def test_a_file_may_state_no_position(tmp_path: Path, codes: tuple[int, int], oriented: bool) -> None:
    affine = np.diag([2.0, 3, 4, 1])
    volume = open_volume(write_nifti(tmp_path / "v.nii", counting("uint8"), affine=affine, codes=codes))
    assert volume.oriented is oriented
    np.testing.assert_allclose(volume.voxel_size, (4, 3, 2))


@pytest.mark.parametrize(
    ("dtype", "scaling", "expected"),
    [
        ("uint8", (257, 0), "uint16"),
        ("uint8", (1, -128), "int8"),
        ("uint8", (-1, 255), "uint8"),
        ("int16", (1, 32768), "uint16"),
        ("int16", (1, -1024), "float32"),
        ("uint8", (0.1, 3), "float32"),
        ("int32", (2, 0), "float32"),
        ("float32", (3, 0.5), "float32"),
    ],
)
def test_scaling_gives_the_real_values_in_the_type_that_holds_them(
    tmp_path: Path, dtype: str, scaling: tuple[float, float], expected: str
) -> None:
    values = counting(dtype)
    values[0, 0, 0] = 100
    volume = open_volume(write_nifti(tmp_path / "v.nii.gz", values, scaling=scaling))
    assert volume.dtype == expected
    read_back = read(volume)
    assert read_back.dtype == expected
    np.testing.assert_allclose(read_back, (values * np.float64(np.float32(scaling[0])) + scaling[1]).T, rtol=1e-6)


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_a_slope_of_zero_or_nan_means_no_scaling(tmp_path: Path, slope: float) -> None:
    path = write_nifti(tmp_path / "v.nii", counting("int16"))
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([slope, 5], "<f4").tobytes()
    path.write_bytes(content)
    np.testing.assert_array_equal(read(open_volume(path)), counting("int16").T)


def test_large_integers_lose_nothing_before_their_offset_is_taken_away(tmp_path: Path) -> None:
    values = counting("int32") + 2_000_000_000
    volume = open_volume(write_nifti(tmp_path / "v.nii", values, scaling=(1, -2_000_000_000)))
    np.testing.assert_array_equal(read(volume), counting("float32").T)


def test_a_trailing_axis_of_one_is_no_fourth_axis(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "v.nii.gz", counting("uint8")[..., None])
    np.testing.assert_array_equal(read(open_volume(path)), counting("uint8").T)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_labels_of_every_integer_type(tmp_path: Path, dtype: str) -> None:
    values = counting(dtype)
    labels = read_labels(open_volume(write_nifti(tmp_path / "v.nii.gz", values)), start=1)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, values.T[1:])


def test_labels_beyond_255_and_labels_stored_as_fractions(tmp_path: Path) -> None:
    wide = counting("int64")
    wide[4, 3, 2] = 65535
    labels = list(open_volume(write_nifti(tmp_path / "v.nii", wide)).label_blocks(2))
    assert [block.dtype for block in labels] == [np.uint8, np.uint16]
    assert labels[1][0, 3, 4] == 65535
    nearly = counting("float32") + 0.0009
    np.testing.assert_array_equal(
        read_labels(open_volume(write_nifti(tmp_path / "f.nii", nearly))), counting("uint8").T
    )
    scaled = open_volume(write_nifti(tmp_path / "s.nii", counting("uint16") * 1000, scaling=(0.001, 0)))
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(read_labels(scaled), counting("uint8").T)


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        ("float32", 2.5, "value 2.5 in plane 2 is no whole number"),
        ("float32", np.nan, "Values of plane 2 are not finite"),
        ("int16", -3, "value -3 in plane 2 is no label"),
        ("float64", -3, "value -3 in plane 2 is no label"),
        ("int32", 65536, "value 65536 in plane 2 is no label"),
    ],
)
def test_what_is_no_label_is_named_with_its_plane(tmp_path: Path, dtype: str, value: float, message: str) -> None:
    values = counting(dtype)
    values[1, 3, 2] = value
    path = write_nifti(tmp_path / "v.nii.gz", values)
    with pytest.raises(DataError, match=message) as caught:
        read_labels(open_volume(path), planes=3)
    assert caught.value.where == str(path)


@pytest.mark.parametrize(("dtype", "value"), [("float32", np.nan), ("float32", np.inf), ("float64", 1e300)])
def test_intensities_that_are_no_numbers_are_counted(tmp_path: Path, dtype: str, value: float) -> None:
    values = counting(dtype)
    values[:2, 1, 1] = value
    with pytest.raises(DataError, match=r"Values of plane 1 are not finite .*: 2"):
        read(open_volume(write_nifti(tmp_path / "v.nii", values)), planes=3)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_truncated_compressed_file_says_how_far_it_goes(tmp_path: Path, kept: float) -> None:
    values = np.random.default_rng(0).integers(0, 65535, (50, 40, 30)).astype("uint16")
    path = write_nifti(tmp_path / "v.nii.gz", values)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    volume = open_volume(path)
    for start in (0, 5):
        with pytest.raises(DataError, match="truncated") as caught:
            read(volume, planes=4, start=start)
        planes = int(caught.value.what.split("after ")[1].split(" of 30")[0])
        assert kept * 30 - 4 <= planes <= kept * 30


def test_a_compressed_file_that_is_whole_but_too_short(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "v.nii.gz", counting("uint8"))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))
    with pytest.raises(DataError, match="breaks off after 2 of 3 planes"):
        read(open_volume(path))


def test_a_wrong_checksum_is_found_before_the_last_block(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    path = write_nifti(tmp_path / "v.nii.gz", random.integers(0, 255, (200, 100, 3)).astype("uint8"))
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    blocks = open_volume(path).blocks(2)
    assert len(next(blocks)) == 2
    with pytest.raises(DataError, match=r"damaged: CRC check failed.*\(3 of 3 planes were read\)"):
        next(blocks)


def test_damage_inside_a_compressed_file(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 9, (60, 50, 40)).astype("uint8")
    path = write_nifti(tmp_path / "v.nii.gz", values)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(range(200)) * 2
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        read(open_volume(path))


def broken_nifti(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / "v.nii"
    if kind == "missing":
        return path
    if kind == "folder":
        path.mkdir()
    elif kind == "empty file":
        path.touch()
    elif kind == "text":
        path.write_text("no volume\n" * 100)
    elif kind == "not compressed":
        return write_nifti(path, counting("uint8")).rename(tmp_path / "v.nii.gz")
    elif kind == "truncated":
        write_nifti(path, counting("uint8"))
        path.write_bytes(path.read_bytes()[:-1])
    elif kind == "header only":
        write_nifti(path, counting("uint8"))
        path.write_bytes(path.read_bytes()[:300])
    elif kind == "four axes":
        write_nifti(path, np.zeros((4, 3, 2, 5), "uint8"))
    elif kind == "two axes":
        write_nifti(path, np.zeros((4, 3), "uint8"))
    elif kind == "no planes":
        write_nifti(path, np.zeros((4, 3, 0), "uint8"))
    elif kind == "fewer than no planes":
        content = bytearray(write_nifti(path, counting("uint8")).read_bytes())
        content[46:48] = np.array(-2, "<i2").tobytes()
        path.write_bytes(content)
    elif kind == "colour":
        write_nifti(path, np.zeros((4, 3, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")]))
    elif kind == "complex":
        write_nifti(path, np.zeros((4, 3, 2), "complex64"))
    elif kind in ("flat affine", "affine not a number"):
        content = bytearray(write_nifti(path, counting("uint8")).read_bytes())
        last_row = (0, 0, 0, 5) if kind == "flat affine" else (0, 0, np.nan, 5)
        content[312:328] = np.array(last_row, "<f4").tobytes()
        path.write_bytes(content)
    elif kind == "MINC1":
        path.write_bytes(b"CDF\x01" + bytes(500))
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "No such file"),
        ("folder", "no ordinary file"),
        ("empty file", "is empty"),
        ("text", "no NIfTI volume"),
        ("not compressed", "no NIfTI volume"),
        ("truncated", "truncated: 411 of 412 bytes"),
        ("header only", "no NIfTI volume"),
        ("four axes", r"4 axes \(4 x 3 x 2 x 5\)"),
        ("two axes", r"2 axes \(4 x 3\)"),
        ("no planes", r"empty \(4 x 3 x 0\)"),
        ("fewer than no planes", r"empty \(5 x 4 x -2\)"),
        ("colour", "RGB"),
        ("complex", "complex64"),
        ("flat affine", "cannot be inverted"),
        ("affine not a number", "cannot be inverted"),
        ("MINC1", "mincconvert -2"),
    ],
)
def test_what_is_no_volume_is_refused_by_its_header(tmp_path: Path, kind: str, message: str) -> None:
    path = broken_nifti(tmp_path, kind)
    with pytest.raises(DataError, match=message) as caught:
        open_volume(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.nii", True), ("a.NII.GZ", True), ("a.mnc", True), ("a.gz", False), ("a.hdr", False), ("nii", False)],
)
def test_volumes_are_known_by_name(name: str, expected: bool) -> None:
    assert is_volume(Path("folder.nii") / name) is expected


def test_minc_labels_keep_their_type_and_order(tmp_path: Path) -> None:
    stored = counting("uint8", (7, 5, 4))
    volume = open_volume(write_minc(tmp_path / "v.mnc", stored, valid=(0, 255), chunks=(3, 5, 2)))
    assert (volume.shape, volume.dtype, volume.oriented) == ((7, 5, 4), np.uint8, True)
    np.testing.assert_array_equal(read(volume, planes=2, start=1), stored[1:])
    assert [block.shape for block in volume.label_blocks(4)] == [(4, 5, 4), (3, 5, 4)]


@pytest.mark.parametrize("scaled_axes", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["int16", ">i2", "uint16", "uint8", "int32"])
def test_minc_numbers_become_real_values_plane_by_plane(tmp_path: Path, dtype: str, scaled_axes: int) -> None:
    random = np.random.default_rng(1)
    stored = random.integers(0, 120, (4, 3, 5)).astype(dtype)
    low = random.normal(0, 50, stored.shape[:scaled_axes])
    high = low + random.uniform(1, 1000, low.shape)
    path = write_minc(tmp_path / "v.mnc", stored, real=(low, high), valid=(2, 110), chunks=(2, 3, 5))
    volume = open_volume(path)
    assert volume.dtype == np.float32
    expected = np.asarray(Minc2Image.from_filename(path).dataobj)  # type: ignore[no-untyped-call]
    low, high = (end.reshape(end.shape + (1,) * (3 - end.ndim)) for end in (low, high))
    np.testing.assert_allclose(expected, (np.clip(stored, 2, 110) - 2.0) / 108 * (high - low) + low)
    np.testing.assert_allclose(read(volume, planes=3, start=1), expected[1:], rtol=1e-6, atol=1e-4)


def test_minc_planes_of_one_value_and_floating_types(tmp_path: Path) -> None:
    stored = np.full((2, 2, 2), 7, "uint16")
    volume = open_volume(write_minc(tmp_path / "v.mnc", stored, real=([3, 5], [3, 5])))
    np.testing.assert_array_equal(read(volume), np.array([3, 5])[:, None, None] + np.zeros((2, 2, 2)))
    np.testing.assert_array_equal(read_labels(volume), read(volume))
    fractions = counting("float64", (2, 2, 2)) / 3
    volume = open_volume(write_minc(tmp_path / "f.mnc", fractions, real=(0, 1)))
    np.testing.assert_array_equal(read(volume), fractions.astype(np.float32))


def test_minc_values_wider_than_16_bits_keep_an_integer_type_where_their_range_fits(tmp_path: Path) -> None:
    stored = counting("int32", (2, 3, 4))
    assert open_volume(write_minc(tmp_path / "a.mnc", stored, valid=(0, 255))).dtype == np.uint8
    assert open_volume(write_minc(tmp_path / "b.mnc", stored, real=(0, 65535), valid=(0, 255))).dtype == np.uint16
    assert open_volume(write_minc(tmp_path / "c.mnc", stored)).dtype == np.float32


def test_minc_labels_that_were_rescaled_are_refused(tmp_path: Path) -> None:
    stored = np.rint(np.arange(10).reshape(1, 2, 5) * 255 / 9 + 0.3).astype("uint8")
    volume = open_volume(write_minc(tmp_path / "v.mnc", stored, real=(0, 9.5)))
    with pytest.raises(DataError, match="plane 0 is no whole number"):
        read_labels(volume)


def test_minc_positions_with_negative_steps_and_turned_axes(tmp_path: Path) -> None:
    angle = np.deg2rad(20)
    turned = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    order = ("zspace", "xspace", "yspace")
    cosines = turned[["xyz".index(name[0]) for name in order]]
    steps, starts = (2.0, -0.5, 1.5), (10.0, -20.0, 30.0)
    stored = counting("uint8", (2, 3, 4))
    volume = open_volume(
        write_minc(tmp_path / "v.mnc", stored, order, steps=steps, starts=starts, cosines=cosines, valid=(0, 255))
    )
    index = np.array([1, 2, 3])
    expected = sum((starts[a] + index[a] * steps[a]) * cosines[a] for a in range(3))
    np.testing.assert_allclose(volume.affine @ [*index, 1], [*expected, 1])  # type: ignore[misc]
    np.testing.assert_allclose(volume.voxel_size, np.abs(steps))


def broken_minc(path: Path, kind: str) -> None:
    stored = counting("int16", (2, 3, 4))
    if kind == "valid range":
        write_minc(path, stored, valid=(5, 5))
    elif kind == "image-max":
        write_minc(path, stored, real=(0, np.nan))
    elif kind == "rows of another length":
        write_minc(path, stored, real=([0, 0, 0], [1, 1, 1]))
    elif kind == "other HDF5":
        with h5py.File(path, "w") as file:
            file["images"] = stored
    else:
        write_minc(path, stored)
        with h5py.File(path, "a") as file:
            if kind == "irregular":
                file["minc-2.0/dimensions/yspace"].attrs["spacing"] = np.bytes_("irregular")
            elif kind == "time":
                order = np.bytes_("time,yspace,xspace")
                file["minc-2.0/image/0/image"].attrs["dimorder"] = order
                file.move("minc-2.0/dimensions/zspace", "minc-2.0/dimensions/time")
            elif kind == "other scaled axis":
                del file["minc-2.0/image/0/image-max"]
                scale = file.create_dataset("minc-2.0/image/0/image-max", data=[1.0, 1.0])
                scale.attrs["dimorder"] = np.bytes_("xspace")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("valid range", "valid range of the voxels is 5 to 5"),
        ("image-max", "image-max holds values that are not finite"),
        ("rows of another length", "image-min does not follow"),
        ("other HDF5", "HDF5, but no MINC2"),
        ("irregular", "Irregular spacing"),
        ("time", "axes of the image are time, yspace, xspace"),
        ("other scaled axis", "image-max does not follow"),
    ],
)
def test_minc_headers_that_say_nothing_are_refused(tmp_path: Path, kind: str, message: str) -> None:
    broken_minc(tmp_path / "v.mnc", kind)
    with pytest.raises(DataError, match=message):
        open_volume(tmp_path / "v.mnc")


def test_a_damaged_minc_file(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    path = write_minc(tmp_path / "v.mnc", random.integers(0, 255, (8, 40, 50)).astype("uint8"), chunks=(2, 40, 50))
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        where = file["minc-2.0/image/0/image"].id.get_chunk_info(2).byte_offset
    content[where : where + 200] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged somewhere after plane 4"):
        read(open_volume(path))
    path.write_bytes(content[:-3000])
    with pytest.raises(DataError, match="The volume cannot be opened: truncated"):
        open_volume(path)


@pytest.mark.skipif(not BIGBRAIN.is_dir(), reason="BIOSEG_DATA is not set")
def test_the_two_published_files_of_one_brain_agree_through_their_affines() -> None:
    nifti, minc = (open_volume(BIGBRAIN / f"full_cls_1000um{suffix}") for suffix in (".nii.gz", ".mnc"))
    assert (nifti.shape, minc.shape) == ((121, 154, 140), (154, 121, 140))
    assert nifti.dtype == minc.dtype == np.uint8
    first, second = read_labels(nifti, planes=16), read_labels(minc, planes=16)
    assert set(np.unique(first)) == set(np.unique(second)) == set(range(1, 10))
    indices = np.indices(minc.shape).reshape(3, -1)
    to_nifti = np.linalg.inv(nifti.affine) @ minc.affine
    exact = to_nifti[:3, :3] @ indices + to_nifti[:3, 3:]
    found = np.rint(exact).astype(int)
    assert np.abs(exact - found).max() < 1e-3
    np.testing.assert_array_equal(first[tuple(found)], second.reshape(-1))
