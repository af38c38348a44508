"""Change files of a reader again and again, and go on from those that reach lines of the code that none reached before.

`python -m benchmarks.fuzz_coverage READER [--seconds 60] [--keep FOLDER]`. [Atheris](https://github.com/google/atheris)
(`pip install '.[fuzz]'`, Linux) notes which lines of bioseg, and of the libraries in Python that it reads by, an input
reaches. The whole files and the changes are those of `benchmarks.fuzz`. The first fault ends the program: an exception
that is none of `bioseg_cli.errors`, more than 10 s, or more than 3 GiB of resident memory. Its input is kept in the
folder, of the last two by libFuzzer with two bytes before it. Several files of one input, such as those of an OME-Zarr,
are changed one at a time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from random import Random

import atheris

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # whose sample files are changed here

with atheris.instrument_imports(include=["bioseg_cli", "roifile", "tifffile", "yaml"]):
    from helpers.fuzzing.inputs import changed, seeds_of
    from helpers.fuzzing.readers import READERS, prepare
    from helpers.fuzzing.seeds import Seed, written_to

from bioseg_cli.errors import BiosegError

NUMBER_BYTES = 2
"""Before the content of an input: the number of the whole file it was made of."""
MOST_MIB = 3 * 1024
MOST_BYTES = 2**16
"""Of an input, as libraries in Python are slow while they are watched."""


class Target:
    """What reads the inputs of a reader.

    Args:
        reader: its name.
        keep: a folder for inputs that made a fault.
    """

    def __init__(self, reader: str, keep: Path) -> None:
        self._read = READERS[reader].read
        self._keep = keep
        self._parts = [(seed, name) for seed in seeds_of(reader) for name in seed.files if name not in seed.kept]

    def write_corpus(self, folder: Path) -> None:
        """A file of each whole input, with the number of what it is."""
        for number, (seed, name) in enumerate(self._parts):
            folder.joinpath(str(number)).write_bytes(number.to_bytes(NUMBER_BYTES) + seed.files[name])

    def mutate(self, data: bytes, most: int, seed: int) -> bytes:
        """Another input: of the same whole file, with one more change."""
        dice = Random(seed)
        (given, name), (foreign, other) = self._part(data), dice.choice(self._parts)
        content = changed(dice, name or given.name, data[NUMBER_BYTES:], foreign.files[other])
        return (data[:NUMBER_BYTES] + content)[:most]

    def read(self, data: bytes) -> None:
        """Read an input; what is no error of bioseg ends the program."""
        seed, name = self._part(data)
        given = Seed(seed.name, {**seed.files, name: data[NUMBER_BYTES:]})
        try:
            with tempfile.TemporaryDirectory() as folder:
                self._read(written_to(Path(folder), given))
        except BiosegError:
            return
        except BaseException:
            written_to(self._keep, given)
            raise

    def _part(self, data: bytes) -> tuple[Seed, str]:
        return self._parts[int.from_bytes(data[:NUMBER_BYTES]) % len(self._parts)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader", choices=list(READERS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder for inputs that made a fault")
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    prepare()
    target = Target(options.reader, options.keep)
    with tempfile.TemporaryDirectory() as corpus:
        target.write_corpus(Path(corpus))
        limits = (f"-max_total_time={options.seconds}", "-timeout=10", f"-rss_limit_mb={MOST_MIB}")
        asked = (*limits, f"-max_len={MOST_BYTES}", f"-artifact_prefix={options.keep}/", "-print_final_stats=1", corpus)
        atheris.Setup([sys.argv[0], *asked], target.read, custom_mutator=target.mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
