"""What processes that were killed left is removed by the next owner of the place, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bioseg_cli.io.files import is_occupied, temporary_path
from bioseg_cli.io.owner import Owner
from bioseg_cli.io.ownership import discard_owners, owned_file, owned_folder

DEAD = replace(Owner.this_process(), began="1", token="theirs")


def left_of(path: Path) -> Path:
    """A file that a process left half-written when it was killed."""
    left = temporary_path(path)
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"half")
    return left


def owned_by(owner: Owner, path: Path) -> Path:
    """The file that an owner has there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(owner)))
    return path


def test_who_owns_a_folder_removes_what_others_left_below_it(tmp_path: Path):
    for name in ("t1.tif", "overlays/t1.png", ".bioseg.owner"):
        left_of(tmp_path / name)
    (tmp_path / ".hidden").touch()
    (tmp_path / "t1.5.partial.tif").touch()
    with owned_folder(tmp_path):
        found = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {".bioseg.owner", ".hidden", "t1.5.partial.tif"}


@pytest.mark.parametrize("options", [{"part": "1-2"}, {"tidy": False}])
def test_nothing_is_removed_where_others_may_write_too(tmp_path: Path, options: dict[str, object]):
    left = left_of(tmp_path / "t1.tif")
    with owned_folder(tmp_path, **options):  # type: ignore[arg-type]
        assert left.exists()


def test_what_others_own_below_a_folder_stays(tmp_path: Path):
    theirs = [
        left_of(tmp_path / "runs" / "a" / "checkpoints" / "last.safetensors"),
        left_of(tmp_path / "cells.h5"),
        left_of(tmp_path / "cells.yaml"),
        left_of(temporary_path(tmp_path / "label") / "suggested.json"),
    ]
    owned_by(Owner.this_process(), tmp_path / "runs" / "a" / ".bioseg.owner")
    owned_by(Owner.this_process(), tmp_path / ".cells.h5.owner")
    dead = left_of(tmp_path / "cell.h5")
    with owned_folder(tmp_path):
        assert not dead.exists()
        assert all(left.exists() for left in theirs)


def test_who_owns_a_file_removes_what_others_left_of_it(tmp_path: Path):
    mine = [left_of(tmp_path / name) for name in ("cells.h5", "cells.yaml", "cells.png", ".cells.h5.owner")]
    others = [left_of(tmp_path / name) for name in ("cell.h5", "cells.2.h5")]
    with owned_file(tmp_path / "cells.h5"):
        assert not any(left.exists() for left in mine)
        assert all(left.exists() for left in others)


def test_who_owns_a_folder_to_be_replaced_removes_what_others_left_of_it(tmp_path: Path):
    left_of(temporary_path(tmp_path / "label") / "images" / "a.tif")
    with owned_file(tmp_path / "label"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_the_same_stem_that_another_process_owns_stays(tmp_path: Path):
    owned_by(Owner.this_process(), tmp_path / ".cells.png.owner")
    theirs, mine = left_of(tmp_path / "cells.png"), left_of(tmp_path / "cells.h5")
    with owned_file(tmp_path / "cells.h5"):
        assert theirs.exists() and not mine.exists()


def test_a_folder_with_what_a_killed_process_left_is_not_occupied(tmp_path: Path):
    left_of(tmp_path / "manifest.yaml")
    owned_by(DEAD, tmp_path / ".bioseg.owner")
    assert not is_occupied(tmp_path)
    (tmp_path / "manifest.yaml").touch()
    assert is_occupied(tmp_path)


def test_dead_owners_are_removed_with_what_they_left_and_living_ones_stay(tmp_path: Path):
    dead = [owned_by(DEAD, tmp_path / name) for name in ("runs/a/.bioseg.owner", "scores/.a.json.owner")]
    left = [left_of(tmp_path / name) for name in ("runs/a/resume.pt", "scores/a.json")]
    living = owned_by(Owner.this_process(), tmp_path / "runs" / "b" / ".bioseg.owner")
    kept = left_of(tmp_path / "runs" / "b" / "resume.pt")
    discard_owners(tmp_path)
    assert not any(path.exists() for path in (*dead, *left))
    assert living.exists() and kept.exists()
