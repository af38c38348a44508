"""The U-Net: its size, the sizes it takes, its heads, and what touches the statistics kept for prediction."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from bioseg_cli.config import UNetConfig
from bioseg_cli.model.unet import UNet, folded, mirror_pad, own_batch_statistics, pad_to_multiple

SIZES = [(1, 1), (5, 3), (16, 16), (17, 40), (33, 31)]


def unet(**settings: object) -> UNet:
    torch.manual_seed(0)
    return UNet(UNetConfig(**{"in_channels": 1, "heads": {"main": 2}, "width": 4, **settings}))


def parameters(**settings: object) -> int:
    with torch.device("meta"):
        return sum(weights.numel() for weights in unet(**{"width": 64, **settings}).parameters())


def test_the_original_has_the_published_number_of_parameters():
    assert parameters(variant="original", norm="none") == 31_030_658


def test_same_padding_with_batch_norm_has_two_more_a_channel_and_no_bias():
    assert parameters() == 31_036_546
    assert parameters(in_channels=3) == 31_037_698


def test_parameter_counts_of_the_reference(oracles: Path):
    counts = json.loads((oracles / "o8_unet_reference.json").read_text())["params"]
    assert parameters(variant="original", norm="none") == counts["original_1_2"]
    assert parameters(variant="original", norm="none", heads={"main": 4}) == counts["original_1_4"]
    assert parameters() == counts["same_bn_nobias_1_2"]
    assert parameters(in_channels=3) == counts["same_bn_nobias_3_2"]


@pytest.mark.parametrize(("output", "tile"), [(388, 572), (128, 316), (256, 444), (512, 700), (600, 796)])
def test_valid_convolutions_turn_the_mirrored_tile_into_at_least_the_image(output, tile):
    assert mirror_pad(torch.zeros(1, 1, output, 4), depth=4).shape[2:] == (tile, 188)
    with torch.device("meta"):
        network = unet(variant="original", norm="none", width=1)
        lost = tile - network.trunk(torch.zeros(1, 1, tile, 188)).shape[2]
    assert lost == 184


def test_tile_sizes_of_the_reference(oracles: Path):
    tiles = json.loads((oracles / "o8_unet_reference.json").read_text())["tile_for_output"]
    for output, tile in tiles.items():
        assert mirror_pad(torch.zeros(1, 1, int(output), int(output)), depth=4).shape[2:] == (tile, tile)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", ["batch", "instance", "group", "none"])
@pytest.mark.parametrize("size", SIZES)
def test_any_image_size_gives_logits_of_that_size(size, norm, training):
    logits = unet(norm=norm).train(training)(torch.rand(1, 1, *size))["main"]
    assert logits.shape == (1, 2, *size)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("size", SIZES)
def test_the_original_takes_any_size_too(size):
    assert unet(variant="original", norm="none").eval()(torch.rand(1, 1, *size))["main"].shape == (1, 2, *size)


def test_each_head_has_its_own_channels_and_weights():
    outputs = unet(heads={"main": 3, "aux": 15})(torch.rand(2, 1, 32, 32))
    assert {name: logits.shape[1] for name, logits in outputs.items()} == {"main": 3, "aux": 15}


def test_padding_repeats_the_border_and_leaves_the_image_where_it_was():
    images = torch.rand(1, 1, 33, 18)
    padded = pad_to_multiple(images, 16)
    assert padded.shape[2:] == (48, 32)
    assert torch.equal(padded[..., :33, :18], images)
    assert (padded[..., 33:, :18] == images[..., 32:, :]).all()
    assert pad_to_multiple(padded, 16) is padded


def test_logits_are_of_the_pixel_they_stand_at_whatever_was_padded():
    network, images = unet(norm="none").eval(), torch.rand(1, 1, 33, 18)
    padded = network(pad_to_multiple(images, 16))["main"]
    assert torch.equal(network(images)["main"], padded[..., :33, :18])


def test_mirroring_puts_the_image_behind_a_margin_of_its_own_reflection():
    images = torch.arange(5.0).reshape(1, 1, 1, 5).expand(1, 1, 5, 5)
    row = mirror_pad(images, depth=1)[0, 0, 0]
    # At depth 1 the network loses 16 pixels, 8 on each side, and gives 4 + 2k of them.
    assert row.tolist() == [0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 2, 3, 4, 3]


def test_output_pixels_of_the_original_line_up_with_the_images():
    network = unet(variant="original", norm="none", depth=2).eval()
    image = torch.zeros(1, 1, 64, 64)
    image[..., 40, 22] = 1
    image.requires_grad_()
    network(image)["main"][0, :, 40, 22].sum().backward()
    rows, columns = image.grad[0, 0].abs().nonzero(as_tuple=True)
    reach = 22
    assert rows.min() >= 40 - reach
    assert rows.max() <= 40 + reach
    assert abs((rows.min() + rows.max()) / 2 - 40) <= 2
    assert abs((columns.min() + columns.max()) / 2 - 22) <= 2


def test_training_moves_the_running_statistics():
    network = unet().train()
    before = {name: value.clone() for name, value in network.state_dict().items() if "running" in name}
    network(torch.rand(2, 1, 32, 32))
    assert all(not torch.equal(network.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("training", [True, False])
def test_own_batch_statistics_normalise_and_leave_the_running_ones(training):
    network = unet().train(training)
    images = torch.rand(2, 1, 32, 32) * 9
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with own_batch_statistics(network):
        outputs = network(images)["main"]
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
    torch.testing.assert_close(outputs, copy.deepcopy(network).train()(images)["main"])
    assert not torch.allclose(outputs, copy.deepcopy(network).eval()(images)["main"], atol=0.1)


@pytest.mark.parametrize("training", [True, False])
def test_everything_is_as_before_after_own_batch_statistics_even_after_an_error(training):
    network = unet().train(training)
    with pytest.raises(RuntimeError), own_batch_statistics(network):
        raise RuntimeError
    assert all(module.training == training for module in network.modules())
    before = network.state_dict()["down.0.1.running_mean"].clone()
    network(torch.rand(2, 1, 32, 32))
    assert torch.equal(network.state_dict()["down.0.1.running_mean"], before) is not training


@pytest.mark.parametrize(("norm", "shared"), [("batch", True), ("instance", False), ("group", False), ("none", False)])
def test_only_batch_norm_makes_a_prediction_depend_on_the_other_images(norm, shared):
    network = unet(norm=norm).train()
    first, second = torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32) * 5
    alone, together = network(first)["main"], network(torch.cat([first, second]))["main"][:1]
    assert torch.allclose(alone, together, atol=1e-4) is not shared


def test_dropout_acts_in_training_only():
    network, images = unet(dropout=0.5), torch.rand(1, 1, 32, 32)
    assert not torch.equal(network.train()(images)["main"], network(images)["main"])
    assert torch.equal(network.eval()(images)["main"], network(images)["main"])


@pytest.mark.parametrize("norm", ["batch", "instance", "group", "none"])
def test_a_folded_network_says_the_same_and_leaves_the_other_alone(norm):
    network, images = unet(norm=norm).train(), torch.rand(2, 1, 32, 32) * 3
    for _ in range(5):
        network(images)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    small = folded(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in small.modules())
    torch.testing.assert_close(small(images)["main"], network.eval()(images)["main"], rtol=1e-4, atol=1e-4)
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
