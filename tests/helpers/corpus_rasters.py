"""The PNGs, JPEGs and BMPs of the corpus, other formats under their names, and broken files of every kind."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from helpers.corpus import Array, Sample, cut, noise, saved, turned
from helpers.corpus_tiff import channels_first, page, tiff
from PIL import Image

HEIGHT, WIDTH = 13, 22
PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
SUFFIXES = ("png", "tif", "jpg", "bmp")


def png(
    stored: Array, depth: int, colour: int, *, interlaced: bool = False, chunks: Any = (), after: Any = ()
) -> bytes:
    """A PNG of samples (H, W, S), with (name, content) of further chunks before and after the pixels."""
    height, width, _ = stored.shape
    steps = ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b"".join(
        _filtered(stored[top::down, left::right], depth) for top, left, down, right in steps if left < width
    )
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), *after, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _filtered(samples: Array, depth: int) -> bytes:
    """Rows of a pass, each behind its filter: none, left, above in turn."""
    if depth == 16:
        rows = samples.astype(">u2").reshape(len(samples), -1).view(np.uint8)
    elif depth == 8:
        rows = samples.astype(np.uint8).reshape(len(samples), -1)
    else:
        bits = (samples.reshape(len(samples), -1)[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(bits.astype(np.uint8).reshape(len(samples), -1), axis=1)
    reach = max(1, samples.shape[-1] * depth // 8)
    out = b""
    for number, row in enumerate(rows):
        kind = number % 3
        before = np.concatenate([np.zeros(reach, np.uint8), row])[: len(row)]
        above = rows[number - 1] if number else np.zeros_like(row)
        out += bytes([kind]) + (row - (np.zeros_like(row), before, above)[kind]).astype(np.uint8).tobytes()
    return out


def pngs() -> Iterator[Sample]:
    """Every colour type, depth and interlacing, with transparency, gamma, profiles and backgrounds."""
    extras: dict[str, list[tuple[bytes, bytes]]] = {
        "plain": [], "gamma": [(b"gAMA", struct.pack(">I", 100000)), (b"cHRM", struct.pack(">8I", *[31000] * 8))],
        "profile": [(b"iCCP", b"odd\0\0" + zlib.compress(b"no profile at all"))], "srgb": [(b"sRGB", b"\0")],
    }  # fmt: skip
    for colour, (word, extra), interlaced in product(PNG_SAMPLES, extras.items(), (False, True)):
        for depth in PNG_DEPTHS[colour]:
            stored = noise(HEIGHT, WIDTH, PNG_SAMPLES[colour], high=2**depth - 1, dtype=np.uint16)
            palette = noise(2**depth, 3)
            chunks = [*extra, *([(b"PLTE", palette.tobytes())] if colour == 3 else [])]
            transparencies: dict[str, list[tuple[bytes, bytes]]] = {"": []}
            if colour in (0, 2, 3):
                content = b"\x07" * 2 if colour == 3 else stored[2, 2].astype(">u2").tobytes()
                transparencies[" transparent"] = [(b"tRNS", content)]
            for transparent, chunk in transparencies.items():
                name = f"png {colour} {depth} {word}{' interlaced' if interlaced else ''}{transparent}.png"
                content = png(stored, depth, colour, interlaced=interlaced, chunks=[*chunks, *chunk])
                shown = _png_shown(stored, depth, colour, palette)
                pillow = depth < 16 or colour == 0
                yield Sample(name, content, shown, "Pillow" if pillow else "none")


def _png_shown(stored: Array, depth: int, colour: int, palette: Array) -> Array:
    if colour == 3:
        return channels_first(palette[stored[..., 0]])
    kept = channels_first(stored)[:, : 1 if colour in (0, 4) else 3]
    return kept if depth == 16 else (kept * (1 if depth == 1 else 255 // (2**depth - 1))).astype(np.uint8)


def exif(orientation: int, order: str = "<") -> bytes:
    """EXIF that holds nothing but an orientation."""
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(order + "HIHHHIHHI", 42, 8, 1, 274, 3, 1, orientation, 0, 0)


def png_orientations() -> Iterator[Sample]:
    """EXIF before and behind the pixels of grey, deep and coloured PNGs, and of palettes."""
    for orientation, behind, (colour, depth) in product(range(1, 9), (False, True), ((0, 8), (0, 16), (2, 8), (3, 4))):
        stored = noise(HEIGHT, WIDTH, PNG_SAMPLES[colour], high=2**depth - 1, dtype=np.uint16)
        palette = noise(2**depth, 3)
        said = [(b"eXIf", exif(orientation, "<>"[orientation % 2]))]
        chunks = [(b"PLTE", palette.tobytes())] if colour == 3 else []
        content = png(stored, depth, colour, chunks=chunks if behind else chunks + said, after=said if behind else [])
        shown = turned(_png_shown(stored, depth, colour, palette), orientation)
        name = f"png orientation {orientation} {colour} {depth}{' behind' if behind else ''}.png"
        yield Sample(name, content, shown, "Pillow")
    text = png(noise(HEIGHT, WIDTH, 1), 8, 0, after=[(b"tEXt", b"Software\0a program")])
    yield Sample("png with text.png", text, channels_first(noise(HEIGHT, WIDTH, 1)), "Pillow")


def animations() -> Iterator[Sample]:
    """PNGs that move."""
    frames = [Image.fromarray(noise(HEIGHT, WIDTH, 3, seed=seed)) for seed in range(3)]
    for count in (2, 3):
        content = saved(frames[0], "PNG", save_all=True, append_images=frames[1:count])
        yield Sample(f"animation of {count}.png", content, refused=f"animation of {count} frames")


def jpegs() -> Iterator[Sample]:
    """Grey and colour, progressive, thinned, with EXIF in both byte orders; inks are refused."""
    grid = np.mgrid[:HEIGHT, :WIDTH]
    smooth = np.stack([grid[0] * 15, grid[1] * 9, grid.sum(axis=0) * 5], axis=-1).astype(np.uint8)
    colour, grey = Image.fromarray(smooth), Image.fromarray(smooth[..., 0])
    for quality, progressive in product((50, 75, 95), (False, True)):
        words = f"{quality}{' progressive' if progressive else ''}"
        options: dict[str, Any] = {"quality": quality, "progressive": progressive}
        yield Sample(f"jpeg grey {words}.jpg", saved(grey, "JPEG", **options), None, "Pillow")
        for thinned in ("4:4:4", "4:2:2", "4:2:0"):
            content = saved(colour, "JPEG", subsampling=thinned, **options)
            yield Sample(f"jpeg {thinned.replace(':', '')} {words}.jpeg", content, None, "Pillow")
        inks = saved(colour.convert("CMYK"), "JPEG", **options)
        yield Sample(f"jpeg inks {words}.jpg", inks, refused="CMYK or other inks")
    yield Sample("jpeg rgb kept.jpg", saved(colour, "JPEG", keep_rgb=True), None, "Pillow")
    yield Sample("jpeg restarts.jpg", saved(colour, "JPEG", restart_marker_blocks=1), None, "Pillow")
    for orientation, order, image in product(range(1, 9), "<>", (grey, colour)):
        content = saved(image, "JPEG", exif=b"Exif\0\0" + exif(orientation, order))
        name = f"jpeg orientation {orientation} {'little' if order == '<' else 'big'} {image.mode}.jpg"
        yield Sample(name, content, None, "Pillow")
    further = saved(colour, "MPO", save_all=True, append_images=[Image.fromarray(smooth[::2, ::2])])
    yield Sample("jpeg with a second picture.jpg", further, None, "Pillow")
    thumbnail = saved(grey.resize((8, 8)), "JPEG")
    first = struct.pack("<HIH", 42, 8, 0) + struct.pack("<I", 14)
    second = struct.pack("<HHHIIHHIII", 2, 513, 4, 1, 44, 514, 4, 1, len(thumbnail), 0)
    inside = saved(grey, "JPEG", exif=b"Exif\0\0II" + first + second + thumbnail)
    yield Sample("jpeg with a thumbnail.jpg", inside, None, "Pillow")


def bmps() -> Iterator[Sample]:
    """Every depth, from the top or the bottom, with palettes, bit fields and run lengths."""
    for bits, down in product((1, 4, 8, 16, 24, 32), (False, True)):
        stored = noise(HEIGHT, WIDTH, 3 if bits == 24 else 1, high=2 ** min(bits, 8) - 1, dtype=np.uint32)
        if bits in (16, 32):
            stored = noise(HEIGHT, WIDTH, 1, high=2**bits - 1, dtype=np.uint32)
        palettes = {"": noise(2**bits, 3) if bits <= 8 else None}
        if bits <= 8:
            ramp = np.linspace(0, 255, 2**bits).astype(np.uint8)
            palettes = {" colours": noise(2**bits, 3), " grey": ramp[:, None].repeat(3, 1)}
            palettes[" falling"] = palettes[" grey"][::-1]
        for word, palette in palettes.items():
            content = _bmp(stored, bits, palette, down=down)
            yield Sample(f"bmp {bits}{' from top' if down else ''}{word}.bmp", content, None, "Pillow")
    for name, bits, masks in (
        ("565", 16, (0xF800, 0x7E0, 0x1F)),
        ("555", 16, (0x7C00, 0x3E0, 0x1F)),
        ("argb", 32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
        ("xrgb", 32, (0xFF0000, 0xFF00, 0xFF)),
    ):
        stored = noise(HEIGHT, WIDTH, 1, high=2**bits - 1, dtype=np.uint32)
        yield Sample(f"bmp fields {name}.bmp", _bmp(stored, bits, None, masks=masks), None, "Pillow")
    palette = noise(256, 3)
    runs = b"".join(bytes([WIDTH, row, 0, 0]) for row in range(HEIGHT)) + b"\0\1"
    yield Sample("bmp run lengths 8.bmp", _bmp_file(runs, 8, palette, HEIGHT, compression=1), None, "Pillow")
    runs = b"".join(bytes([WIDTH, row * 17, 0, 0]) for row in range(HEIGHT)) + b"\0\1"
    yield Sample("bmp run lengths 4.bmp", _bmp_file(runs, 4, palette[:16], HEIGHT, compression=2), None, "Pillow")


def _bmp(stored: Array, bits: int, palette: Array | None, *, down: bool = False, masks: tuple[int, ...] = ()) -> bytes:
    height = len(stored)
    rows = stored if down else stored[::-1]
    if bits < 8:
        shifts = np.arange(bits - 1, -1, -1, dtype=np.uint32)
        packed = np.packbits(((rows >> shifts) & 1).astype(np.uint8).reshape(height, -1), axis=1)
    else:
        packed = rows.astype(f"<u{bits // 8 if bits != 24 else 1}").reshape(height, -1).view(np.uint8)
    packed = np.pad(packed, [(0, 0), (0, -packed.shape[1] % 4)])
    compression = 3 if masks else 0
    return _bmp_file(packed.tobytes(), bits, palette, -height if down else height, compression=compression, masks=masks)


def _bmp_file(
    content: bytes, bits: int, palette: Array | None, height: int, *, compression: int, masks: tuple[int, ...] = ()
) -> bytes:
    colours = b"" if palette is None else np.insert(palette[:, ::-1], 3, 0, axis=1).astype(np.uint8).tobytes()
    fields = struct.pack(f"<{len(masks)}I", *masks)
    header_size = 56 if len(masks) == 4 else 40
    count = 0 if palette is None else len(palette)
    header = struct.pack("<IiiHHIIiiII", header_size, WIDTH, height, 1, bits, compression, len(content), 0, 0, count, 0)
    offset = 14 + len(header) + len(fields) + len(colours)
    return b"BM" + struct.pack("<IHHI", offset + len(content), 0, 0, offset) + header + fields + colours + content


def disguised() -> Iterator[Sample]:
    """Files under the suffix of another format: those of ours are what they are, the others are named."""
    colour, grey = Image.fromarray(noise(HEIGHT, WIDTH, 3)), Image.fromarray(noise(HEIGHT, WIDTH))
    for suffix in SUFFIXES:
        for image, word in ((colour, "colour"), (grey, "grey")):
            shown = channels_first(np.asarray(image))
            for kind in ("PNG", "BMP"):
                yield Sample(f"{kind} {word} called.{suffix}", saved(image, kind), shown, "Pillow")
            yield Sample(f"TIFF {word} called.{suffix}", saved(image, "TIFF"), shown, "Pillow")
            yield Sample(f"JPEG {word} called.{suffix}", saved(image, "JPEG"), None, "Pillow")
        for kind in ("GIF", "WEBP", "PPM", "ICO", "TGA", "PCX", "SGI", "JPEG2000", "DDS"):
            refused = rf"The file is a {kind} under another name"
            yield Sample(f"{kind} called.{suffix}", saved(colour, kind), refused=refused)
        deep = b"P5 %d %d 65535\n" % (WIDTH, HEIGHT) + noise(HEIGHT, WIDTH, high=65535, dtype=">u2").tobytes()
        yield Sample(f"deep PGM called.{suffix}", deep, refused="The file is a PPM under another name")
        bits = b"P4 8 2\n\xaa\x55"
        yield Sample(f"PBM called.{suffix}", bits, refused="The file is a PPM under another name")
        moving = saved(colour, "GIF", save_all=True, append_images=[grey.convert("RGB")])
        yield Sample(f"moving GIF called.{suffix}", moving, refused="The file is a GIF under another name")


def broken() -> Iterator[Sample]:
    """Files that break off, and files that are none."""
    generator = np.random.default_rng(5)
    starts = {"png": b"\x89PNG\r\n\x1a\n", "jpg": b"\xff\xd8\xff\xe0", "bmp": b"BM", "tif": b"II*\0", "tiff": b"MM\0*"}
    for suffix, start in starts.items():
        yield Sample(f"nothing.{suffix}", b"", refused="The file is empty")
        yield Sample(f"text.{suffix}", b"Frame,Area\n1,20\n" * 9, refused="could not be read")
        yield Sample(f"start alone.{suffix}", start, refused="could not be read|truncated|holds no image")
        for number in range(3):
            garbage = start + generator.bytes(700)
            yield Sample(f"garbage {number}.{suffix}", garbage, refused="could not be read|truncated|no image|breaks")
    grey, colour = noise(HEIGHT, WIDTH), noise(HEIGHT, WIDTH, 3)
    stack = noise(3, HEIGHT, WIDTH)
    whole = [
        Sample("png.png", png(grey[..., None], 8, 0), channels_first(grey)),
        Sample("interlaced.png", png(colour, 8, 2, interlaced=True), channels_first(colour)),
        Sample("strips.tif", tiff(page(grey, rows=4)), channels_first(grey)),
        Sample("deflate.tif", tiff(page(colour, 2, compression=8, rows=4)), channels_first(colour)),
        Sample("tiles.tif", tiff(page(grey, tile=16), big=True), channels_first(grey)),
        Sample("pages.tif", tiff(*[page(frame, compression=5) for frame in stack]), stack[:, None]),
        Sample("bmp.bmp", _bmp(colour.astype(np.uint32), 24, None), channels_first(colour[..., ::-1])),
        Sample("jpeg.jpg", saved(Image.fromarray(np.full((HEIGHT, WIDTH), 90, np.uint8)), "JPEG"),
               np.full((1, 1, HEIGHT, WIDTH), 90, np.uint8)),
    ]  # fmt: skip
    yield from cut(iter(whole), (0.05, 0.3, 0.5, 0.8, 0.95, 0.99))


RASTERS = (pngs, png_orientations, animations, jpegs, bmps, disguised, broken)
"""All of them, by kind."""
