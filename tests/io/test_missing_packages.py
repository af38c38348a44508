"""What an install without the packages of an extra can do, and what it says of the rest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import Result

Cli = Callable[..., Result]

STAGES = (
    "prepare",
    "training",
    "prediction",
    "evaluation",
    "suggest",
    "preview",
    "study",
    "report",
    "export",
    "checking",
)


@pytest.fixture
def no_volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nibabel was not installed and nothing had asked for it yet."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "nibabel"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("io.volumes", "io.nifti", "io.minc", "prediction.volumes", "prepare.recipes.bigbrain"):
        monkeypatch.delitem(sys.modules, f"bioseg_cli.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "nibabel", None)


@pytest.mark.slow
def test_every_stage_is_imported_without_the_packages_of_extras() -> None:
    absent = ["nibabel", "numba", "distributed", "onnx", "bioimageio", "pandas"]
    blocked = f"import sys; sys.modules.update(dict.fromkeys({absent}))"
    imports = "; ".join(f"import bioseg_cli.{stage}.session" for stage in STAGES)
    program = f"{blocked}; {imports}; import bioseg_cli.prediction.local; print('imported')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "imported", done.stderr


@pytest.mark.usefixtures("no_volumes")
def test_a_volume_without_its_packages_is_refused_before_anything_is_predicted(
    bioseg: Cli, disc_run: Path, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "image.tif", np.zeros((48, 48), np.uint8))
    (tmp_path / "brain.nii.gz").write_bytes(b"")
    result = bioseg("predict", disc_run, tmp_path, "--out", tmp_path / "masks")
    assert result.exit_code == 2
    assert "Volumes (NIfTI, MINC2) need the package nibabel" in result.output
    assert "pip install 'bioseg[volumes]'" in result.output
    assert not (tmp_path / "masks").exists()


@pytest.mark.usefixtures("no_volumes")
def test_slices_of_volumes_without_their_packages_are_refused(bioseg: Cli, tmp_path: Path) -> None:
    options = ("--image", tmp_path / "a.nii", "--labels", tmp_path / "b.nii", "--out", tmp_path / "d.h5")
    result = bioseg("prepare", "bigbrain", *options)
    assert result.exit_code == 2 and "pip install 'bioseg[volumes]'" in result.output
