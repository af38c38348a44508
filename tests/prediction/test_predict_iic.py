"""`bioseg predict` with models of clusters: mapped to classes, or raw, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from click.testing import Result
from conftest import discs
from helpers.models import CLUSTER_MEANINGS, record_of, save_clusters, save_random_model, write_image
from helpers.volumes import write_nifti
from PIL import Image

from bioseg_cli.errors import UsageError
from bioseg_cli.figures.palette import cluster_colours
from bioseg_cli.io.images import read_frame
from bioseg_cli.masks.mask_file import read_mask
from bioseg_cli.model.saved import load_model
from bioseg_cli.prediction.head_decoder import HeadDecoder

pytestmark = pytest.mark.slow

Bioseg = Callable[..., Result]
CPU = torch.device("cpu")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_clusters(tmp_path / "clusters.safetensors")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    write_image(tmp_path / "t1.tif", discs(101, size=96)[0][0])
    return tmp_path / "t1.tif"


@pytest.mark.parametrize("head", ["main", "aux"])
def test_classes_are_those_that_the_clusters_were_mapped_to(
    bioseg: Bioseg, model: Path, image: Path, tmp_path: Path, head: str
) -> None:
    options = ("--head", head, "--overlay", "--probabilities", "--precision", "fp32", "--tile", 64)
    for name, raw in (("classes", ()), ("clusters", ("--raw-clusters",))):
        result = bioseg("predict", model, image, "--out", tmp_path / name, *options, *raw)
        assert result.exit_code == 0, result.output
    mapping = np.array(CLUSTER_MEANINGS[head])
    classes, clusters = (read_mask(tmp_path / name / "t1.tif") for name in ("classes", "clusters"))
    assert len(np.unique(clusters)) > 1
    np.testing.assert_array_equal(classes, mapping[clusters])
    assert classes.dtype == clusters.dtype == np.uint8
    # A class is as probable as its clusters together.
    of_classes, of_clusters = (
        read_frame(tmp_path / name / "probabilities" / "t1.tif") for name in ("classes", "clusters")
    )
    assert (len(of_classes), len(of_clusters)) == (3, len(mapping))
    np.testing.assert_array_equal(of_clusters.argmax(axis=0), clusters)
    expected = np.stack([of_clusters[mapping == code].sum(axis=0) for code in range(3)])
    np.testing.assert_allclose(of_classes, expected, atol=1e-6)
    tints = np.asarray(Image.open(tmp_path / "clusters" / "overlays" / "t1.png"))
    outlines = np.asarray(Image.open(tmp_path / "classes" / "overlays" / "t1.png"))
    assert (tints != outlines).any()


def test_the_record_says_what_the_values_are(bioseg: Bioseg, model: Path, image: Path, tmp_path: Path) -> None:
    result = bioseg("predict", model, image, "--out", tmp_path / "a")
    assert (
        "3 clusters of the head main become 3 classes by the mapping of the run (hungarian, 5 labelled" in result.stderr
    )
    bioseg("predict", model, image, "--out", tmp_path / "b", "--head", "aux", "--raw-clusters")
    mapped, raw = record_of(tmp_path / "a"), record_of(tmp_path / "b")
    assert (mapped["head"], mapped["values"]) == ("main", "classes")
    assert mapped["mapping"] == {"rule": "hungarian", "split": "train", "images": 5, "classes": [2, 0, 1]}
    assert [class_info["name"] for class_info in mapped["classes"]] == ["background", "cell", "rim"]
    assert (raw["head"], raw["values"], raw["mapping"]) == ("aux", "clusters", None)
    assert [class_info["name"] for class_info in raw["classes"]] == [f"cluster {number}" for number in range(7)]
    # A record of the aux head's clusters repeats just that.
    bioseg("predict", "--config", tmp_path / "b" / "predictions.yaml", "--out", tmp_path / "c")
    np.testing.assert_array_equal(read_mask(tmp_path / "b" / "t1.tif"), read_mask(tmp_path / "c" / "t1.tif"))


def test_a_model_of_classes_is_recorded_as_that(bioseg: Bioseg, image: Path, tmp_path: Path) -> None:
    model = save_random_model(tmp_path / "classes.safetensors")
    result = bioseg("predict", model, image, "--out", tmp_path / "out")
    assert "clusters" not in result.stderr
    record = record_of(tmp_path / "out")
    assert (record["head"], record["values"], record["mapping"]) == ("main", "classes", None)


@pytest.mark.parametrize("head", ["main", "aux"])
def test_volumes_have_the_same_choice(bioseg: Bioseg, model: Path, tmp_path: Path, head: str) -> None:
    voxels = np.stack([discs(number)[0][0] for number in range(3)], axis=-1)
    path = write_nifti(tmp_path / "v.nii.gz", voxels)
    found: list[Any] = []
    for name, raw in (("classes", ()), ("clusters", ("--raw-clusters",))):
        out = tmp_path / name
        result = bioseg("predict", model, path, "--out", out, "--head", head, "--overlay", *raw)
        assert result.exit_code == 0, result.output
        assert len(list((out / "overlays").iterdir())) > 1
        found.append(np.asarray(nibabel.load(out / "v.nii.gz").dataobj))  # type: ignore[attr-defined]
    classes, clusters = found
    assert clusters.shape == voxels.shape
    assert len(np.unique(clusters)) > 1
    np.testing.assert_array_equal(classes, np.array(CLUSTER_MEANINGS[head])[clusters])


def test_more_clusters_than_a_byte_holds(bioseg: Bioseg, image: Path, tmp_path: Path) -> None:
    model = save_clusters(tmp_path / "many.safetensors", {}, {"main": 2, "aux": 300})
    options = ("--head", "aux", "--raw-clusters", "--overlay")
    assert bioseg("predict", model, image, "--out", tmp_path / "out", *options).exit_code == 0
    mask = read_mask(tmp_path / "out" / "t1.tif")
    assert mask.dtype == np.uint16
    volume = write_nifti(tmp_path / "v.nii.gz", np.stack([discs(1)[0][0]] * 2, axis=-1))
    assert bioseg("predict", model, volume, "--out", tmp_path / "v", *options).exit_code == 0
    labels = nibabel.load(tmp_path / "v" / "v.nii.gz")
    assert labels.get_data_dtype() == np.uint16  # type: ignore[attr-defined]
    assert max(mask.max(), np.asarray(labels.dataobj).max()) > 255  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("classes", ("--head", "aux"), "The model has no head 'aux', only main"),
        ("classes", ("--raw-clusters",), "knows the classes background, cell, rim and no clusters"),
        ("unmapped", (), "Give --raw-clusters"),
        ("unmapped", ("--head", "aux"), "No labelled image has said which class each cluster is"),
        ("clusters", ("--head", "third"), "--head"),
    ],
)
def test_what_a_model_does_not_have_is_refused(
    bioseg: Bioseg, image: Path, tmp_path: Path, kind: str, options: tuple[str, ...], said: str
) -> None:
    path = tmp_path / f"{kind}.safetensors"
    if kind == "classes":
        save_random_model(path)
    else:
        save_clusters(path, {} if kind == "unmapped" else None)
    result = bioseg("predict", path, image, "--out", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_an_unmapped_model_still_has_clusters(bioseg: Bioseg, image: Path, tmp_path: Path) -> None:
    model = save_clusters(tmp_path / "unmapped.safetensors", {})
    assert bioseg("predict", model, image, "--out", tmp_path / "out", "--raw-clusters").exit_code == 0


def test_the_class_is_that_of_the_most_probable_cluster(model: Path) -> None:
    decoder = HeadDecoder.of(load_model(model, CPU), "aux", raw_clusters=False)
    probabilities = np.array([0.3, 0.2, 0.1, 0.1, 0.25, 0.0, 0.05], np.float32).reshape(7, 1, 1)
    # Cluster 0, class 1, leads alone; those of class 0 lead together.
    assert decoder.labels(probabilities).item() == 1
    np.testing.assert_allclose(decoder.probabilities(probabilities).ravel(), [0.5, 0.3, 0.2], atol=1e-6)
    with pytest.raises(UsageError, match="no head 'third', main, aux"):
        HeadDecoder.of(load_model(model, CPU), "third", raw_clusters=True)


def test_clusters_have_colours_that_can_be_told_apart() -> None:
    colours = np.array([class_info.colour for class_info in cluster_colours(20)], dtype=float)
    distances = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    assert distances[~np.eye(20, dtype=bool)].min() > 25
    assert colours.max(axis=1).min() > 100
    assert cluster_colours(3) == cluster_colours(20)[:3]
