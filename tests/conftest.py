"""What the tests share: a tiny data set of bright discs, a run trained on it, and the command line."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import Result
from helpers.drawn import SIDE
from hypothesis import settings
from typer.testing import CliRunner

from bioseg_cli.cli.app import app
from bioseg_cli.config import ClassInfo, SplitName
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.runs.manifest import Manifest

# A deadline times the machine, not the code; and continuous integration repeats what it saw.
settings.register_profile("bioseg", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("bioseg")

SIZE = 48
SPLITS: tuple[SplitName, ...] = ("train",) * 8 + ("val",) * 3 + ("test",) * 2
DISC_SETTINGS = ("--labels", 4, "--width", 8, "--steps", 60, "--batch-size", 2, "--lr", 0.01, "--quiet")
CLASSES = (ClassInfo(name="background", colour=(0, 0, 0)), ClassInfo(name="cell", colour=(255, 180, 0)))


def new_manifest() -> Manifest:
    """The manifest of a run that has begun, as far as every run has one."""
    return Manifest.model_validate(
        {
            "command": "train-uda",
            "status": "running",
            "config": {"lr": 0.001, "note": "µ"},
            "data": {"path": "discs.h5", "content_hash": "abc"},
            "times": {"started": "2026-01-01T00:00:00+00:00"},
        }
    )


def discs(index: int, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """One uint16 image (1, H, W) of bright discs on noise, and its mask (H, W)."""
    random = np.random.default_rng(index)
    rows, columns = np.mgrid[:size, :size]
    mask = np.zeros((size, size), dtype=np.uint8)
    for _ in range(4):
        row, column = random.uniform(0, size, 2)
        mask[(rows - row) ** 2 + (columns - column) ** 2 < random.uniform(4, 7) ** 2] = 1
    image = 1000 + 1500.0 * mask + random.normal(0, 150, mask.shape)
    return image.astype(np.uint16)[None], mask


def write_discs(
    path: Path,
    splits: tuple[SplitName, ...] = SPLITS,
    *,
    unlabelled: tuple[int, ...] = (),
    wrong: tuple[int, ...] = (),
    empty: tuple[int, ...] = (),
    drawn: dict[int, np.ndarray] | None = None,
    settings: dict[str, object] | None = None,
    number: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Path:
    """A data set of discs; `unlabelled` images have no mask, `wrong` ones its opposite, `empty` ones one without discs.

    Of those in `drawn` the labels are ignored where it is false; `settings` are what the data set says of itself;
    `number` gives the numbers of the objects of a mask.
    """
    shape = (1, SIZE, SIZE)
    with DatasetWriter(
        path, count=len(splits), image_shape=shape, image_dtype=np.uint16, objects=number is not None
    ) as writer:
        for index, split in enumerate(splits):
            image, mask = discs(index)
            mask = 1 - mask if index in wrong else mask * (index not in empty)
            mask = np.where((drawn or {}).get(index, True), mask, 255).astype(np.uint8)
            source = ItemSource(f"disc{index}.tif", f"{index:064x}", 0, (0, 0), (SIZE, SIZE))
            labelled = index not in unlabelled
            numbers = None if number is None or not labelled else number(mask == 1)
            writer.add(Item(image, mask if labelled else None, split, f"g{index}", source, numbers))
        writer.finish(
            DatasetInfo(
                recipe="discs",
                settings=settings or {},
                classes=CLASSES,
                normalisation=Normalisation(method="minmax", low=(500.0,), high=(3200.0,)),
                pixel_size=PixelSize(0.5, 0.5, "µm"),
            )
        )
    return path


@pytest.fixture(scope="session")
def disc_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 training, 3 validation and 2 test images of 48 x 48 pixels, all with masks."""
    return write_discs(tmp_path_factory.mktemp("data") / "discs.h5")


@pytest.fixture(scope="session")
def bioseg() -> Callable[..., Result]:
    """Run the command line in this process: `bioseg("evaluate", run, "--json")`."""
    runner = CliRunner()

    def run(*arguments: object) -> Result:
        return runner.invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="session")
def disc_run(tmp_path_factory: pytest.TempPathFactory, disc_dataset: Path, bioseg: Callable[..., Result]) -> Path:
    """A small network trained long enough to find the discs."""
    run = tmp_path_factory.mktemp("runs") / "discs"
    result = bioseg("train-uda", disc_dataset, "--run", run, *DISC_SETTINGS)
    assert result.exit_code == 0, result.output
    return run


@pytest.fixture(scope="session")
def disc_control(tmp_path_factory: pytest.TempPathFactory, disc_dataset: Path, bioseg: Callable[..., Result]) -> Path:
    """The supervised control of `disc_run`."""
    run = tmp_path_factory.mktemp("runs") / "control"
    result = bioseg("train-uda", disc_dataset, "--run", run, *DISC_SETTINGS, "--unsup-loss", "none")
    assert result.exit_code == 0, result.output
    return run


class Server:
    """Serves files from memory; can break off, or announce another length, and remembers what was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.bytes_before_break: list[int] = []
        self.supports_ranges = True
        self.announced: str | None = None
        """What is sent as the length of the content; "" = no length at all."""
        self.times = 1
        """The content is sent so many times."""
        self.ranges: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                server.ranges.append(wanted)
                content = server.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.supports_ranges else 0
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                length = str(len(content) - start) if server.announced is None else server.announced
                if length:
                    self.send_header("Content-Length", length)
                self.end_headers()
                end = start + server.bytes_before_break.pop(0) if server.bytes_before_break else None
                with contextlib.suppress(ConnectionError):  # who asked has gone
                    for _ in range(server.times):
                        self.wfile.write(content[start:end])

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}/set"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Serve no more: who connects from now on is refused."""
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def shared_folder(variable: str) -> Path:
    """A folder of reference material outside the repository; the test is skipped without it."""
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"{variable} is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def oracles() -> Path:
    """Expected numbers from independent implementations."""
    return shared_folder("BIOSEG_ORACLES")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real images and volumes."""
    return shared_folder("BIOSEG_DATA")


@pytest.fixture
def heeded() -> Iterator[None]:
    """Ctrl-C interrupts even where the tests were started in the background, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def blank_images(tmp_path: Path) -> Path:
    """A folder of six images of noise to draw on, beside an empty folder `drawn`."""
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "drawn").mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 999, (SIDE, SIDE)).astype(np.uint16)
        tifffile.imwrite(folder / f"a{number}.tif", pixels)
    return folder
