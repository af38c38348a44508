"""Models for other programs: the graph computes what the network does, the package passes the test of its format."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tifffile
import torch
from click.testing import Result
from conftest import write_discs
from helpers.models import save_random_model, write_image
from helpers.networks import CPU

from bioseg_cli import load_model as load
from bioseg_cli.config import UNetConfig
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import RunError, UsageError
from bioseg_cli.export.graph import largest_difference, write_graph
from bioseg_cli.export.settings import ExportConfig
from bioseg_cli.model.saved import LoadedModel, ModelCard, load_model
from bioseg_cli.model.unet import UNet
from bioseg_cli.runs.directory import RunDirectory, checkpoint_of

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]

PACKAGE = ("--format", "bioimageio", "--author", "Ada Lovelace,Grace Hopper", "--license", "CC-BY-4.0")


@pytest.fixture(scope="module")
def graph(bioseg: Cli, disc_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "discs.onnx"
    result = bioseg("export", disc_run, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["format"], document["out"]) == ("onnx", str(out))
    assert 0 <= document["largest_difference"] < 1e-4
    return out


@pytest.fixture(scope="module")
def package(bioseg: Cli, disc_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("package") / "discs.zip"
    result = bioseg("export", disc_run, *PACKAGE, "--cite", "10.1000/182", "--out", out)
    assert result.exit_code == 0, result.output
    assert "its logits differ by at most" in result.output
    return out


def test_the_graph_gives_the_logits_of_the_network_for_any_size(graph: Path, disc_run: Path) -> None:
    model = load_model(checkpoint_of(disc_run, None), CPU)
    session = onnxruntime.InferenceSession(graph)
    for batch, height, width in ((1, 48, 48), (3, 50, 71), (2, 17, 200), (1, 1, 33)):
        images = np.random.default_rng(height).random((batch, 1, height, width), dtype=np.float32)
        with torch.inference_mode():
            expected = model.network(torch.from_numpy(images))["main"].numpy()
        (logits,) = session.run(["logits"], {"image": images})
        assert logits.shape == (batch, 2, height, width)
        np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_the_graph_carries_the_card_of_the_model(graph: Path, disc_run: Path) -> None:
    properties = {entry.key: entry.value for entry in onnx.load(graph).metadata_props}
    card = ModelCard.model_validate_json(properties["bioseg"])
    assert card == load_model(checkpoint_of(disc_run, None), CPU).card


def other_network(run: Path, **settings: object) -> LoadedModel:
    network = UNet(UNetConfig.model_validate({"in_channels": 1, "heads": {"main": 2}, "width": 2, **settings})).eval()
    path = checkpoint_of(run, None)
    return LoadedModel(network, load_model(path, CPU).card.model_copy(update={"architecture": network.config}), path)


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_a_norm_that_depends_on_the_image_is_translated_too(norm: str, disc_run: Path, tmp_path: Path) -> None:
    model = other_network(disc_run, norm=norm, dropout=0.2)
    write_graph(model, tmp_path / "graph.onnx")
    assert largest_difference(model, tmp_path / "graph.onnx") < 1e-4


def test_the_original_u_net_is_refused(disc_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mirrored margins"):
        write_graph(other_network(disc_run, variant="original", norm="none"), tmp_path / "graph.onnx")


def test_a_graph_of_other_weights_is_refused(graph: Path, disc_run: Path) -> None:
    model = load_model(checkpoint_of(disc_run, None), CPU)
    with torch.no_grad():
        model.network.heads["main"].bias += 0.5
    with pytest.raises(RunError, match=r"differ from those of the network by up to 0\.[12345]"):
        largest_difference(model, graph)


def test_the_package_predicts_what_bioseg_predicts(package: Path, disc_run: Path, disc_dataset: Path) -> None:
    import bioimageio.core

    description = bioimageio.core.load_model(package)
    assert [author.name for author in description.authors] == ["Ada Lovelace", "Grace Hopper"]
    assert [str(entry.doi) for entry in description.cite if entry.doi] == [
        "10.1007/978-3-319-24574-4_28",
        "10.1000/182",
    ]
    with Dataset(disc_dataset) as dataset:
        image = dataset.image(int(dataset.indices("test")[0]))[:, :40, :47]
    predicted = bioimageio.core.predict(model=description, inputs={"image": image[None]})
    expected = load(disc_run, precision="fp32").predict(image[0]).probabilities
    found = predicted.members["logits"].data.to_numpy()[0]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert bioimageio.core.test_model(package).status == "passed"


def test_the_package_shows_and_says_what_it_is(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        assert {"weights.onnx", "cover.png", "README.md", "test-input.npy", "test-output.npy"} <= set(
            archive.namelist()
        )
        assert archive.read("cover.png").startswith(b"\x89PNG")
        readme = archive.read("README.md").decode()
    assert "- 1: cell" in readme and "## Validation" in readme


def test_an_image_of_ones_own_stands_in_for_a_data_set_that_is_gone(
    bioseg: Cli, disc_run: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "cells.safetensors"
    weights.write_bytes(checkpoint_of(disc_run, None).read_bytes())
    refused = bioseg("export", weights, *PACKAGE, "--out", tmp_path / "a.zip")
    assert refused.exit_code == 2 and "--image FILE" in refused.output
    tifffile.imwrite(tmp_path / "image.tif", np.zeros((40, 40), np.float64))
    refused = bioseg("export", weights, *PACKAGE, "--image", tmp_path / "image.tif", "--out", tmp_path / "a.zip")
    assert refused.exit_code == 3 and "float64" in refused.output
    assert not list(tmp_path.glob("*.zip*"))


@pytest.mark.parametrize(("wrong", "said"), [(None, "cannot be read"), ((0,), "is not the one the run was trained on")])
def test_a_data_set_that_is_gone_or_another_gives_no_image(
    wrong: tuple[int, ...] | None, said: str, bioseg: Cli, disc_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(disc_run, tmp_path / "run")
    manifest = run / "manifest.yaml"
    data = RunDirectory.open(run).manifest.data.path
    manifest.write_text(manifest.read_text().replace(data, str(tmp_path / "discs.h5")))
    if wrong is not None:
        write_discs(tmp_path / "discs.h5", wrong=wrong)
    refused = bioseg("export", run, *PACKAGE, "--out", tmp_path / "a.zip")
    assert refused.exit_code == 2
    assert said in refused.output and "--image FILE" in refused.output
    assert not (tmp_path / "a.zip").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--license", "MIT"), "--license: for a package, give --format bioimageio too"),
        (("--format", "bioimageio", "--license", "MIT"), "give --author"),
        (("--format", "bioimageio"), "give --author and --license"),
        (("--format", "keras"), "keras"),
    ],
)
def test_wrong_settings_are_named(options: tuple[str, ...], said: str, bioseg: Cli, disc_run: Path) -> None:
    result = bioseg("export", disc_run, *options)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_a_run_that_is_the_working_directory_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cells").mkdir()
    monkeypatch.chdir(tmp_path / "cells")
    for given, name in ((".", "cells"), ("runs/discs", "discs"), ("cells/best-final.safetensors", "best-final")):
        config = ExportConfig(run=Path(given))
        assert (config.called, config.path) == (name, Path("exported") / f"{name}.onnx")


def test_a_license_that_is_none_is_refused(bioseg: Cli, disc_run: Path, tmp_path: Path) -> None:
    options = ("--format", "bioimageio", "--author", "Ada", "--license", "mine", "--out", tmp_path / "a.zip")
    result = bioseg("export", disc_run, *options)
    assert result.exit_code == 2 and "license" in result.output
    assert not list(tmp_path.iterdir())


def test_an_export_is_not_replaced_unasked(bioseg: Cli, disc_run: Path, graph: Path) -> None:
    before = graph.read_bytes()
    result = bioseg("export", disc_run, "--out", graph)
    assert result.exit_code == 2 and "exists already" in result.output
    assert graph.read_bytes() == before


def test_an_export_replaces_neither_its_model_nor_its_image(bioseg: Cli, tmp_path: Path) -> None:
    model, image = save_random_model(tmp_path / "model.safetensors"), tmp_path / "a.tif"
    write_image(image, np.full((40, 40), 900, np.uint16))
    for path, options in ((model, ()), (image, (*PACKAGE, "--image", image))):
        before = path.read_bytes()
        result = bioseg("export", model, *options, "--out", path, "--overwrite")
        assert result.exit_code == 2 and "would replace what it is made of" in " ".join(result.output.split())
        assert path.read_bytes() == before


def test_an_image_too_small_to_test_a_package_with_is_refused(bioseg: Cli, tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", np.full((40, 31), 900, np.uint16))
    model = save_random_model(tmp_path / "model.safetensors")
    result = bioseg("export", model, *PACKAGE, "--image", tmp_path / "a.tif", "--out", tmp_path / "a.zip")
    assert result.exit_code == 3 and "at least 32 x 32 pixels" in " ".join(result.output.split())
    assert not (tmp_path / "a.zip").exists()


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_its_install_line(
    missing: str, bioseg: Cli, disc_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    result = bioseg("export", disc_run, "--out", tmp_path / "a.onnx")
    assert result.exit_code == 2
    assert "pip install 'bioseg[export]'" in result.output
    assert not list(tmp_path.iterdir())


def test_clusters_are_not_exported(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "clusters"
    result = bioseg("train-iic", disc_dataset, "--run", run, "--width", 2, "--steps", 1, "--quiet")
    assert result.exit_code == 0, result.output
    result = bioseg("export", run, "--out", tmp_path / "a.onnx")
    assert result.exit_code == 2 and "clusters" in result.output
