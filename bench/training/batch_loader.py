"""The steps of a pass: order, augmentation and draws, all made ahead, so that a step is only tensors.

Read `BatchLoader.steps` first. It draws everything random of the pass, makes a `BatchPlan` for each batch of each
stream, and turns plans into `TrainingStep`s as their images arrive from the store.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from bench.training import seeds
from bench.training.augmentation import Augmentation
from bench.training.distributed import SINGLE_PROCESS, ProcessGroup
from bench.training.images.image_store import Images, ImageStore
from bench.training.networks import TrainedNetwork
from bench.training.step import Batch, BatchPlan, TrainingStep, to_device
from methods.interface import Pass, Steps, Stream


def batch_bounds(samples: int, batch: int, processes: int = 1) -> list[tuple[int, int]]:
    """Start and stop of each batch. Nothing is dropped; a last batch of one image joins the batch before it.

    A single image has no batch statistics, so batch normalisation would fail on it; each process needs two images.
    """
    starts = list(range(0, samples, batch))
    if len(starts) > 1 and samples - starts[-1] < 2 * processes:
        starts.pop()
    return list(zip(starts, [*starts[1:], samples], strict=True))


class BatchLoader:
    """Makes the steps of passes over one training part."""

    def __init__(
        self,
        store: Images,
        labels: Tensor,
        classes: int,
        augmentations: Mapping[str, Augmentation],
        batch_size: int,
        seed: int,
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.store, self.labels, self.classes = store, labels, classes
        self.augmentations, self.batch_size, self.seed, self.group = augmentations, batch_size, seed, group
        self._labels_on_cpu = labels.cpu()

    def steps(
        self, training_pass: Pass, networks: Sequence[TrainedNetwork], phase: str, pass_key: tuple[int, ...]
    ) -> Iterator[TrainingStep]:
        """The steps of one pass. `pass_key` (numbers of phase, epoch and pass) keys its random streams.

        This call may wait for the device; iterating over the steps doesn't. Raises ValueError where the pass has no
        stream, a stream no samples, or a view that doesn't exist.
        """
        streams = training_pass.streams
        leaders = {name: self._leader(name, streams) for name in streams}
        if not leaders:
            raise ValueError("a pass needs one stream at least")
        samples = {name: self._samples(name, stream) for name, stream in streams.items()}
        first = leaders[next(iter(leaders))]
        bounds = batch_bounds(len(samples[first]), self._batch_size(streams[first]), self.group.world_size)
        largest = max(self.group.largest_shard(stop - start) for start, stop in bounds)
        drawn = training_pass.draws(Steps(len(bounds), largest), seeds.seeded_generator(self.seed, "draws", *pass_key))
        draws = {name: to_device(values, self.labels.device) for name, values in drawn.items()}
        plans = {name: self._plans(name, leader, streams, samples, pass_key) for name, leader in leaders.items()}
        return self._assemble(len(bounds), (phase, pass_key[1]), training_pass.learn, draws, plans, networks)

    def _assemble(
        self,
        count: int,
        phase_and_epoch: tuple[str, int],
        learn: tuple[int, ...],
        draws: Mapping[str, Tensor],
        plans: Mapping[str, Iterator[BatchPlan]],
        networks: Sequence[TrainedNetwork],
    ) -> Iterator[TrainingStep]:
        # all streams' batches in the order of their use; the store runs a few batches ahead of the steps
        ordered, prefetched = itertools.tee(next(stream) for _ in range(count) for stream in plans.values())
        images = self.store.prefetch(plan.store_index for plan in prefetched)
        for number in range(count):
            streams = {name: self._load_batch(next(ordered), *next(images)) for name in plans}
            step_draws = {name: values[number] for name, values in draws.items()}
            yield TrainingStep(*phase_and_epoch, learn, step_draws, streams, networks)

    def _load_batch(self, plan: BatchPlan, store: ImageStore, places: Tensor) -> Batch:
        """The batch of a plan; `store` holds its images at `places` (B,)."""
        views = [
            store.plain(places) if augmentation is None else augmentation.apply(store, places, draws)
            for augmentation, draws in plan.views
        ]
        return Batch(plan.index, self.labels.index_select(0, plan.index), views, plan.share)

    def _batch_size(self, stream: Stream) -> int:
        return self.batch_size if stream.batch is None else stream.batch

    def _leader(self, name: str, streams: Mapping[str, Stream]) -> str:
        """The stream that gives batches and order to the stream `name`: itself, or the one that it stands beside."""
        stream = streams[name]
        if stream.beside is None:
            return name
        if stream.beside not in streams or streams[stream.beside].beside is not None:
            raise ValueError(f"the stream {name!r} stands beside {stream.beside!r}, which is no stream with an order")
        if stream.index is None or stream.index.shape != self.labels.shape:
            raise ValueError(f"the stream {name!r} stands beside another and needs an index ({len(self.labels)},)")
        return stream.beside

    def _samples(self, name: str, stream: Stream) -> Tensor:
        """The positions of a stream's samples, on the CPU, where its orders are drawn."""
        samples = torch.arange(len(self.labels)) if stream.index is None else stream.index.cpu()
        if len(samples) < self.group.world_size:
            few = f"{len(samples)} samples for {self.group.world_size} processes" if len(samples) else "no samples"
            raise ValueError(f"the stream {name!r} has {few}")
        for view in stream.views:
            if view != "none" and view not in self.augmentations:
                raise ValueError(f"the stream {name!r} asks for a view {view!r}; views are weak, strong and none")
        return samples

    def _plans(
        self,
        name: str,
        leader: str,
        streams: Mapping[str, Stream],
        samples: Mapping[str, Tensor],
        pass_key: tuple[int, ...],
    ) -> Iterator[BatchPlan]:
        """Endless batch plans of one stream; each round has an order (its leader's) and draws of its own."""
        stream, count = streams[name], len(samples[leader])
        bounds = batch_bounds(count, self._batch_size(streams[leader]), self.group.world_size)
        sizes = [stop - start for start, stop in bounds]
        device = self.labels.device

        def split(values: Tensor) -> Sequence[Tensor]:
            """This process's shard of each batch; all batches are cut in one call."""
            return [self.group.shard(batch) for batch in torch.split(values, sizes)]

        for round_number in itertools.count():
            key: tuple[str | int, ...] = (name, *pass_key, round_number)
            order = self._order(streams[leader], samples[leader], (leader, *pass_key, round_number))
            if stream.beside is not None:
                order = samples[name][order]
            indices = split(to_device(order, device))
            store_indices = indices if self.store.index_device == device else split(order)
            round_views = [self._view_draws(view, number, count, key) for number, view in enumerate(stream.views)]
            split_draws = [{name: split(values) for name, values in draws.items()} for _, draws in round_views]
            for number, size in enumerate(sizes):
                views = [
                    (augmentation, {name: batches[number] for name, batches in draws.items()})
                    for (augmentation, _), draws in zip(round_views, split_draws, strict=True)
                ]
                yield BatchPlan(indices[number], store_indices[number], views, len(indices[number]) / size)

    def _order(self, stream: Stream, samples: Tensor, key: tuple[str | int, ...]) -> Tensor:
        """One round's order of a stream's `samples` (positions, on the CPU)."""
        if stream.order == "given":
            return samples
        generator = seeds.seeded_generator(self.seed, "order", *key)
        if stream.order == "shuffled":
            return samples[torch.randperm(len(samples), generator=generator)]
        labels = self._labels_on_cpu[samples]
        weights = 1 / torch.bincount(labels, minlength=self.classes).double()[labels]
        return samples[torch.multinomial(weights, len(samples), replacement=True, generator=generator)]

    def _view_draws(
        self, view: str, number: int, count: int, key: tuple[str | int, ...]
    ) -> tuple[Augmentation | None, dict[str, Tensor]]:
        """The augmentation of a view, the stream's `number`-th, and its draws for `count` images, on the device."""
        if view == "none":
            return None, {}
        augmentation = self.augmentations[view]
        generator = seeds.seeded_generator(self.seed, "augmentation", view, number, *key)
        drawn = augmentation.draws(count, self.store.size, generator)
        return augmentation, {name: to_device(values, self.labels.device) for name, values in drawn.items()}
