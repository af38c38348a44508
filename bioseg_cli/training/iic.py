"""Invariant Information Clustering for segmentation (Ji et al. 2019), as in the study's section 2.3.2.

A step sees images X and second views R(X), R a rotation by 0 to 360 degrees and what else was asked for. The prediction
on R(X) is brought back by the inverse of R, pixels that left the frame are masked out, and the mutual information of
the two maps is maximised. Two heads share one trunk: the main one has a cluster for each class, the auxiliary one
several times as many. No label is read while they are trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bioseg_cli.augment.second_view import SecondView, draw_second_view
from bioseg_cli.compute.device import Precision
from bioseg_cli.config import VIEWS, StateName
from bioseg_cli.dataset.batches import ImageBatch, ImageSource, looped_order, random_stream
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.model.saved import load_model, save_model
from bioseg_cli.model.unet import UNet, own_batch_statistics
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.output import Output
from bioseg_cli.runs.sections import ClusterNames, Conclusion, NamingImages, Status, TrainedOn
from bioseg_cli.training.clusters import cluster_tables, fit_mappings
from bioseg_cli.training.collapse import WORDS, Collapse, HeadWatch, diagnose, otsu_bright
from bioseg_cli.training.iic_settings import TrainIICConfig
from bioseg_cli.training.labels import labels_to_name_clusters
from bioseg_cli.training.losses import mutual_information_loss
from bioseg_cli.training.method import Row, probabilities

AUX_FACTOR = 5
"""Clusters of the auxiliary head for one of the main head; the original's experiments have 3 to 8."""

MAIN_FACTOR = {"paper": 1, "stable": 2}
"""Clusters of the main head for one class. Two clusters share the most where they halve the images; four are free to
give a quarter of the area to the cells."""

STUDY_CROP = 128
STUDY_CROPS = {"bigbrain": 256}
"""Side of the study's crops (its Table 1), in pixels, and by recipe where it differs."""

HELD_OUT_SEED = 0
"""Of the views taken of validation images: the same whatever the seed, so that restarts can be compared."""


@dataclass(frozen=True)
class IICBatch:
    """What one step sees."""

    images: ImageBatch
    view: SecondView
    trained: tuple[str, ...]
    """The heads whose losses this step minimises."""


class IIC:
    """Mutual information between the cluster maps of two views of one image.

    Args:
        dataset: open data set; its test split is never read.
        config: settings.
        device: where views and losses are computed.

    Raises:
        DataError: no validation image.
        UsageError: an auxiliary head of fewer clusters than the main one, displacements as large as the images, or
            more labelled images for the mapping than there are, or images that show a single class.
    """

    outputs: ClassVar[Literal["clusters"]] = "clusters"
    training_heads: ClassVar[frozenset[str]] = frozenset()
    teacher_decay: ClassVar[None] = None

    def __init__(self, dataset: Dataset, config: TrainIICConfig, device: torch.device) -> None:
        self.dataset = dataset
        self.config = config
        self.criteria = config.criteria
        self.device = device
        expected = config.clusters or max(2, len(dataset.classes))
        main = config.clusters or expected * MAIN_FACTOR[config.preset]
        self.heads = {"main": main, "aux": config.aux_clusters or AUX_FACTOR * expected}
        if self.heads["aux"] < main:
            raise UsageError(
                f"The auxiliary head has {self.heads['aux']} clusters, fewer than the main head's {main}",
                where=dataset.path,
                fix=f"Give --aux-clusters {main} or more.",
            )
        self.crop = config.crop or STUDY_CROPS.get(dataset.info.recipe, STUDY_CROP)
        side = min(self.crop, *dataset.image_shape[1:])
        if config.shift >= side:
            raise UsageError(
                f"--shift {config.shift} displaces the maps by more than they are large ({side} pixels)",
                where=dataset.path,
                fix="Give a smaller --shift, such as 10, or larger crops.",
            )
        self.training, self.validation = dataset.indices("train"), dataset.indices("val")
        for name, indices in (("training", self.training), ("validation", self.validation)):
            if not len(indices):
                raise DataError(
                    f"The {name} split is empty",
                    where=dataset.path,
                    fix="Make it again with `bioseg prepare`, of enough images for every split.",
                )
        naming = labels_to_name_clusters(dataset, config)
        self.mapping_split, self.mapping_indices = naming.split, naming.indices
        self.name = "iic"
        clusters = f"{main}+{self.heads['aux']}"
        self.run_name = f"{dataset.path.stem}-iic-{config.preset}-{clusters}clusters-seed{config.seed}"
        self.record = TrainedOn(
            unlabelled=len(self.training),
            clusters=dict(self.heads),
            mapped_by=NamingImages(
                split=self.mapping_split,
                images=tuple(dataset.name(index) for index in self.mapping_indices.tolist()),
                unseen=naming.unseen,
            ),
        )
        self.remarks = [] if naming.warnings and not len(naming.indices) else [self._mapping_remark()]
        self.warnings = naming.warnings
        self._views = [kind for kind in VIEWS if kind in config.views]
        self._passes = [("main", "aux")] if config.heads == "joint" else [("aux",), ("main",)]
        self._pass_steps = -(-len(self.training) // config.batch_size)
        self.epoch_steps = self._pass_steps * len(self._passes)
        self._source = ImageSource(dataset, config.cache_bytes, labels=False)

    def _mapping_remark(self) -> str:
        count = len(self.mapping_indices)
        if not count:
            return "No image has a mask: the clusters stay clusters, and are not mapped to classes"
        kind = "training" if self.mapping_split == "train" else "validation"
        return f"No mask is read in training; afterwards {count} labelled {kind} images decide what each cluster is"

    def draw(self, epoch: int, step: int, progress: float = 0.0) -> IICBatch:
        """The batch of a step with its views: see `method.Method.draw`; nothing in it depends on the progress."""
        config = self.config
        which, position = divmod(step, self._pass_steps)
        size = config.batch_size
        order = looped_order(self.training, self._pass_steps * size, random_stream(config.seed, "order", which, epoch))
        return IICBatch(
            images=self._source.batch(
                order[position * size : (position + 1) * size],
                crop=self.crop,
                random=random_stream(config.seed, "crop", epoch, step),
            ),
            view=draw_second_view(self._views, size, random_stream(config.seed, "augment", epoch, step)),
            trained=self._passes[which],
        )

    def loss(
        self, network: nn.Module, batch: IICBatch, precision: Precision, teacher: UNet | None = None
    ) -> dict[str, Tensor]:
        """The loss of each head, and as total the sum of those that this step trains; float32 scalars."""
        config = self.config
        images = batch.images.to(self.device)
        first, second, valid = self._maps(network, precision, images, batch.view)
        losses = {}
        for head in self.heads:
            with torch.set_grad_enabled(head in batch.trained):
                losses[head] = mutual_information_loss(
                    probabilities(first[head]),
                    batch.view.geometry.inverse().warp(probabilities(second[head])),
                    valid,
                    lamb=config.lamb,
                    shift=config.shift,
                    collapsed=config.shift_loss == "collapsed",
                )
        return {**losses, "total": torch.stack([losses[head] for head in batch.trained]).sum()}

    def _maps(
        self, network: nn.Module, precision: Precision, images: ImageBatch, view: SecondView
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """Logits of the images, logits of their second views, not brought back, and where both show the pixel."""
        # As in UDA, only plain images feed the running batch-norm statistics that are kept for prediction.
        with precision.autocast():
            first = network(images.images)
        with precision.autocast(), own_batch_statistics(network):
            second = network(view.of(images.images))
        back = view.geometry.inverse()
        valid = back.valid_mask(view.geometry.valid_mask(images.shown)) * images.shown
        return first, second, valid

    @torch.no_grad()
    def validate(self, network: UNet, precision: Precision) -> dict[str, float]:
        """What the clusters of held-out images share with those of their second views, and the signs of collapse."""
        watches = {head: HeadWatch(count) for head, count in self.heads.items()}
        size = self.config.batch_size
        for start in range(0, len(self.validation), size):
            random = random_stream(HELD_OUT_SEED, "validate", start)
            batch = self._source.batch(self.validation[start : start + size], crop=self.crop, random=random)
            pairs = zip(batch.images.numpy(), batch.shown[:, 0].numpy() > 0, strict=True)
            bright = np.stack([otsu_bright(image, shown) for image, shown in pairs])
            images = batch.to(self.device)
            view = draw_second_view(self._views, len(images.images), random)
            first, second, valid = self._maps(network, precision, images, view)
            for head, watch in watches.items():
                aligned = view.geometry.inverse().warp(probabilities(second[head]))
                watch.add(probabilities(first[head]), aligned, valid, images.shown, bright if head == "main" else None)
        measures = {head: watch.measures() for head, watch in watches.items()}
        metrics = {f"val_{head}_{name}": value for head in measures for name, value in measures[head].items()}
        # Their bounds log K differ: shares can be averaged, nats cannot. What a collapsed head shares is no merit: two
        # halves of every image share more than cells and background do.
        shares = [0.0 if diagnose(measured) else measured["mi_share"] for measured in measures.values()]
        return {"val_information": float(np.mean(shares)), **metrics}

    def _measures(self, metrics: Mapping[str, float], head: str) -> dict[str, float]:
        prefix = f"val_{head}_"
        return {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}

    def _collapses(self, metrics: Mapping[str, float]) -> dict[str, Collapse]:
        kinds = {head: diagnose(self._measures(metrics, head)) for head in self.heads}
        return {head: kind for head, kind in kinds.items() if kind is not None}

    def describe(self, metrics: Mapping[str, float]) -> str:
        """Both heads in a line: information against its bound, entropies, live clusters, constant images."""
        collapses = self._collapses(metrics)
        parts = []
        for head, count in self.heads.items():
            found = self._measures(metrics, head)
            parts.append(
                f"{head} MI {found['mi']:.3f} of {np.log(count):.3f}, entropy {found['marginal_entropy']:.2f} overall "
                f"and {found['pixel_entropy']:.2f} a pixel, {found['live_clusters']:.0f} of {count} clusters, "
                f"{found['constant_images']:.0%} constant" + (f" [{collapses[head]}]" if head in collapses else "")
            )
        return "; ".join(parts)

    def conclude(self, run: RunDirectory, rows: Sequence[Row], precision: Precision, output: Output) -> Conclusion:
        """Map the clusters of every saved state to classes, and say whether the clustering collapsed."""
        names: dict[StateName, dict[str, ClusterNames]] = {}
        states: tuple[StateName, ...] = (*self.criteria, "last")
        if len(self.mapping_indices):
            for state in states:
                model = load_model(run.checkpoint(state), self.device)
                network = model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
                tables = cluster_tables(network, self.dataset, self.mapping_indices, precision, output)
                mappings = fit_mappings(tables, self.mapping_split, len(self.mapping_indices))
                save_model(model.path, network.state_dict(), model.card.model_copy(update={"mappings": mappings}))
                names[state] = {
                    head: ClusterNames.model_validate(mapping.model_dump()) for head, mapping in mappings.items()
                }
        best = run.manifest.best["best-final"].epoch
        last, kept = self._collapses(rows[-1]), self._collapses(rows[best - 1])
        for head in self.heads:
            if head in last or head in kept:
                output.warn(self._warning(head, kept.get(head), last.get(head), best))
        return Conclusion(
            status=Status.COLLAPSED if last or kept else Status.FINISHED,
            mappings=names or None,
            collapse={"last": dict(last), "best-final": dict(kept)},
        )

    def _warning(self, head: str, kept: Collapse | None, last: Collapse | None, best: int) -> str:
        if kept is None and last is not None:
            return (
                f"the {head} head has collapsed, {WORDS[last]}. The state best-final, of epoch {best}, is from before."
            )
        words = WORDS[kept or "uniform"]
        if last is None:
            return (
                f"the {head} head of the state best-final, of epoch {best}, has collapsed, {words}. The last has not."
            )
        return f"the {head} head has collapsed, {words}. The best state, of epoch {best}, has too."

    def images_of(self, batch: IICBatch) -> list[str]:
        """Names of the images of a batch."""
        return [self.dataset.name(index) for index in batch.images.indices]
