"""The TIFFs of the corpus, and the writer of them: every tag is set here, and nothing is left to a library."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from itertools import product
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from helpers.corpus import Array, Sample, noise, saved, turned
from PIL import Image

HEIGHT, WIDTH = 21, 34
SHORT, LONG, LONG8, ASCII, RATIONAL = 3, 4, 16, 2, 5
FORMATS = {ASCII: "s", SHORT: "H", LONG: "I", LONG8: "Q", RATIONAL: "II"}
WHITE, BLACK, RGB, PALETTE, TRANSPARENCY, INKS, YCBCR, LAB = 0, 1, 2, 3, 4, 5, 6, 8
ENCODERS: dict[int, Any] = {
    1: bytes,
    5: imagecodecs.lzw_encode,
    8: zlib.compress,
    32773: imagecodecs.packbits_encode,
    32946: zlib.compress,
    34925: imagecodecs.lzma_encode,
    50000: imagecodecs.zstd_encode,
}
NAMES = {1: "none", 5: "lzw", 8: "deflate", 32773: "packbits", 32946: "old deflate", 34925: "lzma", 50000: "zstd"}


@dataclass
class Page:
    """A page to write: tags (type, values) by code, its strips or tiles, and the pages in its SubIFDs."""

    tags: dict[int, tuple[int, Any]]
    segments: list[bytes]
    below: list[Page] = field(default_factory=list)


def page(
    pixels: Array,
    photometric: int | None = BLACK,
    *,
    bits: int | None = None,
    order: str = "<",
    compression: int = 1,
    predictor: int = 1,
    planar: bool = False,
    rows: int | None = None,
    tile: int | None = None,
    fill: int = 1,
    encode: Any = None,
    tags: dict[int, tuple[int, Any]] | None = None,
) -> Page:
    """A page of pixels (H, W) or (H, W, S); `encode` gives a strip or tile (h, w, S) other bytes than `compression`."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    height, width, samples = pixels.shape
    bits = bits or pixels.dtype.itemsize * 8
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    tall, wide = (tile, tile) if tile else (rows or height, width)
    parts = []
    for plane in [pixels[..., [s]] for s in range(samples)] if planar else [pixels]:
        for top, left in product(range(0, height, tall), range(0, width, wide)):
            part = plane[top : top + tall, left : left + wide]
            if tile:
                part = np.pad(part, [(0, tall - part.shape[0]), (0, wide - part.shape[1]), (0, 0)])
            parts.append(encode(part) if encode else coded(part, bits, order, compression, predictor))
    if fill == 2:
        parts = [imagecodecs.bitorder_encode(part) for part in parts]
    found: dict[int, tuple[int, Any]] = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [bits] * samples),
        259: (SHORT, [compression]),
        277: (SHORT, [samples]),
        284: (SHORT, [2 if planar else 1]),
        339: (SHORT, [kind] * samples),
    }
    found |= {} if photometric is None else {262: (SHORT, [photometric])}
    found |= {322: (LONG, [tile]), 323: (LONG, [tile])} if tile else {278: (LONG, [tall])}
    found |= {317: (SHORT, [predictor])} if predictor > 1 else {}
    found |= {266: (SHORT, [fill])} if fill > 1 else {}
    return Page(found | (tags or {}), parts)


def coded(part: Array, bits: int, order: str, compression: int, predictor: int) -> bytes:
    """A strip or tile (h, w, S)."""
    if predictor == 2:
        part = np.concatenate([part[:, :1], np.diff(part, axis=1)], axis=1)
    if predictor == 3:
        content = b"".join(imagecodecs.floatpred_encode(np.ascontiguousarray(row), axis=-2).tobytes() for row in part)
    elif bits in (8, 16, 32, 64):
        content = part.astype(part.dtype.newbyteorder(order)).tobytes()
    else:
        values = part.reshape(len(part), -1).astype(np.uint64)
        shifts = np.arange(bits - 1, -1, -1, dtype=np.uint64)
        content = np.packbits(
            ((values[..., None] >> shifts) & 1).astype(np.uint8).reshape(len(part), -1), axis=1
        ).tobytes()
    return bytes(ENCODERS[compression](content))


def tiff(*pages: Page, order: str = "<", big: bool = False) -> bytes:
    """The file."""
    out = bytearray(b"II" if order == "<" else b"MM")
    out += struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, 0) if big else (42, 0)))
    link = len(out) - (8 if big else 4)
    for page in pages:
        at = _directory(out, page, order, big)
        struct.pack_into(order + ("Q" if big else "I"), out, link, at)
        link = len(out) - (8 if big else 4)
    return bytes(out)


def _directory(out: bytearray, page: Page, order: str, big: bool) -> int:
    """Append a page and those below it; returns where its directory is, whose link to the next one ends the file."""
    offsets = []
    for segment in page.segments:
        offsets.append(len(out))
        out += segment + b"\0" * (len(segment) % 2)
    tiled, pointer = 322 in page.tags, LONG8 if big else LONG
    tags = dict(page.tags)
    tags[324 if tiled else 273] = pointer, offsets
    tags[325 if tiled else 279] = pointer, [len(segment) for segment in page.segments]
    if page.below:
        tags[330] = pointer, [_directory(out, below, order, big) for below in page.below]
    room, entries = (8 if big else 4), b""
    for code, (kind, values) in sorted(tags.items()):
        content = bytes(values) if kind == ASCII else struct.pack(f"{order}{len(values)}{FORMATS[kind][0]}", *values)
        count = len(values) // (2 if kind == RATIONAL else 1)
        if len(content) > room:
            where = len(out)
            out += content + b"\0" * (len(content) % 2)
            content = struct.pack(order + ("Q" if big else "I"), where)
        entries += struct.pack(order + ("HHQ" if big else "HHI"), code, kind, count) + content.ljust(room, b"\0")
    at = len(out)
    out += struct.pack(order + ("Q" if big else "H"), len(tags)) + entries + b"\0" * room
    return at


def channels_first(pixels: Array) -> Array:
    """Frames (1, C, H, W) of pixels (H, W) or (H, W, C)."""
    return np.moveaxis(np.atleast_3d(pixels), -1, 0)[None]


KINDS = {
    **{f"uint{bits}": (np.dtype(f"u{max(1, 2 ** int(np.ceil(np.log2(bits / 8))))}" if bits > 8 else "u1"), bits)
       for bits in (1, 2, 4, 6, 8, 10, 12, 14, 16, 24, 32, 64)},
    **{f"int{bits}": (np.dtype(f"i{bits // 8}"), bits) for bits in (8, 16, 32, 64)},
    **{f"float{bits}": (np.dtype(f"f{bits // 8}"), bits) for bits in (16, 32, 64)},
}  # fmt: skip


def values_of(kind: str, *shape: int, seed: int = 0) -> Array:
    """Pixels of a type that use all of its bits."""
    dtype, bits = KINDS[kind]
    if dtype.kind == "f":
        return (noise(*shape, low=-999, high=999, dtype=np.float64, seed=seed) / 8).astype(dtype)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dtype.kind == "i" else (0, 2**bits - 1)
    return noise(*shape, low=low, high=high, dtype=dtype, seed=seed)


def depths() -> Iterator[Sample]:
    """Grey values of every depth, in both byte orders, in classic and big TIFFs, in strips and tiles."""
    for kind, order, big, tile in product(KINDS, "<>", (False, True), (None, 16)):
        pixels = values_of(kind, HEIGHT, WIDTH)
        single_page = page(pixels, bits=KINDS[kind][1], order=order, tile=tile, rows=8)
        name = f"{kind} {'little' if order == '<' else 'big'}{' bigtiff' if big else ''}{' tiles' if tile else ''}.tif"
        refused = "Pixels of 24 bits" if kind == "uint24" else None
        route = "none" if refused else "tifffile"
        yield Sample(name, tiff(single_page, order=order, big=big), channels_first(pixels), route, refused=refused)


def white_is_zero() -> Iterator[Sample]:
    """The same where white is zero, and what programs mean by it."""
    for kind, order, tile in product(KINDS, "<>", (None, 16)):
        dtype, bits = KINDS[kind]
        pixels = values_of(kind, HEIGHT, WIDTH, seed=1)
        content = tiff(page(pixels, WHITE, bits=bits, order=order, tile=tile, rows=8), order=order)
        name = f"white {kind} {'little' if order == '<' else 'big'}{' tiles' if tile else ''}.tif"
        if kind == "uint24":
            yield Sample(name, content, refused="Pixels of 24 bits")
        elif dtype.kind != "u":
            yield Sample(name, content, refused=f"no agreed meaning for values of type {dtype}")
        else:
            top = dtype.type(2**bits - 1)
            pillow = bits in (1, 8)
            shown = channels_first(top - pixels)
            yield Sample(name, content, shown, "Pillow" if pillow else "tifffile", lambda stored, top=top: top - stored)
    grey, alpha = noise(HEIGHT, WIDTH), noise(HEIGHT, WIDTH, seed=2)
    with_alpha = page(np.dstack([grey, alpha]), WHITE, tags={338: (SHORT, [2])})
    yield Sample("white grey and alpha.tif", tiff(with_alpha), channels_first(255 - grey), "tifffile", _inverted_first)
    two = page(np.dstack([grey, alpha]), WHITE, tags={338: (SHORT, [0])})
    yield Sample("white two channels.tif", tiff(two), refused="which of them are inverted is not said")
    for kind in ("uint8", "uint16", "float32"):
        pixels = values_of(kind, HEIGHT, WIDTH)
        imagej = page(pixels, WHITE, tags={270: (ASCII, b"ImageJ=1.54f\nmin=0.0\nmax=255.0\n\0")})
        yield Sample(f"white imagej {kind}.tif", tiff(imagej), channels_first(pixels), "tifffile")
    truth = noise(HEIGHT, WIDTH, high=1).astype(bool)
    for name, options in {"shaped": {}, "plain": {"metadata": None}, "ome": {"ome": True}}.items():
        stream = BytesIO()
        tifffile.imwrite(stream, truth, **options)
        yield Sample(
            f"white tifffile {name}.tif", stream.getvalue(), channels_first(truth.astype(np.uint8)), "tifffile"
        )
    unsaid = page(grey, None)
    yield Sample("no photometric.tif", tiff(unsaid), channels_first(grey), "tifffile")


def _inverted_first(stored: Array) -> Array:
    return 255 - stored[:1]


def compressions() -> Iterator[Sample]:
    """Every lossless compression, with every predictor, in strips and tiles and both byte orders."""
    for compression, kind, samples, tile in product(ENCODERS, ("uint8", "uint16", "float32"), (1, 3), (None, 16)):
        for predictor in (1, 3 if kind == "float32" else 2):
            order = "<>"[(compression + samples + predictor) % 2]
            pixels = values_of(kind, HEIGHT, WIDTH, samples)
            pixels[4:14] = pixels[4:5, :1]
            photometric = RGB if samples == 3 else BLACK
            options: dict[str, Any] = {"order": order, "tile": tile, "rows": 8, "predictor": predictor}
            single_page = page(pixels, photometric, compression=compression, **options)
            layout = "tiles" if tile else "strips"
            name = f"{NAMES[compression]} {kind} x{samples} predictor {predictor} {layout}.tif"
            if predictor > 1 and compression in (1, 32773):
                yield Sample(name, tiff(single_page, order=order), refused="differences")
            else:
                yield Sample(name, tiff(single_page, order=order), channels_first(pixels), "tifffile")


def colours() -> Iterator[Sample]:
    """RGB in one piece and in planes, with further samples that are alpha or are not."""
    extras = {"rgb": [], "premultiplied": [1], "alpha": [2], "fourth": [0]}
    for (word, extra), kind, planar, order in product(
        extras.items(), ("uint8", "uint16", "uint32", "float32"), (False, True), "<>"
    ):
        pixels = values_of(kind, HEIGHT, WIDTH, 3 + len(extra))
        tags = {338: (SHORT, extra)} if extra else {}
        single_page = page(pixels, RGB, planar=planar, order=order, rows=7, tags=tags)
        kept = 4 if word == "fourth" else 3
        name = f"colour {word} {kind} {'planes' if planar else 'pixels'} {'little' if order == '<' else 'big'}.tif"
        if word in ("premultiplied", "alpha") and kind != "uint8":
            # tifffile writes four of anything so, and hardly any other program does.
            yield Sample(name, tiff(single_page, order=order), refused="Nothing in the file says which axis")
            continue
        shown = channels_first(pixels)[:, :kept]
        seen = lambda stored, kept=kept: stored[:kept]  # noqa: E731
        pillow = kind == "uint8" and word in ("rgb", "alpha") and not planar
        yield Sample(name, tiff(single_page, order=order), shown, "Pillow" if pillow else "tifffile", seen)


def palettes() -> Iterator[Sample]:
    """Palettes of 16 and of 8 bits, their colours, and those of programs that colour intensities."""
    for bits, order, tile, old in product((1, 2, 4, 8, 16), "<>", (None, 16), (False, True)):
        indices = noise(HEIGHT, WIDTH, high=2**bits - 1, dtype=np.uint16 if bits == 16 else np.uint8)
        colourmap = noise(3, 2**bits, high=255 if old else 65535, dtype=np.uint16, seed=3)
        single_page = page(
            indices, PALETTE, bits=bits, order=order, tile=tile, tags={320: (SHORT, colourmap.ravel().tolist())}
        )
        colours = (colourmap if old else colourmap >> 8).astype(np.uint8)
        name = f"palette {bits} {'little' if order == '<' else 'big'} {'tiles' if tile else 'strip'}{' old' * old}.tif"
        pillow = bits in (1, 2, 4, 8) and not old
        seen = lambda stored, colours=colours: colours[:, stored[0]]  # noqa: E731
        yield Sample(
            name, tiff(single_page, order=order), colours[:, indices][None], "Pillow" if pillow else "tifffile", seen
        )
    indices = noise(HEIGHT, WIDTH)
    tags: dict[int, tuple[int, Any]] = {320: (SHORT, noise(768, high=65535, dtype=np.uint16).tolist())}
    for order in "<>":
        imagej = page(indices, PALETTE, order=order, tags=tags | {270: (ASCII, b"ImageJ=1.54f\n\0")})
        name = f"palette imagej {'little' if order == '<' else 'big'}.tif"
        yield Sample(name, tiff(imagej, order=order), channels_first(indices), "tifffile")
    for name, tag in {"no": {}, "short": {320: (SHORT, [0, 1, 2] * 4)}}.items():
        yield Sample(
            f"palette {name} colours.tif", tiff(page(indices, PALETTE, tags=tag)), refused="palette of the col"
        )


def refused_colours() -> Iterator[Sample]:
    """Colours that no fixed rule turns into grey values or RGB."""
    cases = {
        "inks": (INKS, 4, "CMYK or other inks"), "ycbcr": (YCBCR, 3, "YCbCr without JPEG"),
        "cielab": (LAB, 3, "CIELAB"), "icclab": (9, 3, "ICCLAB"), "itulab": (10, 3, "ITULAB"),
        "filter array": (32803, 1, "CFA"), "linear raw": (34892, 3, "LINEAR_RAW"), "logl": (32844, 1, "LOGL"),
        "logluv": (32845, 3, "LOGLUV"), "unheard of": (777, 1, "PhotometricInterpretation 777"),
        "transparency": (TRANSPARENCY, 1, "MASK"),
    }  # fmt: skip
    for (word, (photometric, samples, said)), kind, order in product(cases.items(), ("uint8", "uint16"), "<>"):
        pixels = values_of(kind, HEIGHT, WIDTH, samples)
        name = f"{word} {kind} {'little' if order == '<' else 'big'}.tif"
        yield Sample(name, tiff(page(pixels, photometric, order=order), order=order), refused=said)
    thinned = page(noise(HEIGHT, WIDTH, 3), YCBCR, tags={530: (SHORT, [2, 2])})
    yield Sample("ycbcr subsampled.tif", tiff(thinned), refused="YCbCr without JPEG")
    aperio = page(noise(HEIGHT, WIDTH, 3), RGB, compression=33003, encode=imagecodecs.jpeg2k_encode)
    yield Sample("aperio ycbcr.tif", tiff(aperio), refused="YCbCr without JPEG")
    for bits in (64, 128):
        complex_page = page(noise(HEIGHT, WIDTH, dtype=np.uint64), bits=64, tags={339: (SHORT, [6])})
        if bits == 64:
            yield Sample("complex.tif", tiff(complex_page), refused="complex64 are no intensities")
        else:
            complex_page.tags[258] = SHORT, [3]
            yield Sample("three bits of complex.tif", tiff(complex_page), refused="Pixels of 3 bits")


def orientations() -> Iterator[Sample]:
    """All eight, of grey values, colours, palettes and bits, in strips and tiles."""
    kinds: dict[str, tuple[Array, int, int, bool]] = {
        "grey": (noise(HEIGHT, WIDTH), BLACK, 8, True), "deep": (values_of("uint16", HEIGHT, WIDTH), BLACK, 16, True),
        "colour": (noise(HEIGHT, WIDTH, 3), RGB, 8, True), "bits": (noise(HEIGHT, WIDTH, high=1), BLACK, 1, True),
        "white": (noise(HEIGHT, WIDTH), WHITE, 8, True),
        "float": (values_of("float32", HEIGHT, WIDTH), BLACK, 32, True),
        "wide": (values_of("uint32", HEIGHT, WIDTH), BLACK, 32, False),
    }  # fmt: skip
    for (word, (pixels, photometric, bits, pillow)), orientation, tile in product(
        kinds.items(), range(1, 9), (None, 16)
    ):
        single_page = page(pixels, photometric, bits=bits, tile=tile, rows=5, tags={274: (SHORT, [orientation])})
        shown = turned(channels_first(255 - pixels if photometric == WHITE else pixels), orientation)
        seen = lambda stored, orientation=orientation: turned(stored, orientation)  # noqa: E731
        route = "Pillow" if pillow else "tifffile"
        yield Sample(
            f"orientation {orientation} {word}{' tiles' if tile else ''}.tif", tiff(single_page), shown, route, seen
        )
    grey = noise(HEIGHT, WIDTH)
    for orientation in (0, 9):  # these do not exist
        single_page = page(grey, tags={274: (SHORT, [orientation])})
        yield Sample(f"orientation {orientation}.tif", tiff(single_page), channels_first(grey), "Pillow")
    mixed = [page(grey, tags={274: (SHORT, [orientation])}) for orientation in (1, 6)]
    yield Sample("orientations differ.tif", tiff(*mixed), refused=r"lie different ways round.*1, 6")


def fills() -> Iterator[Sample]:
    """Bits of a byte in the other order."""
    for bits, photometric, order in product((1, 2, 4, 8, 12, 16), (WHITE, BLACK), "<>"):
        pixels = values_of(f"uint{bits}", HEIGHT, WIDTH)
        single_page = page(pixels, photometric, bits=bits, order=order, fill=2, rows=8)
        top = pixels.dtype.type(2**bits - 1)
        shown = channels_first(top - pixels if photometric == WHITE else pixels)
        white = photometric == WHITE
        seen = lambda stored, top=top, white=white: top - stored if white else stored  # noqa: E731
        name = f"fill order 2 {bits} {'white' if white else 'black'} {'little' if order == '<' else 'big'}.tif"
        yield Sample(
            name,
            tiff(single_page, order=order),
            shown,
            "Pillow" if bits == 1 or (bits == 8 and not white) else "tifffile",
            seen,
        )


def lossy() -> Iterator[Sample]:
    """JPEG strips and tiles: grey, RGB as it is, and YCbCr with and without thinned colours."""
    grid = np.mgrid[:HEIGHT, :WIDTH]
    smooth = np.stack([grid[0] * 9, grid[1] * 7, grid.sum(axis=0) * 4], axis=-1).astype(np.uint8)
    for tile, quality in product((None, 16), (60, 95)):
        layout: dict[str, Any] = {"tile": tile, "rows": 16, "compression": 7}
        where = f"{'tiles' if tile else 'strips'} {quality}"
        for photometric, word in ((BLACK, "black"), (WHITE, "white")):
            single_page = page(
                smooth[..., 0], photometric, encode=lambda part, q=quality: _jpeg(part[..., 0], q), **layout
            )
            yield Sample(f"jpeg {word} {where}.tif", tiff(single_page), None, "Pillow")
        single_page = page(smooth, RGB, encode=lambda part, q=quality: _jpeg(part, q, colorspace="RGB"), **layout)
        yield Sample(f"jpeg rgb {where}.tif", tiff(single_page), None, "Pillow")
        for thinned, factors in (("4:4:4", (1, 1)), ("4:2:2", (2, 1)), ("4:2:0", (2, 2))):
            encode = lambda part, q=quality, t=thinned: _jpeg(part, q, subsampling=t)  # noqa: E731
            single_page = page(smooth, YCBCR, encode=encode, tags={530: (SHORT, factors)}, **layout)
            yield Sample(f"jpeg ycbcr {thinned.replace(':', '')} {where}.tif", tiff(single_page), None, "Pillow")
    for mode in ("L", "RGB"):
        image = Image.fromarray(smooth if mode == "RGB" else smooth[..., 0])
        yield Sample(f"jpeg by libtiff {mode}.tif", saved(image, "TIFF", compression="jpeg"), None, "Pillow")
    planes = page(smooth, YCBCR, planar=True, encode=lambda part: _jpeg(part[..., 0], 90), compression=7)
    yield Sample("jpeg ycbcr planes.tif", tiff(planes), refused="YCbCr")


def _jpeg(part: Array, quality: int, colorspace: str | None = None, subsampling: str = "4:4:4") -> bytes:
    if colorspace == "RGB":
        options = {"colorspace": "RGB", "outcolorspace": "RGB"}
        return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(part), level=quality, **options))
    return saved(Image.fromarray(np.ascontiguousarray(part)), "JPEG", quality=quality, subsampling=subsampling)


def faxes() -> Iterator[Sample]:
    """CCITT codes, as libtiff writes them, with white as zero and as one."""
    bits = noise(HEIGHT, WIDTH, high=9) > 6
    for compression, photometric in product(("tiff_ccitt", "group3", "group4"), (WHITE, BLACK)):
        content = saved(Image.fromarray(bits), "TIFF", compression=compression, tiffinfo={262: photometric})
        name = f"fax {compression} {'white' if photometric == WHITE else 'black'}.tif"
        yield Sample(name, content, channels_first(bits.astype(np.uint8)), "Pillow")
        # Without the tag ink on paper is meant, in which 0 is white.
        unsaid = content.replace(struct.pack("<HHI", 262, 3, 1), struct.pack("<HHI", 60000, 3, 1), 1)
        shown = bits if photometric == WHITE else ~bits
        yield Sample(f"unsaid {name}", unsaid, channels_first(shown.astype(np.uint8)))


def codecs() -> Iterator[Sample]:
    """Image codecs inside TIFFs, lossless ones by what went in."""
    grey, deep, colour = noise(32, 32), values_of("uint16", 32, 32), noise(32, 32, 3)
    cases: list[tuple[str, int, Array, Any]] = [
        ("jpeg2000", 34712, grey, imagecodecs.jpeg2k_encode), ("jpeg2000", 34712, deep, imagecodecs.jpeg2k_encode),
        ("jpeg2000", 34712, colour, imagecodecs.jpeg2k_encode),
        ("webp", 50001, colour, lambda part: imagecodecs.webp_encode(part, lossless=True)),
        ("png", 34933, grey, imagecodecs.png_encode), ("png", 34933, colour, imagecodecs.png_encode),
        ("jpeg xl", 50002, grey, lambda part: imagecodecs.jpegxl_encode(part, lossless=True)),
        ("jpeg xl", 50002, colour, lambda part: imagecodecs.jpegxl_encode(part, lossless=True)),
        ("jpeg xr", 34934, grey, lambda part: imagecodecs.jpegxr_encode(part, level=1.0)),
    ]  # fmt: skip
    for (name, compression, pixels, encode), tile in product(cases, (None, 16)):
        single_page = page(
            pixels,
            RGB if pixels.ndim == 3 else BLACK,
            compression=compression,
            tile=tile,
            rows=16,
            encode=lambda part, encode=encode: bytes(encode(np.ascontiguousarray(part.squeeze()))),
        )
        file = f"{name} {pixels.dtype} x{pixels.ndim - 1}{' tiles' if tile else ''}.tif"
        yield Sample(file, tiff(single_page), channels_first(pixels), "tifffile")
    for kind in ("uint8", "uint16", "float32"):
        pixels, stream = values_of(kind, 32, 32), BytesIO()
        tifffile.imwrite(stream, pixels, compression="lerc", metadata=None)
        yield Sample(f"lerc {kind}.tif", stream.getvalue(), channels_first(pixels), "tifffile")
    unknown = page(grey, compression=4711, encode=lambda part: part.tobytes())
    yield Sample("unheard-of compression.tif", tiff(unknown), refused="could not be read")


def several_pages() -> Iterator[Sample]:
    """Pages of one kind are frames, in any wrapping; others are separate images."""
    for kind, order, big, compression in product(("uint8", "uint16", "float32"), "<>", (False, True), (1, 8)):
        stack = values_of(kind, 3, HEIGHT, WIDTH)
        pages = [page(frame, order=order, compression=compression, rows=6) for frame in stack]
        name = f"pages {kind} {'little' if order == '<' else 'big'} {'big' if big else 'classic'} {compression}.tif"
        yield Sample(name, tiff(*pages, order=order, big=big), stack[:, None], "tifffile", pages=(0, 1, 2))
    first, other = noise(HEIGHT, WIDTH), noise(HEIGHT, WIDTH + 1)
    yield Sample("pages of two sizes.tif", tiff(page(first), page(other)), refused="2 separate images")
    deep = values_of("uint16", HEIGHT, WIDTH)
    yield Sample("pages of two types.tif", tiff(page(first), page(deep)), refused="2 separate images")
    half = noise(HEIGHT // 2, WIDTH // 2)
    yield Sample("a page and half of one.tif", tiff(page(first), page(half)), refused="2 separate images")
    yield Sample("pages black and white.tif", tiff(page(first), page(first, WHITE)), refused="2 separate images")
    colour = noise(HEIGHT, WIDTH, 3)
    yield Sample("pages grey and colour.tif", tiff(page(first), page(colour, RGB)), refused="2 separate images")
    white = (
        np.stack([first, half.repeat(2, 0).repeat(2, 1)[:HEIGHT, :WIDTH]]) if HEIGHT % 2 == 0 else np.stack([first] * 2)
    )
    both = tiff(*[page(frame, WHITE) for frame in white])
    yield Sample("pages white.tif", both, 255 - white[:, None], "tifffile", lambda stored: 255 - stored, (0, 1))


def previews() -> Iterator[Sample]:
    """Files with previews, pyramids and transparency masks: the full image is what counts, wherever it is."""
    full = noise(64, 96)
    small, tiny, odd = full[::2, ::2], full[::4, ::4], full[::5, ::5]
    reduced, old, opaque = {254: (LONG, [1])}, {255: (SHORT, [2])}, {254: (LONG, [4])}
    bits = (full > 99).astype(np.uint8)
    shown = channels_first(full)

    def sample(name: str, *pages: Page, at: int = 0) -> Sample:
        return Sample(f"{name}.tif", tiff(*pages), shown, "tifffile", pages=(at,))

    yield sample("preview behind", page(full), page(odd, tags=reduced))
    yield sample("preview before", page(odd, tags=reduced), page(full), at=1)
    yield sample("old preview behind", page(full, tags={255: (SHORT, [1])}), page(odd, tags=old))
    yield sample("old preview before", page(odd, tags=old), page(full), at=1)
    yield sample("preview of half behind", page(full), page(small, tags=reduced))
    yield sample("preview of half before", page(small, tags=reduced), page(full), at=1)
    yield sample("preview as large", page(full), page(full[::-1], tags=reduced))
    yield sample("preview as large before", page(full[::-1], tags=reduced), page(full), at=1)
    yield sample("preview in colour", page(full), page(np.dstack([odd] * 3), RGB, tags=reduced))
    yield sample("two previews", page(full), page(small, tags=reduced), page(odd, tags=reduced))
    yield sample("transparency behind", page(full), page(bits, TRANSPARENCY, bits=1, tags=opaque))
    yield sample("transparency before", page(bits, TRANSPARENCY, bits=1, tags=opaque), page(full), at=1)
    yield sample(
        "preview of transparency", page(full), page(bits[::2, ::2], TRANSPARENCY, bits=1, tags={254: (LONG, [5])})
    )
    yield sample("turned preview", page(full), page(odd, tags=reduced | {274: (SHORT, [6])}))
    yield sample("preview in white", page(full), page(odd, WHITE, tags=reduced))
    pyramid = page(full)
    pyramid.below = [page(small, tags=reduced), page(tiny, tags=reduced)]
    yield sample("pyramid below", pyramid)
    unmarked = page(full)
    unmarked.below = [page(small), page(tiny)]
    yield sample("pyramid below, unmarked", unmarked)
    yield sample("pyramid behind", page(full), page(small, tags=reduced), page(tiny, tags=reduced))
    yield sample("pyramid behind, unmarked", page(full), page(small), page(tiny))
    with_preview = page(full)
    with_preview.below = [page(odd, tags=reduced)]
    yield sample("preview below", with_preview)
    raw = page(odd, tags=reduced)
    raw.below = [page(full)]
    yield Sample("image below its preview.tif", tiff(raw), shown)
    filtered = page(odd, tags=reduced)
    filtered.below = [page(full, 32803)]
    yield Sample("raw photograph.tif", tiff(filtered), refused="CFA")
    stack = np.stack([full, full[::-1], full[:, ::-1]])
    pages = [laid_out for frame in stack for laid_out in (page(frame), page(frame[::5, ::5], tags=reduced))]
    yield Sample("pages with previews.tif", tiff(*pages), stack[:, None], "tifffile", pages=(0, 2, 4))
    alone = page(full, tags=reduced)
    yield sample("nothing but a preview", alone)
    yield Sample("two sizes of previews.tif", tiff(alone, page(odd, tags=reduced)), refused="2 separate images")
    yield Sample("three unlike images.tif", tiff(page(full), page(odd), page(full[:9])), refused="3 separate images")


TIFFS = (
    depths, white_is_zero, compressions, colours, palettes, refused_colours, orientations, fills, lossy, faxes, codecs,
    several_pages, previews,
)  # fmt: skip
"""All of them, by kind."""
