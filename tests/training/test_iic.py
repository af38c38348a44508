"""What IIC computes on a batch: views, alignment, which heads are trained, and what validation says."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SPLITS, new_manifest, write_discs
from torch import nn

from bioseg_cli.augment.affine import Affine
from bioseg_cli.augment.second_view import Exposure, SecondView, draw_second_view
from bioseg_cli.compute.device import resolve_precision
from bioseg_cli.dataset.batches import ImageBatch, random_stream
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.model.unet import UNet
from bioseg_cli.runs.console import ConsoleOutput
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.sections import BestEpoch
from bioseg_cli.training.clusters import fit_mappings
from bioseg_cli.training.iic import IIC, IICBatch
from bioseg_cli.training.iic_settings import TrainIICConfig
from bioseg_cli.training.labels import labels_to_name_clusters
from bioseg_cli.training.losses import mutual_information_loss
from bioseg_cli.training.uda_settings import TrainUDAConfig

CPU = torch.device("cpu")
FP32 = resolve_precision("fp32", CPU)


class Pixelwise(nn.Module):
    """A network that looks at single pixels, so that it commutes with every rotation and flip."""

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        away = 60 * (images - 0.5)
        main = torch.cat([-away, away], dim=1)
        return {"main": main, "aux": torch.cat([main] * 5, dim=1)}


@pytest.fixture
def dataset(disc_dataset: Path) -> Iterator[Dataset]:
    with Dataset(disc_dataset) as opened:
        yield opened


def small_network(method: IIC) -> UNet:
    torch.manual_seed(0)
    config = TrainIICConfig(width=2).architecture(1, dict(method.heads))
    return UNet(config).train()


def smooth_batch(size: int = 64) -> ImageBatch:
    """Images that interpolation hardly changes, half of their pixels bright."""
    rows, columns = np.mgrid[:size, :size] / size * 2 * np.pi
    image = 0.5 + 0.25 * np.sin(rows + 0.3) + 0.25 * np.sin(columns * 2)
    return ImageBatch(
        images=torch.from_numpy(image.astype(np.float32))[None, None],
        labels=torch.zeros(1, size, size, dtype=torch.int64),
        shown=torch.ones(1, 1, size, size),
        indices=(0,),
    )


@pytest.mark.parametrize("degrees", [0.0, 37.0, 90.0, 211.0])
@pytest.mark.parametrize("flip", [False, True])
def test_a_network_that_commutes_with_the_view_reaches_the_bound(dataset: Dataset, degrees: float, flip: bool) -> None:
    method = IIC(dataset, TrainIICConfig(), CPU)
    geometry = Affine.similarity(torch.tensor([degrees]), flip=torch.tensor([flip]))
    losses = method.loss(
        Pixelwise(),  # type: ignore[arg-type]
        IICBatch(smooth_batch(), SecondView(geometry, None), ("main",)),
        FP32,
    )
    images = smooth_batch().images
    inside = geometry.inverse().valid_mask(geometry.valid_mask(torch.ones_like(images)))
    maps = Pixelwise()(images)["main"].softmax(1)
    # What the map shares with itself on the pixels that stay in the frame is all there is to share.
    assert float(losses["main"].detach()) == pytest.approx(float(mutual_information_loss(maps, maps, inside)), abs=0.03)


def test_padding_and_what_left_the_frame_share_nothing(dataset: Dataset) -> None:
    method = IIC(dataset, TrainIICConfig(), CPU)
    whole = smooth_batch()
    shown = whole.shown.clone()
    shown[..., 40:] = 0
    view = SecondView(Affine.similarity(torch.tensor([20.0])), None)
    losses = []
    for padding in (0.0, 0.9):
        batch = dataclasses.replace(whole, images=torch.where(shown > 0, whole.images, padding), shown=shown)
        losses.append(method.loss(Pixelwise(), IICBatch(batch, view, ("main",)), FP32)["total"])  # type: ignore[arg-type]
    assert losses[0] < -0.1
    assert torch.equal(*losses)


def test_an_epoch_trains_the_auxiliary_head_on_every_image_and_then_the_main_one(dataset: Dataset) -> None:
    method = IIC(dataset, TrainIICConfig(batch_size=3), CPU)
    assert method.epoch_steps == 6  # twice the 3 batches of 8 images
    batches = [method.draw(0, step) for step in range(6)]
    assert [batch.trained for batch in batches] == [("aux",)] * 3 + [("main",)] * 3
    for part in (batches[:3], batches[3:]):
        seen = {index for batch in part for index in batch.images.indices}
        assert seen == set(dataset.indices("train").tolist())


def test_joint_training_takes_both_heads_in_every_step(dataset: Dataset) -> None:
    method = IIC(dataset, TrainIICConfig(batch_size=3, heads="joint"), CPU)
    assert method.epoch_steps == 3
    batch = method.draw(0, 2)
    losses = method.loss(small_network(method), batch, FP32)
    assert torch.equal(losses["total"], losses["main"] + losses["aux"])


@pytest.mark.parametrize(("step", "trained", "other"), [(0, "aux", "main"), (1, "main", "aux")])
def test_only_the_trained_head_and_the_trunk_have_a_gradient(
    dataset: Dataset, step: int, trained: str, other: str
) -> None:
    method = IIC(dataset, TrainIICConfig(), CPU)
    network = small_network(method)
    losses = method.loss(network, method.draw(0, step), FP32)
    assert set(losses) == {"main", "aux", "total"}
    assert torch.equal(losses["total"], losses[trained])
    losses["total"].backward()
    assert network.heads[trained].weight.grad.abs().sum() > 0
    assert network.heads[other].weight.grad is None
    assert network.down[0][0].weight.grad.abs().sum() > 0


def test_a_batch_is_a_function_of_seed_epoch_and_step(dataset: Dataset) -> None:
    config = TrainIICConfig(batch_size=3, crop=32, views="rotation,flip,photometric")
    first, again = (IIC(dataset, config, CPU) for _ in range(2))
    again.draw(4, 1)
    drawn, drawn_again = first.draw(2, 1), again.draw(2, 1)
    assert torch.equal(drawn.images.images, drawn_again.images.images)
    assert torch.equal(drawn.view.of(drawn.images.images), drawn_again.view.of(drawn_again.images.images))
    other = first.draw(2, 2)
    assert not torch.equal(drawn.images.images, other.images.images)


def test_second_views_do_not_feed_the_statistics_used_for_prediction(dataset: Dataset) -> None:
    method = IIC(dataset, TrainIICConfig(), CPU)
    buffers = []
    for exposure in (None, Exposure(torch.full((10,), 3.0), torch.zeros(10), torch.ones(10), torch.zeros(10), 0)):
        network = small_network(method)
        batch = dataclasses.replace(method.draw(0, 0), view=SecondView(Affine.identity(10), exposure))
        method.loss(network, batch, FP32)
        buffers.append(dict(network.named_buffers()))
    fresh = dict(small_network(method).named_buffers())
    assert all(torch.equal(buffers[0][name], buffers[1][name]) for name in fresh)
    assert any(not torch.equal(buffers[0][name], fresh[name]) for name in fresh)


def test_validation_is_the_same_every_time_and_whatever_the_seed(dataset: Dataset) -> None:
    network = small_network(IIC(dataset, TrainIICConfig(), CPU)).eval()
    metrics = [IIC(dataset, TrainIICConfig(seed=seed), CPU).validate(network, FP32) for seed in (0, 0, 5)]
    assert metrics[0] == metrics[1] == metrics[2]


def test_validation_measures_a_good_clustering_as_good(dataset: Dataset) -> None:
    metrics = IIC(dataset, TrainIICConfig(), CPU).validate(Pixelwise(), FP32)  # type: ignore[arg-type]
    labels = np.stack([dataset.labels(index) for index in dataset.indices("val")])
    share = labels.mean()
    bound = -(share * math.log(share) + (1 - share) * math.log(1 - share))
    # Rotation blurs the noisy borders of small discs: some of the information is lost.
    assert 0.5 * bound < metrics["val_main_mi"] <= bound + 0.05
    assert metrics["val_main_bright_area"] == pytest.approx(share, abs=0.02)
    assert metrics["val_main_otsu_area"] == pytest.approx(share, abs=0.02)
    assert metrics["val_information"] == pytest.approx((metrics["val_main_mi_share"] + metrics["val_aux_mi_share"]) / 2)


@pytest.mark.parametrize(("recipe", "side"), [("discs", 128), ("bigbrain", 256)])
def test_the_studys_crops_are_the_default(dataset: Dataset, recipe: str, side: int) -> None:
    dataset.info = dataclasses.replace(dataset.info, recipe=recipe)
    assert IIC(dataset, TrainIICConfig(), CPU).crop == side
    assert IIC(dataset, TrainIICConfig(crop=32), CPU).crop == 32


def test_clusters_are_by_default_those_of_the_data_set(dataset: Dataset) -> None:
    assert IIC(dataset, TrainIICConfig(), CPU).heads == {"main": 2, "aux": 10}
    assert IIC(dataset, TrainIICConfig(clusters=3), CPU).heads == {"main": 3, "aux": 15}
    assert IIC(dataset, TrainIICConfig(aux_clusters=4), CPU).heads == {"main": 2, "aux": 4}
    with pytest.raises(UsageError, match="3 clusters, fewer than the main head's 4"):
        IIC(dataset, TrainIICConfig(clusters=4).model_copy(update={"aux_clusters": 3}), CPU)


def test_a_data_set_without_validation_images_is_refused(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "d.h5", ("train",) * 3)
    with Dataset(data) as dataset, pytest.raises(DataError, match="validation split is empty"):
        IIC(dataset, TrainIICConfig(), CPU)


def naming(dataset: Dataset, wanted: str) -> tuple[str, list[int]]:
    found = labels_to_name_clusters(dataset, TrainIICConfig(map_labels=wanted))
    return found.split, found.indices.tolist()


def test_every_epoch_has_an_order_of_its_own(dataset: Dataset) -> None:
    method = IIC(dataset, TrainIICConfig(batch_size=1), CPU)
    orders = {
        tuple(int(method.draw(epoch, step).images.indices[0]) for step in range(len(method.training)))
        for epoch in range(6)
    }
    assert len(orders) > 1


def test_mapping_images_are_labelled_training_images_in_label_order(dataset: Dataset) -> None:
    assert naming(dataset, "5") == ("train", dataset.label_order[:5].tolist())
    assert naming(dataset, "all") == ("train", dataset.label_order.tolist())
    with pytest.raises(UsageError, match="the train split has 8"):
        naming(dataset, "9")


def test_without_labelled_training_images_the_validation_images_decide(tmp_path: Path) -> None:
    training = tuple(index for index, split in enumerate(SPLITS) if split == "train")
    with Dataset(write_discs(tmp_path / "d.h5", unlabelled=training)) as dataset:
        assert naming(dataset, "2") == ("val", dataset.indices("val").tolist()[:2])
    with Dataset(write_discs(tmp_path / "none.h5", unlabelled=tuple(range(len(SPLITS))))) as dataset:
        assert naming(dataset, "5")[1] == []


def test_the_main_head_is_mapped_one_to_one_and_the_auxiliary_one_by_majority() -> None:
    tables = {"main": np.array([[60, 30], [90, 20]]), "aux": np.array([[60, 30], [90, 20], [0, 0], [1, 3]])}
    mappings = fit_mappings(tables, "train", 5)
    assert mappings["main"].classes == (1, 0)  # both clusters are mostly background
    assert mappings["aux"].classes == (0, 0, 0, 1)
    assert (mappings["main"].rule, mappings["aux"].rule) == ("hungarian", "majority")
    assert mappings["aux"].shares == ((60 / 90, 30 / 90), (90 / 110, 20 / 110), (0, 0), (0.25, 0.75))
    assert mappings["aux"].areas == pytest.approx((90 / 204, 110 / 204, 0, 4 / 204))
    assert fit_mappings({"main": np.array([[5, 1], [4, 2], [0, 9]])}, "val", 1)["main"].rule == "majority"


def test_views_are_what_was_asked_for() -> None:
    def draw(*kinds: str) -> SecondView:
        return draw_second_view(kinds, 200, np.random.default_rng(0))  # type: ignore[arg-type]

    assert draw("photometric").geometry.is_identity()
    assert draw("rotation").exposure is None
    matrices = draw("rotation").geometry.matrix
    torch.testing.assert_close(torch.linalg.det(matrices[:, :, :2]), torch.ones(200, dtype=torch.float64))
    degrees = torch.rad2deg(torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0])) % 360
    assert [int(count) for count in torch.histc(degrees.float(), 4, 0, 360)] == pytest.approx([50] * 4, abs=20)
    mirrored = torch.linalg.det(draw("flip").geometry.matrix[:, :, :2]) < 0
    assert 60 < int(mirrored.sum()) < 140


def test_another_exposure_keeps_the_range_and_the_order_of_grey_levels() -> None:
    exposure = Exposure(torch.tensor([1.2, 0.8]), torch.zeros(2), torch.tensor([0.8, 1.2]), torch.zeros(2), 0)
    images = torch.linspace(0, 1, 50).reshape(1, 1, 5, 10).expand(2, 1, 5, 10)
    changed = exposure.apply(images)
    assert float(changed.min()) == 0
    assert float(changed.max()) <= 1
    assert (changed.flatten(1).diff() >= 0).all()
    assert (changed[0, 0, 2] > images[0, 0, 2]).all()
    assert (changed[1, 0, 2] < images[1, 0, 2]).all()
    noisy = dataclasses.replace(exposure, noise=torch.tensor([0.1, 0.0])).apply(images)
    assert 0.05 < float((noisy - changed)[0].std() / images[0].std()) < 0.12
    assert torch.equal(noisy[1], changed[1])
    brighter = dataclasses.replace(exposure, offset=torch.tensor([0.2, 0.0])).apply(images)
    assert (brighter[0] >= changed[0]).all()
    assert torch.equal(brighter[1], changed[1])


def test_exposures_fill_their_ranges() -> None:
    exposure = draw_second_view(("photometric",), 4000, np.random.default_rng(0)).exposure
    assert exposure is not None
    for values, low, high in (
        (exposure.gain, 1 / 1.5, 1.5),
        (exposure.gamma, 1 / 1.5, 1.5),
        (exposure.offset, -0.2, 0.2),
        (exposure.noise, 0, 0.5),
    ):
        slack = 0.01 * (high - low)
        assert low <= float(values.min()) < low + slack
        assert high - slack < float(values.max()) <= high
    # As often above 1 as below.
    assert 0.45 < float((exposure.gain > 1).double().mean()) < 0.55
    other = draw_second_view(("photometric",), 2, np.random.default_rng(1)).exposure
    assert other is not None
    assert other.noise_seed != exposure.noise_seed


def test_the_second_view_is_exposed_before_it_is_turned() -> None:
    images = torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    exposure = Exposure(torch.tensor([0.5]), torch.zeros(1), torch.ones(1), torch.zeros(1), 0)
    geometry = Affine.similarity(torch.tensor([30.0]))
    seen = SecondView(geometry, exposure).of(images)
    torch.testing.assert_close(seen, geometry.warp(images * 0.5))
    assert float(seen[0, 0, 0, 0]) == 0  # from outside the frame
    assert torch.equal(SecondView(geometry, None).of(images), geometry.warp(images))


def own_second(network: UNet, batch: IICBatch, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Logits of the second view, normalised by its own statistics."""
    return copy.deepcopy(network).train()(batch.view.of(images))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("lamb", "shift", "form"), [(1.0, 0, "uncollapsed"), (1.5, 2, "uncollapsed"), (1.2, 2, "collapsed")]
)
def test_the_losses_of_a_step_are_their_formula(dataset: Dataset, lamb: float, shift: int, form: str) -> None:
    config = TrainIICConfig.model_validate(
        {"lamb": lamb, "shift": shift, "shift_loss": form, "batch_size": 2, "views": "rotation,flip,photometric"}
    )
    method = IIC(dataset, config, CPU)
    network, batch = small_network(method), method.draw(0, 1)
    losses = method.loss(network, batch, FP32)
    images, back = batch.images.images, batch.view.geometry.inverse()
    first, second = small_network(method)(images), own_second(small_network(method), batch, images)
    shown = torch.ones_like(images)
    valid = back.valid_mask(batch.view.geometry.valid_mask(shown))
    for head in ("main", "aux"):
        expected = mutual_information_loss(
            first[head].softmax(1), back.warp(second[head].softmax(1)), valid,
            lamb=lamb, shift=shift, collapsed=form == "collapsed",
        )  # fmt: skip
        torch.testing.assert_close(losses[head].detach(), expected.detach(), atol=1e-6, rtol=1e-5)
    assert torch.equal(losses["total"], losses["aux"])


def test_validation_measures_plain_images_by_running_and_second_views_by_their_own_statistics(dataset: Dataset) -> None:
    method = IIC(dataset, TrainIICConfig(batch_size=2), CPU)
    network = small_network(method)
    network.down[0][1].running_mean.add_(0.5)
    network.up[-1][1].running_var.mul_(4)
    network.eval()
    metrics = method.validate(network, FP32)
    joints = {head: torch.zeros(count, count, dtype=torch.float64) for head, count in method.heads.items()}
    certainty = {head: [] for head in method.heads}
    for start in (0, 2):  # the three validation images, by two
        random = random_stream(0, "validate", start)
        indices = dataset.indices("val")[start : start + 2]
        images = torch.from_numpy(np.stack([dataset.normalised(index) for index in indices.tolist()]))
        view = draw_second_view(["rotation"], len(images), random)
        batch = IICBatch(ImageBatch(images, images, images, ()), view, ())
        with torch.no_grad():
            first, second = network(images), own_second(network, batch, images)
        back = view.geometry.inverse()
        valid = back.valid_mask(view.geometry.valid_mask(torch.ones_like(images)))
        for head in method.heads:
            p, q = first[head].softmax(1), back.warp(second[head].softmax(1))
            joints[head] += torch.einsum("bkhw,blhw->kl", p * valid, q).double()
            certainty[head].append(-(p * p.log()).sum(1).flatten())
    for head, count in method.heads.items():
        joint = (joints[head] / joints[head].sum()).numpy()
        outer = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        information = (joint * np.log(np.maximum(joint, 1e-300) / outer)).sum()
        assert metrics[f"val_{head}_mi"] == pytest.approx(information, abs=1e-6)
        assert metrics[f"val_{head}_mi_share"] == pytest.approx(information / math.log(count), abs=1e-6)
        entropy = float(torch.cat(certainty[head]).double().mean())
        assert metrics[f"val_{head}_pixel_entropy"] == pytest.approx(entropy / math.log(count), abs=1e-6)


def test_a_collapsed_head_counts_nothing_in_the_choice_of_the_state(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = IIC(dataset, TrainIICConfig(), CPU).validate(Pixelwise(), FP32)  # type: ignore[arg-type]
    kinds = iter([None, "one cluster"])
    monkeypatch.setattr("bioseg_cli.training.iic.diagnose", lambda _: next(kinds))
    half = IIC(dataset, TrainIICConfig(), CPU).validate(Pixelwise(), FP32)  # type: ignore[arg-type]
    assert half["val_information"] == pytest.approx(good["val_main_mi_share"] / 2)


def measures(head: str, **values: float) -> dict[str, float]:
    sound = {
        "mi": 0.25, "mi_share": 0.5, "marginal_entropy": 0.75, "pixel_entropy": 0.5, "live_clusters": 2,
        "constant_images": 0.25, "image_dependence": 0.5,
    }  # fmt: skip
    return {f"val_{head}_{name}": value for name, value in {**sound, **values}.items()}


def test_an_epoch_is_described_by_both_heads_and_a_collapsed_one_is_named(dataset: Dataset) -> None:
    described = IIC(dataset, TrainIICConfig(), CPU).describe(
        {**measures("main"), **measures("aux", image_dependence=0)}
    )
    assert described == (
        "main MI 0.250 of 0.693, entropy 0.75 overall and 0.50 a pixel, 2 of 2 clusters, 25% constant; "
        "aux MI 0.250 of 2.303, entropy 0.75 overall and 0.50 a pixel, 2 of 10 clusters, 25% constant [one map]"
    )


FLAT = {"constant_images": 1.0}
UNDIVIDED = "the main head has collapsed, one cluster: an image is never divided."


@pytest.mark.parametrize(
    ("kept", "last", "end", "kinds", "warned"),
    [
        ({}, {}, "finished", {"last": {}, "best-final": {}}, []),
        (
            {}, FLAT, "collapsed", {"last": {"main": "one cluster"}, "best-final": {}},
            [f"{UNDIVIDED} The state best-final, of epoch 2, is from before."],
        ),
        (
            FLAT, {}, "collapsed", {"last": {}, "best-final": {"main": "one cluster"}},
            ["the main head of the state best-final, of epoch 2, has collapsed, one cluster: an image is never "
             "divided. The last has not."],
        ),
        (
            {"image_dependence": 0.0}, FLAT, "collapsed",
            {"last": {"main": "one cluster"}, "best-final": {"main": "one map"}},
            ["the main head has collapsed, one map: the clusters depend on the position and not on the image. The best "
             "state, of epoch 2, has too."],
        ),
    ],
)  # fmt: skip
def test_a_run_ends_with_what_collapsed_in_its_best_and_in_its_last_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: dict[str, float], last: dict[str, float], end: str,
    kinds: dict[str, dict[str, str]], warned: list[str],
) -> None:  # fmt: skip
    said: list[str] = []
    monkeypatch.setattr(ConsoleOutput, "warn", lambda _, text: said.append(text))
    run = RunDirectory(tmp_path, new_manifest())
    run.manifest.best = {"best-final": BestEpoch(value=0.5, epoch=2)}
    rows = [{**measures("main", **changed), **measures("aux")} for changed in ({"mi_share": 0.0}, kept, {}, last)]
    with Dataset(write_discs(tmp_path / "d.h5", unlabelled=tuple(range(len(SPLITS))))) as opened:
        conclusion = IIC(opened, TrainIICConfig(), CPU).conclude(run, rows, FP32, ConsoleOutput())
    assert (conclusion.status, conclusion.collapse) == (end, kinds)
    assert said == warned


def test_the_stable_preset_has_twice_the_clusters_in_the_main_head(dataset: Dataset) -> None:
    assert IIC(dataset, TrainIICConfig(preset="stable"), CPU).heads == {"main": 4, "aux": 10}
    assert IIC(dataset, TrainIICConfig(preset="stable", clusters=3), CPU).heads == {"main": 3, "aux": 15}
    with pytest.raises(UsageError, match="3 clusters, fewer than the main head's 4"):
        IIC(dataset, TrainIICConfig(preset="stable", aux_clusters=3), CPU)


@pytest.mark.parametrize(("shift", "crop"), [(47, None), (31, 32)])
def test_displacements_may_be_as_large_as_the_maps_but_one(dataset: Dataset, shift: int, crop: int | None) -> None:
    IIC(dataset, TrainIICConfig(shift=shift, crop=crop), CPU)
    with pytest.raises(UsageError, match=f"--shift {shift + 1} displaces"):
        IIC(dataset, TrainIICConfig(shift=shift + 1, crop=crop), CPU)


def test_the_defaults_are_the_studys() -> None:
    paper = TrainIICConfig()
    assert (paper.optimizer, paper.lr, paper.epochs, paper.batch_size) == ("rmsprop", 0.01, 10, 10)
    assert (paper.heads, paper.views, paper.width, paper.lamb, paper.shift) == ("alternate", ("rotation",), 64, 1.0, 0)
    assert TrainUDAConfig().optimizer == "adam"


def test_a_preset_fills_in_what_was_not_given() -> None:
    stable = TrainIICConfig.model_validate({"preset": "stable", "lr": 0.5})
    assert (stable.optimizer, stable.heads, stable.lr) == ("adam", "joint", 0.5)
    assert "photometric" in stable.views
