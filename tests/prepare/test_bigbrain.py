"""Slices of volumes are exact: against formulas, the voxels themselves, and scipy's interpolation."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from bioseg_cli.io.volumes import Volume, open_volume
from bioseg_cli.prepare.recipes.bigbrain_settings import BigBrainConfig
from bioseg_cli.prepare.slicing.planes import Plane, Slab, draw_planes
from bioseg_cli.prepare.slicing.sampling import Cuts
from bioseg_cli.prepare.slicing.slices import SampledVolume, sample
from bioseg_cli.runs.console import ConsoleOutput

QUIET = ConsoleOutput(quiet=True)
OBLIQUE = np.array([[0.9, 0.2, -0.1, -8.0], [-0.1, 1.1, 0.3, -12.0], [0.2, -0.2, 1.3, -15.0], [0, 0, 0, 1]])
"""Of voxels (i, j, k), neither upright nor cubic."""


def written(path: Path, voxels: np.ndarray, affine: np.ndarray = OBLIQUE) -> Volume:
    """A NIfTI file of voxels (i, j, k), opened."""
    nib.Nifti1Image(voxels, affine).to_filename(path)
    return open_volume(path)


def drawn(volume: Volume, count: int, side: int, **options: object) -> list[Plane]:
    options = {"split_by": "random", "slices": count, "crop": side} | options
    return draw_planes(BigBrainConfig(image=volume.path, labels=volume.path, **options), volume)


def sampled(volume: Volume, planes: list[Plane], folder: Path, *, nearest: bool, workers: int = 2) -> SampledVolume:
    folder.mkdir(parents=True, exist_ok=True)
    return sample(volume, planes, folder, nearest=nearest, workers=workers, output=QUIET)


def world(plane: Plane) -> np.ndarray:
    """(side, side, 3) positions of the pixels' centres in millimetres."""
    rows, columns = np.mgrid[: plane.side, : plane.side]
    return np.stack([rows, columns, 0 * rows, 0 * rows + 1], axis=-1) @ plane.matrix.T


def voxel_coordinates(plane: Plane, volume: Volume) -> np.ndarray:
    """(3, side, side) coordinates k, j, i of the pixels' centres."""
    inverse = np.linalg.inv(volume.affine)
    return np.moveaxis(world(plane) @ inverse[:3, :3].T + inverse[:3, 3], -1, 0)


def away_from_edges(coordinates: np.ndarray, volume: Volume, margin: float = 1e-6) -> tuple[np.ndarray, np.ndarray]:
    """Pixels certainly inside the volume's voxels, and certainly outside."""
    limits = np.array(volume.shape)[:, None, None] - 0.5
    inside = ((coordinates > -0.5 + margin) & (coordinates < limits - margin)).all(axis=0)
    outside = ((coordinates < -0.5 - margin) | (coordinates > limits + margin)).any(axis=0)
    return inside, outside


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    """(i, j, k) uint8, with grey differences from 0 to 255 between neighbours."""
    return np.random.default_rng(0).integers(0, 256, (24, 31, 37), dtype=np.uint8)


@pytest.mark.slow
def test_a_linear_volume_gives_the_formula_at_any_rotation(tmp_path) -> None:
    i, j, k = np.mgrid[:24, :31, :37]
    position = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ OBLIQUE[:3].T
    slope = np.array([0.7, -1.3, 0.4])
    volume = written(tmp_path / "ramp.nii.gz", (position @ slope + 5).astype(np.float32))
    planes = drawn(volume, 20, 40)
    slices = sampled(volume, planes, tmp_path / "s", nearest=False)
    compared = 0
    for index, plane in enumerate(planes):
        coordinates = voxel_coordinates(plane, volume)
        # Between the centres of voxels; in the outer half of the outermost ones their value holds.
        between = ((coordinates >= 0) & (coordinates <= np.array(volume.shape)[:, None, None] - 1)).all(axis=0)
        expected = world(plane) @ slope + 5
        np.testing.assert_allclose(slices.slice(index)[between], expected[between], rtol=0, atol=2e-5)
        compared += between.sum()
    assert compared > 5000


def test_spheres_of_labels_are_circles(tmp_path) -> None:
    affine = np.diag([0.5, 0.5, 0.5, 1])
    i, j, k = np.mgrid[:40, :40, :40] * 0.5
    codes = np.ones((40, 40, 40), dtype=np.uint8)
    for centre, radius, code in (((6, 6, 6), 4, 2), ((13, 12, 14), 5, 7)):
        codes[(i - centre[0]) ** 2 + (j - centre[1]) ** 2 + (k - centre[2]) ** 2 < radius**2] = code
    volume = written(tmp_path / "spheres.nii", codes, affine)
    planes = drawn(volume, 30, 40)
    slices = sampled(volume, planes, tmp_path / "s", nearest=True)
    seen = set()
    for index, plane in enumerate(planes):
        values = slices.slice(index)
        for centre, radius, code in (((6, 6, 6), 4, 2), ((13, 12, 14), 5, 7)):
            distance = np.linalg.norm(world(plane) - centre, axis=-1)
            # The nearest voxel is at most half a diagonal away.
            half_diagonal = 0.5 * 3**0.5 / 2
            assert (values[distance < radius - half_diagonal] == code).all()
            assert (values[distance > radius + half_diagonal] != code).all()
            seen.update(np.unique(values))
    assert seen == {1, 2, 7}


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), side=st.integers(16, 50), spacing=st.floats(0.2, 3.0))
def test_as_map_coordinates(noise, tmp_path_factory, seed, side, spacing) -> None:
    folder = tmp_path_factory.mktemp("noise")
    volume = written(folder / "noise.nii", noise)
    planes = drawn(volume, 3, side, seed=seed, spacing=spacing)
    stored = noise.transpose(2, 1, 0)
    images = sampled(volume, planes, folder / "image", nearest=False)
    labels = sampled(volume, planes, folder / "labels", nearest=True)
    for index, plane in enumerate(planes):
        coordinates = voxel_coordinates(plane, volume)
        inside, outside = away_from_edges(coordinates, volume)
        expected = map_coordinates(stored.astype(np.float64), coordinates, order=1, mode="nearest")
        image = images.slice(index)
        assert (np.abs(image[inside] - expected[inside]) <= 0.5 + 1e-6).all()
        assert (image[outside] == images.survey.outside).all()
        untied = inside & (np.abs(coordinates % 1 - 0.5) > 1e-6).all(axis=0)
        nearest = map_coordinates(stored, coordinates, order=0, mode="nearest")
        np.testing.assert_array_equal(labels.slice(index)[untied], nearest[untied])


@pytest.mark.parametrize("thickness", [1, 2, 5, 36, 37, 100])
def test_blocks_share_out_every_pixel_once(noise, tmp_path, thickness) -> None:
    volume = written(tmp_path / "noise.nii", noise)
    planes = drawn(volume, 12, 48)
    for nearest in (True, False):
        cuts = Cuts(planes, volume, thickness=thickness, nearest=nearest)
        for plane, pixels in zip(planes, cuts.lengths.sum(axis=1), strict=True):
            start, stop = plane.inside(volume)
            assert pixels == (stop - start).sum()


def upright(volume: Volume, axis: int, number: int, side: int) -> Plane:
    """The stored plane `number` along an axis of (k, j, i), pixel by voxel."""
    row, column = [other for other in range(3) if other != axis]
    index = np.zeros(3)
    index[axis] = number
    corner = volume.affine[:3, :3] @ index + volume.affine[:3, 3]
    columns = [volume.affine[:3, row], volume.affine[:3, column], np.zeros(3), corner]
    return Plane(0, 0, "train", np.column_stack(columns), side, None)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_upright_slice_equals_the_voxels(noise, tmp_path, axis) -> None:
    volume = written(tmp_path / "noise.nii", noise)
    stored = noise.transpose(2, 1, 0)
    numbers = [0, 1, stored.shape[axis] // 2, stored.shape[axis] - 1]
    planes = [upright(volume, axis, number, side=40) for number in numbers]
    for nearest in (True, False):
        slices = sampled(volume, planes, tmp_path / str(nearest), nearest=nearest)
        for index, number in enumerate(numbers):
            expected = np.full((40, 40), slices.survey.outside)
            voxels = stored.take(number, axis=axis)
            expected[: voxels.shape[0], : voxels.shape[1]] = voxels
            np.testing.assert_array_equal(slices.slice(index), expected)


def test_the_order_of_axes_in_the_file_changes_nothing(noise, tmp_path) -> None:
    volume = written(tmp_path / "a.nii", noise)
    # Stored as (k, -i, j) instead of (i, j, k).
    turned = noise.transpose(2, 0, 1)[:, ::-1]
    to_original = np.array([[0, -1, 0, 23], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    other = written(tmp_path / "b.nii", np.ascontiguousarray(turned), OBLIQUE @ to_original)
    assert other.shape != volume.shape
    for nearest in (True, False):
        first, second = (
            sampled(each, drawn(each, 10, 44), tmp_path / f"{nearest}{number}", nearest=nearest)
            for number, each in enumerate((volume, other))
        )
        for index in range(10):
            np.testing.assert_array_equal(first.slice(index), second.slice(index))


def test_a_twin_on_another_grid_shows_the_same(tmp_path) -> None:
    """A smooth volume, and the same resampled to voxels half as large with another origin."""
    affine = np.diag([1.0, 1.0, 1.0, 1])
    i, j, k = np.mgrid[:30, :34, :38].astype(float)
    smooth = 120 + 60 * np.sin(i / 9) * np.cos(j / 11) + 40 * np.sin(k / 8)
    volume = written(tmp_path / "a.nii", smooth.astype(np.float32), affine)
    fine = np.mgrid[2:27:0.5, 3:31:0.5, 1:36:0.5]
    resampled = map_coordinates(smooth.astype(np.float32).astype(float), fine, order=1)
    shifted = np.array([[0.5, 0, 0, 2], [0, 0.5, 0, 3], [0, 0, 0.5, 1], [0, 0, 0, 1]])
    twin = written(tmp_path / "b.nii", resampled.astype(np.float32), shifted)
    planes = drawn(volume, 15, 30)
    first = sampled(volume, planes, tmp_path / "1", nearest=False)
    second = sampled(twin, planes, tmp_path / "2", nearest=False)
    compared = 0
    for index, plane in enumerate(planes):
        coordinates = voxel_coordinates(plane, twin)
        both = ((coordinates >= 0) & (coordinates <= np.array(twin.shape)[:, None, None] - 1)).all(axis=0)
        # Interpolating twice between voxels of a curved function differs by its curvature.
        np.testing.assert_allclose(first.slice(index)[both], second.slice(index)[both], atol=0.3)
        compared += both.sum()
    assert compared > 2000


def test_a_slice_depends_on_the_seed_and_its_number_alone(noise, tmp_path) -> None:
    volume = written(tmp_path / "noise.nii", noise)
    few, many, other = drawn(volume, 3, 20), drawn(volume, 9, 20), drawn(volume, 9, 20, seed=1)
    for item, same, another in zip(few, many[:3], other[:3], strict=True):
        np.testing.assert_array_equal(item.matrix, same.matrix)
        assert item.split == same.split
        assert not np.allclose(item.matrix, another.matrix)


def test_shared_rotations(noise, tmp_path) -> None:
    planes = drawn(written(tmp_path / "noise.nii", noise), 12, 20, rotations=4)
    normals = [plane.matrix[:, 2] for plane in planes]
    for plane, normal in zip(planes, normals, strict=True):
        np.testing.assert_array_equal(normal, normals[plane.rotation])
    assert len(np.unique(np.round(normals, 9), axis=0)) == 4


@pytest.mark.slow
def test_rotations_are_uniform(tmp_path) -> None:
    volume = written(tmp_path / "small.nii", np.zeros((5, 5, 5), dtype=np.uint8))
    normals = np.stack([plane.matrix[:, 2] for plane in drawn(volume, 3000, 16)])
    # Of points spread evenly over a sphere, each coordinate is spread evenly over -1..1 (Archimedes).
    for coordinate in normals.T:
        shares = np.histogram(coordinate, bins=5, range=(-1, 1))[0] / 3000
        np.testing.assert_allclose(shares, 0.2, atol=0.03)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)


def test_slabs_keep_their_distance(noise, tmp_path) -> None:
    volume = written(tmp_path / "noise.nii", noise)
    planes = drawn(volume, 60, 40, split_by="slab", slab_axis="z", guard=3.0)
    reach: dict[str, list[float]] = {"train": [], "val": [], "test": []}
    for plane in planes:
        start, stop = plane.inside(volume)
        columns = np.arange(plane.side)
        shown = (columns >= start[:, None]) & (columns < stop[:, None])
        reach[plane.split] += world(plane)[shown][:, 2].tolist()
    assert max(reach["train"]) + 3 <= min(reach["val"]) + 1e-9
    assert max(reach["val"]) + 3 <= min(reach["test"]) + 1e-9


def test_the_part_of_a_slice_in_its_slab(noise, tmp_path) -> None:
    volume = written(tmp_path / "noise.nii", noise)
    plane = drawn(volume, 2, 40)[0]
    cut = Plane(0, 0, "train", plane.matrix, 40, Slab(1, -2.0, 6.0))
    start, stop = cut.in_slab()
    columns = np.arange(40)
    y = world(plane)[..., 1]
    np.testing.assert_array_equal((columns >= start[:, None]) & (columns < stop[:, None]), (y >= -2) & (y < 6))


def test_the_real_class_volume_is_one_in_both_formats(tmp_path) -> None:
    folder = os.environ.get("BIOSEG_DATA")
    if not folder:
        pytest.skip("BIOSEG_DATA names no folder")
    nifti, minc = (open_volume(Path(folder) / "bigbrain" / f"full_cls_1000um.{end}") for end in ("nii.gz", "mnc"))
    assert nifti.shape != minc.shape
    planes = drawn(nifti, 12, 150)
    first = sampled(nifti, planes, tmp_path / "nii", nearest=True)
    second = sampled(minc, planes, tmp_path / "mnc", nearest=True)
    assert first.survey == second.survey
    assert first.survey.outside == 1
    assert sorted(first.survey.counts) == list(range(1, 10))
    for index, plane in enumerate(planes):
        coordinates = voxel_coordinates(plane, nifti)
        untied = (np.abs(coordinates % 1 - 0.5) > 1e-4).all(axis=0)
        np.testing.assert_array_equal(first.slice(index)[untied], second.slice(index)[untied])
