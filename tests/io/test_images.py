"""Reading and writing image files, on real files of every kind, good and bad."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from bioseg_cli.errors import DataError
from bioseg_cli.io.axes import Stacks
from bioseg_cli.io.folders import list_images
from bioseg_cli.io.image_writer import write_labels, write_png, write_probabilities
from bioseg_cli.io.images import inspect_image, read_frame, read_frames
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.io.pixel_size import MICROMETRE, PixelSize
from bioseg_cli.masks.mask_file import read_mask

DATA = os.environ.get("BIOSEG_DATA")


def noise(*shape: int, dtype: Any = np.uint16, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


WHOLE_FILES: dict[str, dict[str, Any]] = {
    "plain": {"metadata": None},
    "deflate": {"compression": "zlib"},
    "lzw": {"compression": "lzw", "predictor": True, "metadata": None},
    "zstd": {"compression": "zstd"},
    "tiled": {"tile": (16, 16), "metadata": None},
    "big-endian": {"byteorder": ">", "metadata": None},
    "bigtiff": {"bigtiff": True, "metadata": None},
}


@pytest.mark.parametrize("options", WHOLE_FILES.values(), ids=WHOLE_FILES)
def test_tiff_variants_give_the_stored_pixels(tmp_path: Path, options: dict[str, Any]) -> None:
    pixels = noise(37, 53)
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    frame = read_frame(tmp_path / "a.tif")
    assert frame.dtype == np.uint16
    np.testing.assert_array_equal(frame, pixels[None])
    info = inspect_image(tmp_path / "a.tif")
    assert (info.frames, info.channels, info.height, info.width, info.dtype) == (1, 1, 37, 53, np.uint16)
    assert info.pixel_size is None


@pytest.mark.parametrize("options", WHOLE_FILES.values(), ids=WHOLE_FILES)
def test_pages_are_frames(tmp_path: Path, options: dict[str, Any]) -> None:
    stack = noise(5, 37, 53)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", **{"metadata": {"axes": "TYX"}, **options})
    assert inspect_image(tmp_path / "a.tif").frames == 5
    frames = list(read_frames(tmp_path / "a.tif"))
    np.testing.assert_array_equal(np.stack(frames), stack[:, None])
    np.testing.assert_array_equal(read_frame(tmp_path / "a.tif", 3), stack[3:4])
    with pytest.raises(DataError, match="no frame 5: the file holds 5"):
        read_frame(tmp_path / "a.tif", 5)


@pytest.mark.parametrize(
    ("axes", "shape", "options"),
    [
        ("TCYX", (3, 2, 20, 24), {"imagej": True}),
        ("CYX", (2, 20, 24), {"imagej": True}),
        ("TCYX", (3, 2, 20, 24), {"ome": True}),
        ("CTYX", (2, 3, 20, 24), {"ome": True, "compression": "zlib"}),
        ("YXS", (20, 24, 3), {"photometric": "rgb", "metadata": None}),
        ("SYX", (3, 20, 24), {"photometric": "rgb", "planarconfig": "separate", "metadata": None}),
        ("TYXS", (2, 20, 24, 3), {"photometric": "rgb", "ome": True}),
    ],
)
def test_axes_become_frames_and_channels(
    tmp_path: Path, axes: str, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    pixels = noise(*shape, dtype=np.uint8)
    options = {"photometric": "minisblack", "metadata": {"axes": axes}, **options}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    expected = np.moveaxis(pixels, [axes.index(a) for a in "TCSYX" if a in axes], range(-pixels.ndim, 0))
    expected = expected.reshape(shape[axes.index("T")] if "T" in axes else 1, -1, 20, 24)
    np.testing.assert_array_equal(np.stack(list(read_frames(tmp_path / "a.tif"))), expected)
    info = inspect_image(tmp_path / "a.tif")
    assert (info.frames, info.channels) == expected.shape[:2]


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_a_volume_is_refused_unless_its_planes_are_wanted(tmp_path: Path, kind: str) -> None:
    volume = noise(4, 20, 24)
    tifffile.imwrite(tmp_path / "z.tif", volume, photometric="minisblack", metadata={"axes": "ZYX"}, **{kind: True})
    for refused in (
        inspect_image,
        lambda *given: read_frame(given[0], 0, given[1]),
        lambda *given: [*read_frames(*given)],
    ):
        with pytest.raises(DataError, match=r"volume \(Z=4\).*") as error:
            refused(tmp_path / "z.tif", Stacks())
        assert "--planes" in str(error.value) and "z.tif" in str(error.value)
    planes = list(read_frames(tmp_path / "z.tif", Stacks(planes=True)))
    np.testing.assert_array_equal(np.stack(planes), volume[:, None])
    assert inspect_image(tmp_path / "z.tif", Stacks(planes=True)).frames == 4


def test_time_and_depth_together_are_a_volume(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "q.tif", noise(2, 3, 20, 24), photometric="minisblack", metadata={"axes": "TZYX"})
    with pytest.raises(DataError, match="volume \\(T=2 x Z=3\\)"):
        read_frame(tmp_path / "q.tif")
    assert len(list(read_frames(tmp_path / "q.tif", Stacks(planes=True)))) == 6


def test_unrelated_images_in_one_file_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(noise(20, 24), metadata=None)
        writer.write(noise(10, 24), metadata=None)
    with pytest.raises(DataError, match="2 separate images"):
        inspect_image(tmp_path / "a.tif")


@pytest.mark.parametrize("tags", [5000, 2**31, 2**40, 2**63, 2**64 - 1])
def test_a_page_of_more_tags_than_memory_holds_is_refused(tmp_path: Path, tags: int) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for _ in range(2):
            writer.write(noise(9, 9), metadata=None)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        place = tif.pages[1].offset
    struct.pack_into("<Q", content, place, tags)
    path.write_bytes(content)
    with pytest.raises(DataError, match="it breaks off after page 1"):
        inspect_image(path)


@pytest.mark.parametrize(
    ("shape", "options", "tag"),
    [
        ((18, 9), {"rowsperstrip": 8}, "StripByteCounts"),
        ((18, 9), {"tile": (16, 16)}, "TileByteCounts"),
        ((16, 18, 9), {"tile": (16, 16, 16), "volumetric": True}, "TileByteCounts"),
    ],
    ids=["strips", "tiles", "decoded whole"],
)
def test_a_piece_of_more_bytes_than_memory_holds_is_refused(
    tmp_path: Path, shape: tuple[int, ...], options: dict[str, Any], tag: str
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(*shape), bigtiff=True, compression="zlib", photometric="minisblack", **options)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        sizes = tif.pages.first.tags[tag]
        sizes.overwrite([2**42] * sizes.count, dtype="Q")
    with pytest.raises(DataError, match=f"a strip or tile of {2**42} bytes, in a file of"):
        read_frame(path, stacks=Stacks(planes=True))


def test_an_image_of_more_tiles_than_the_file_lists_is_refused_in_a_moment(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(18, 9), tile=(16, 16), compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tags = tif.pages.first.tags
        tags["ImageLength"].overwrite(2**28, dtype="I")
        tags["ImageWidth"].overwrite(1, dtype="I")
        tags["TileLength"].overwrite(1, dtype="I")
        tags["TileWidth"].overwrite(16, dtype="I")
    with pytest.raises(DataError, match=f"lists 2 of {2**28} strips or tiles"):
        read_frame(path)


@pytest.mark.parametrize("pages", [1, 2, 150])
@pytest.mark.parametrize("to", [0, -1], ids=["first", "last"])
def test_pages_that_lead_round_in_a_circle_are_refused(tmp_path: Path, pages: int, to: int) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for _ in range(pages):
            writer.write(noise(9, 9), metadata=None)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        last, target = tif.pages[-1].offset, tif.pages[to].offset
    (tags,) = struct.unpack_from("<H", content, last)
    struct.pack_into("<I", content, last + 2 + 12 * tags, target)
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"breaks off after page {pages}"):
        inspect_image(path)


@pytest.mark.parametrize("bigtiff", [False, True])
def test_pages_that_lie_over_each_other_are_refused(tmp_path: Path, bigtiff: bool) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, bigtiff=bigtiff) as writer:
        writer.write(noise(9, 9), subifds=200, metadata=None)
        for _ in range(200):
            writer.write(noise(3, 3), subfiletype=1, metadata=None)
    assert inspect_image(path).frames == 1
    with tifffile.TiffFile(path, mode="r+b") as tif:
        below = tif.pages.first.tags["SubIFDs"]
        below.overwrite((below.value[0],) * 20_000)
    with pytest.raises(DataError, match="its pages lie over each other"):
        inspect_image(path)


def test_a_name_that_is_too_long_for_the_system_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="The system refuses: File name too long") as caught:
        list_images([tmp_path / ("n" * 300)])
    assert "nnn" in str(caught.value.where)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize(
    "options", [*WHOLE_FILES.values(), {"imagej": True}, {"ome": True}], ids=[*WHOLE_FILES, "imagej", "ome"]
)
def test_a_truncated_tiff_is_never_shorter_or_blacker(
    tmp_path: Path, options: dict[str, Any], frames: int, share: float
) -> None:
    # Numbers so random that every byte counts; the trailing byte of padding may go without loss.
    pixels = noise(frames, 40, 50)
    path = tmp_path / "a.tif"
    options = {"photometric": "minisblack", "metadata": {"axes": "TYX"[frames == 1 :]}, **options}
    tifffile.imwrite(path, pixels[0] if frames == 1 else pixels, **options)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(1, int(len(whole) * share))])
    try:
        read = np.stack(list(read_frames(path)))
    except DataError as error:
        assert "a.tif" in str(error) and error.fix
    else:
        np.testing.assert_array_equal(read, pixels[:, None])


def text(path: Path) -> None:
    path.write_text("Frame,Area\n1,20\n")


def empty(path: Path) -> None:
    path.touch()


def half_png(path: Path) -> None:
    write_png(path.with_suffix(".png"), noise(40, 50, 3, dtype=np.uint8))
    whole = path.with_suffix(".png").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize("write", [text, empty, half_png])
@pytest.mark.parametrize("name", ["bad.tif", "bad.png"])
def test_what_is_not_an_image_is_named(tmp_path: Path, write: Any, name: str) -> None:
    write(tmp_path / name)
    with pytest.raises(DataError) as error:
        read_frame(tmp_path / name)
    assert error.value.where is not None and error.value.where.endswith(name)
    assert error.value.fix


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_frame(tmp_path / "gone.tif")


@pytest.mark.parametrize(("value", "count"), [(np.nan, 2), (np.inf, 1)])
def test_floats_that_are_no_numbers_are_counted(tmp_path: Path, value: float, count: int) -> None:
    pixels = np.ones((20, 24), np.float32)
    pixels.flat[:count] = value
    tifffile.imwrite(tmp_path / "nan.tif", pixels)
    with pytest.raises(DataError, match=f"^{count} values.*not finite") as error:
        read_frame(tmp_path / "nan.tif")
    assert "nan.tif" in str(error.value)


def test_complex_pixels_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "c.tif", np.ones((20, 24), np.complex64))
    with pytest.raises(DataError, match="complex64"):
        read_frame(tmp_path / "c.tif")


@pytest.mark.parametrize(
    ("shape", "dtype", "channels"),
    [
        ((20, 24), np.uint8, 1),
        ((20, 24), np.uint16, 1),
        ((20, 24, 3), np.uint8, 3),
        ((20, 24, 3), np.uint16, 3),
        ((20, 24, 4), np.uint8, 3),
        ((20, 24, 4), np.uint16, 3),
        ((20, 24, 2), np.uint8, 1),
    ],
)
def test_png_keeps_depth_and_loses_alpha(tmp_path: Path, shape: tuple[int, ...], dtype: Any, channels: int) -> None:
    pixels = noise(*shape, dtype=dtype)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    frame = read_frame(tmp_path / "a.png")
    assert frame.dtype == dtype
    np.testing.assert_array_equal(frame, np.moveaxis(np.atleast_3d(pixels), -1, 0)[:channels])
    info = inspect_image(tmp_path / "a.png")
    assert (info.frames, info.channels, info.height, info.width, info.dtype) == (1, channels, 20, 24, np.dtype(dtype))


def test_tiff_alpha_is_dropped_but_a_fourth_channel_is_not(tmp_path: Path) -> None:
    pixels = noise(20, 24, 4, dtype=np.uint8)
    for extra, kept in (("unassalpha", 3), ("assocalpha", 3), ("unspecified", 4)):
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=[extra])
        np.testing.assert_array_equal(read_frame(tmp_path / "a.tif"), np.moveaxis(pixels, -1, 0)[:kept])
        assert inspect_image(tmp_path / "a.tif").channels == kept


def test_palette_png_is_colour_as_image_and_indices_as_mask(tmp_path: Path) -> None:
    indices = noise(20, 24, dtype=np.uint8) % 3
    image = Image.fromarray(indices).convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.info.clear()
    image = Image.fromarray(indices, "P") if image.mode != "P" else image
    image.putdata(indices.ravel().tolist())
    image.save(tmp_path / "p.png")
    frame = read_frame(tmp_path / "p.png")
    assert inspect_image(tmp_path / "p.png").channels == 3
    np.testing.assert_array_equal(frame[0] == 255, indices == 1)
    np.testing.assert_array_equal(frame[1] == 255, indices == 2)
    np.testing.assert_array_equal(read_mask(tmp_path / "p.png"), indices)


def test_one_bit_images_are_zero_and_one(tmp_path: Path) -> None:
    mask = noise(20, 24, dtype=np.uint8) > 127
    Image.fromarray(mask).save(tmp_path / "m.png")
    tifffile.imwrite(tmp_path / "m.tif", mask)
    for name in ("m.png", "m.tif"):
        read = read_mask(tmp_path / name)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, mask)
        assert inspect_image(tmp_path / name).dtype == np.uint8


def test_equal_colour_channels_are_one_mask_but_three_image_channels(tmp_path: Path) -> None:
    grey = noise(20, 24, dtype=np.uint8)
    write_png(tmp_path / "g.png", np.repeat(grey[..., None], 3, axis=2))
    assert read_frame(tmp_path / "g.png").shape == (3, 20, 24)
    np.testing.assert_array_equal(read_mask(tmp_path / "g.png"), grey)


def test_colour_masks_stay_colours(tmp_path: Path) -> None:
    colours = noise(20, 24, 4, dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "c.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "c.png"), colours[..., :3])


def test_float_masks_must_be_whole_numbers(tmp_path: Path) -> None:
    labels = noise(20, 24, dtype=np.uint8)
    tifffile.imwrite(tmp_path / "m.tif", labels.astype(np.float32))
    mask = read_mask(tmp_path / "m.tif")
    assert mask.dtype.kind == "i"
    np.testing.assert_array_equal(mask, labels)
    tifffile.imwrite(tmp_path / "m.tif", labels / np.float32(256))
    with pytest.raises(DataError, match="fractions"):
        read_mask(tmp_path / "m.tif")


def test_jpeg_and_a_png_called_tif(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 24), 90, np.uint8)).save(tmp_path / "a.jpg")
    assert read_frame(tmp_path / "a.jpg").shape == (1, 20, 24)
    write_png(tmp_path / "b.png", np.full((20, 24, 3), 7, np.uint8))
    (tmp_path / "b.png").rename(tmp_path / "b.tif")
    assert read_frame(tmp_path / "b.tif").max() == 7


@pytest.mark.parametrize("unit", ["µm", "um", "micron", "\\u00B5m", "\u03bcm"])
def test_imagej_pixel_size_whatever_the_micrometre_is_called(tmp_path: Path, unit: str) -> None:
    description = f"ImageJ=1.53t\nunit={unit}\n".encode()
    tifffile.imwrite(tmp_path / "a.tif", noise(20, 24), description=description, resolution=(2, 4), metadata=None)
    assert inspect_image(tmp_path / "a.tif").pixel_size == PixelSize(0.25, 0.5, MICROMETRE)


@pytest.mark.parametrize(("unit", "factor"), [("nm", 1e-3), ("mm", 1e3), ("µm", 1.0), ("cm", 1e4)])
def test_ome_pixel_size(tmp_path: Path, unit: str, factor: float) -> None:
    metadata = {"axes": "TYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
    metadata |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    tifffile.imwrite(tmp_path / "a.ome.tif", noise(2, 20, 24), photometric="minisblack", metadata=metadata)
    size = inspect_image(tmp_path / "a.ome.tif").pixel_size
    assert size is not None and size.unit == MICROMETRE
    assert (size.y, size.x) == pytest.approx((0.25 * factor, 0.5 * factor))


def test_plain_resolution_counts_in_centimetres_only(tmp_path: Path) -> None:
    for unit, expected in (("CENTIMETER", PixelSize(0.5, 0.25)), ("INCH", None), ("NONE", None)):
        tifffile.imwrite(
            tmp_path / "a.tif", noise(20, 24), resolution=(40000, 20000), resolutionunit=unit, metadata=None
        )
        assert inspect_image(tmp_path / "a.tif").pixel_size == expected


def test_a_unit_that_is_no_length_is_kept_and_pixels_are_none(tmp_path: Path) -> None:
    for unit, expected in (("deg", PixelSize(0.5, 0.5, "deg")), ("pixel", None), ("inch", None)):
        metadata = {"unit": unit, "axes": "YX"}
        tifffile.imwrite(tmp_path / "a.tif", noise(20, 24), imagej=True, resolution=(2, 2), metadata=metadata)
        assert inspect_image(tmp_path / "a.tif").pixel_size == expected


@given(
    y=st.floats(1e-4, 5e3),
    x=st.decimals("0.001", "999", places=3).map(float),
    unit=st.sampled_from([MICROMETRE, "deg"]),
)
def test_labels_keep_pixel_size(tmp_path_factory: pytest.TempPathFactory, y: float, x: float, unit: str) -> None:
    path = tmp_path_factory.mktemp("labels") / "m.tif"
    write_labels(path, noise(8, 9, dtype=np.uint8), PixelSize(y, x, unit))
    read = inspect_image(path).pixel_size
    assert read is not None and read.unit == unit
    assert read.x == x
    assert read.y == pytest.approx(y, rel=1e-6)


def test_labels_round_trip_in_the_smallest_type(tmp_path: Path) -> None:
    for top, dtype in ((255, np.uint8), (256, np.uint16), (65535, np.uint16)):
        labels = noise(3, 20, 24).astype(np.int64) % (top + 1)
        labels.flat[0] = top
        write_labels(tmp_path / "m.tif", labels, None)
        info = inspect_image(tmp_path / "m.tif")
        assert (info.frames, info.dtype, info.pixel_size) == (3, np.dtype(dtype), None)
        np.testing.assert_array_equal(np.stack(list(read_frames(tmp_path / "m.tif")))[:, 0], labels)
        np.testing.assert_array_equal(read_mask(tmp_path / "m.tif", 2), labels[2])
    with tifffile.TiffFile(tmp_path / "m.tif") as tif:
        assert tif.is_imagej and tif.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE


@pytest.mark.parametrize("label", [65536, -1])
def test_labels_never_wrap(tmp_path: Path, label: int) -> None:
    with pytest.raises(DataError, match="do not fit"):
        write_labels(tmp_path / "m.tif", np.full((8, 9), label), None)
    assert not list(tmp_path.iterdir())


def test_probabilities_are_channels(tmp_path: Path) -> None:
    probabilities = np.random.default_rng(0).random((2, 3, 20, 24), np.float32)
    write_probabilities(tmp_path / "one.tif", probabilities[0], PixelSize(0.5, 0.5))
    np.testing.assert_array_equal(read_frame(tmp_path / "one.tif"), probabilities[0])
    write_probabilities(tmp_path / "two.tif", probabilities, None)
    np.testing.assert_array_equal(np.stack(list(read_frames(tmp_path / "two.tif"))), probabilities)


def test_folders_are_listed_naturally_without_hidden_files(tmp_path: Path) -> None:
    for name in ("t10.tif", "t2.tif", "T1.PNG", ".hidden.tif", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "inner.tif").mkdir()
    assert [p.name for p in list_images([tmp_path])] == ["T1.PNG", "t2.tif", "t10.tif"]
    assert list_images([tmp_path / "t2.tif", tmp_path / "notes.txt"]) == [tmp_path / "t2.tif", tmp_path / "notes.txt"]


def test_nothing_to_list_is_an_error(tmp_path: Path) -> None:
    for inputs in ([], [tmp_path], [tmp_path / "gone"]):
        with pytest.raises(DataError):
            list_images(inputs)


def test_normalisation_of_16_bit_camera_offsets_is_exact() -> None:
    pixels = np.arange(32768, 32768 + 4096, dtype=np.uint16).reshape(1, 64, 64)
    scaled = Normalisation("minmax", (32768.0,), (36863.0,)).apply(pixels)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.ravel(), np.arange(4096) / 4095, atol=1e-7)
    assert len(np.unique(scaled)) == 4096


def test_normalisation_clips_by_channel_and_survives_a_flat_one() -> None:
    pixels = np.array([[[-5.0, 15.0]], [[3.0, 4.0]]])
    normalisation = Normalisation("percentile", (0.0, 3.0), (10.0, 3.0))
    np.testing.assert_array_equal(normalisation.apply(pixels), [[[0, 1]], [[0, 0]]])
    batch = np.stack([pixels, pixels])
    np.testing.assert_array_equal(normalisation.apply(batch)[1], normalisation.apply(pixels))
    assert Normalisation.from_json(json.loads(json.dumps(normalisation.to_json()))) == normalisation
    assert PixelSize.from_json(json.loads(json.dumps(PixelSize(0.1, 0.2).to_json()))) == PixelSize(0.1, 0.2)


@pytest.mark.skipif(DATA is None, reason="BIOSEG_DATA is not set")
def test_real_metamorph_field_and_mask() -> None:
    root = Path(str(DATA)) / "BBBC039"
    path = list_images([root / "images"])[0]
    info = inspect_image(path)
    assert (info.frames, info.channels, info.height, info.width, info.dtype) == (1, 1, 520, 696, np.uint16)
    assert info.pixel_size == PixelSize(0.645, 0.645)
    np.testing.assert_array_equal(read_frame(path)[0], tifffile.imread(path))
    mask = read_mask(root / "masks" / f"{path.stem}.png")
    np.testing.assert_array_equal(mask[..., 0], np.asarray(Image.open(root / "masks" / f"{path.stem}.png"))[..., 0])
