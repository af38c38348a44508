"""The saved model: nothing is lost in a round trip, and nothing but safetensors is ever opened."""

from __future__ import annotations

import gc
import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from bioseg_cli.config import ClassInfo, UNetConfig
from bioseg_cli.errors import DataError
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.model import saved as module
from bioseg_cli.model.saved import CARD_KEY, CHECKSUM_KEY, HeadMapping, ModelCard, load_model, save_model
from bioseg_cli.model.unet import UNet

CPU = torch.device("cpu")
CARD = ModelCard(
    architecture=UNetConfig(in_channels=2, heads={"main": 2, "aux": 5}, width=4, depth=2),
    classes=(ClassInfo(name="background", colour=(0, 0, 0)), ClassInfo(name="cellule é", colour=(255, 0, 9))),
    normalisation=Normalisation("percentile", (32768.125, 1.0), (40000.1, 2.0)).to_json(),
    image_dtype="uint16",
    pixel_size=PixelSize(0.65, 0.66).to_json(),
    dataset_hash="abc",
    method="uda-kl",
    state="best-miou",
    epoch=7,
)
MAPPING = HeadMapping(
    classes=(0, 1, 1, 0, 0),
    rule="majority",
    split="train",
    images=5,
    areas=(0.5, 0.2, 0.1, 0.2, 0.0),
    shares=((0.9, 0.1), (0.2, 0.8), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0)),
)
CLUSTERS = CARD.model_copy(update={"outputs": "clusters", "mappings": {"aux": MAPPING}})


@pytest.fixture
def network() -> UNet:
    torch.manual_seed(3)
    network = UNet(CARD.architecture)
    network(torch.rand(2, 2, 16, 16))  # fills the running statistics
    return network


@pytest.fixture
def saved(tmp_path: Path, network: UNet) -> Path:
    save_model(tmp_path / "model.safetensors", network.state_dict(), CARD)
    return tmp_path / "model.safetensors"


class Malicious:
    """What a pickle can do on loading: here, make a file."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.witness),)


def test_weights_statistics_and_outputs_come_back_bit_for_bit(saved: Path, network: UNet):
    loaded = load_model(saved, CPU).network
    expected = network.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    images = torch.rand(1, 2, 24, 20)
    assert torch.equal(loaded(images)["aux"], network.eval()(images)["aux"])


def test_the_card_comes_back_whole(saved: Path):
    card = load_model(saved, CPU).card
    assert card == CARD
    assert card.intensities() == Normalisation("percentile", (32768.125, 1.0), (40000.1, 2.0))
    assert card.training_pixel_size() == PixelSize(0.65, 0.66)


def test_what_clusters_mean_comes_back_whole(tmp_path: Path, network: UNet):
    save_model(tmp_path / "m.safetensors", network.state_dict(), CLUSTERS)
    assert load_model(tmp_path / "m.safetensors", CPU).card == CLUSTERS


def test_a_card_that_says_nothing_of_clusters_has_classes(saved: Path):
    content = CARD.model_dump(mode="json")
    del content["outputs"], content["mappings"]
    save_file(load_file(saved), saved, metadata={CARD_KEY: json.dumps(content)})
    assert load_model(saved, CPU).card.outputs == "classes"


def test_a_loaded_network_is_ready_for_prediction(saved: Path):
    assert not load_model(saved, CPU).network.training


def test_loading_again_and_again_keeps_nothing(saved: Path):
    def blocks_after(loads: int) -> int:
        for _ in range(loads):
            load_model(saved, CPU)
        gc.collect()
        return sys.getallocatedblocks()

    before = blocks_after(5)
    # Of some 40 tensors each kept four objects in each load. Caches settle within some hundred objects.
    assert blocks_after(20) - before < 1000


def test_channels_last_weights_are_saved_as_the_same_numbers(tmp_path: Path, network: UNet):
    network.to(memory_format=torch.channels_last)
    save_model(tmp_path / "m.safetensors", network.state_dict(), CARD)
    loaded = load_model(tmp_path / "m.safetensors", CPU).network
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in loaded.state_dict().items())


def test_a_model_can_be_moved(saved: Path, tmp_path: Path):
    moved = saved.rename(tmp_path / "elsewhere.safetensors")
    assert load_model(moved, CPU).card == CARD


@pytest.mark.parametrize("write", [pickle.dump, lambda content, stream: torch.save(content, stream)])
def test_a_pickle_is_refused_and_never_executed(tmp_path: Path, write):
    witness, path = tmp_path / "witness", tmp_path / "model.safetensors"
    with path.open("wb") as stream:
        write({"state_dict": Malicious(witness)}, stream)
    with pytest.raises(DataError, match="pickled checkpoints are never opened") as caught:
        load_model(path, CPU)
    assert str(path) in str(caught.value)
    assert not witness.exists()
    pickle.loads(pickle.dumps(Malicious(witness)))
    assert witness.exists(), "the pickle was harmless: the test proves nothing"


def test_weights_of_another_program_are_named_as_such(tmp_path: Path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata={"format": "pt"})
    with pytest.raises(DataError, match="not of bioseg"):
        load_model(path, CPU)


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_truncated_model_is_refused(saved: Path, kept: int):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(DataError, match="not a readable safetensors file"):
        load_model(saved, CPU)


def test_a_flipped_bit_is_noticed_wherever_it_is(saved: Path):
    """In weights, in the card, and in the names and shapes before them."""
    content = saved.read_bytes()
    header = int.from_bytes(content[:8], "little")
    random = np.random.default_rng(0)
    places = [*random.integers(0, 8 + header, 24), *random.integers(8 + header, len(content), 24)]
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(random.integers(8))
        saved.write_bytes(flipped)
        if _is_of_the_checksum(content, place):
            continue
        with pytest.raises(DataError) as caught:
            load_model(saved, CPU)
        assert str(saved) in str(caught.value), place


def _is_of_the_checksum(content: bytes, place: int) -> bool:
    """Whether a byte is of the checksum's own name: without it, the file is one of an earlier version."""
    start = content.index(CHECKSUM_KEY.encode())
    return start <= place < start + len(CHECKSUM_KEY)


def test_weights_that_are_not_those_that_were_saved_are_damaged(saved: Path):
    with safe_open(saved, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(saved)
    save_file(tensors, saved, metadata=metadata)
    load_model(saved, CPU)
    name = next(iter(tensors))
    tensors[name] = -tensors[name]
    save_file(tensors, saved, metadata=metadata)
    with pytest.raises(DataError, match="are not those that were saved") as caught:
        load_model(saved, CPU)
    assert "Copy the file again" in str(caught.value)
    del metadata[CHECKSUM_KEY]
    save_file(tensors, saved, metadata=metadata)  # as an earlier version wrote it
    assert load_model(saved, CPU).card == CARD


def test_a_missing_model_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="no such model") as caught:
        load_model(tmp_path / "nothing.safetensors", CPU)
    assert "nothing.safetensors" in str(caught.value)


@pytest.mark.parametrize(
    "card",
    [
        "{not json",
        '{"classes":' + "[" * 100_000,
        "{}",
        CARD.model_copy(update={"architecture": CARD.architecture.model_copy(update={"width": 5})}).model_dump_json(),
        CARD.model_copy(update={"normalisation": {"method": "minmax"}}).model_dump_json(),
        CLUSTERS.model_copy(update={"mappings": {"main": MAPPING}}).model_dump_json(),
        CLUSTERS.model_copy(update={"mappings": {"third": MAPPING}}).model_dump_json(),
        CLUSTERS.model_copy(
            update={"mappings": {"aux": MAPPING.model_copy(update={"classes": (0, 1, 2, 0, 0)})}}
        ).model_dump_json(),
    ],
)
def test_a_card_that_does_not_fit_is_refused(saved: Path, card: str):
    save_file(load_file(saved), saved, metadata={CARD_KEY: card})
    with pytest.raises(DataError, match="damaged or of another bioseg"):
        load_model(saved, CPU)


@pytest.mark.parametrize("declared", [{"width": 3000}, {"width": 10**12}, {"depth": 16}, {"depth": 10**6}])
def test_a_card_that_declares_a_larger_network_takes_no_memory(
    saved: Path, declared: dict[str, int], monkeypatch: pytest.MonkeyPatch
):
    built: list[str] = []

    def build(config: UNetConfig) -> UNet:
        built.append(torch.empty(0).device.type)
        return UNet(config)

    monkeypatch.setattr(module, "UNet", build)
    card = CARD.model_dump(mode="json")
    card["architecture"].update(declared)
    save_file(load_file(saved), saved, metadata={CARD_KEY: json.dumps(card)})
    with pytest.raises(DataError, match="damaged or of another bioseg"):
        load_model(saved, CPU)
    assert set(built) <= {"meta"}


def test_a_failed_save_leaves_the_earlier_model(saved: Path, network: UNet, monkeypatch: pytest.MonkeyPatch):
    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(DataError, match="disk is full"):
        save_model(saved, network.state_dict(), CARD)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
