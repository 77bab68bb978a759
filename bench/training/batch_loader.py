"""From a pass to its steps: order, augmentation and draws, all made ahead, so that a step is only tensors."""

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
    """Where each batch begins and ends. Nothing is dropped; a last batch of one joins the batch before it.

    One image alone has no batch statistics, so batch normalisation would fail on it; with several processes each must
    have two.
    """
    starts = list(range(0, samples, batch))
    if len(starts) > 1 and samples - starts[-1] < 2 * processes:
        starts.pop()
    return list(zip(starts, [*starts[1:], samples], strict=True))


class BatchLoader:
    """Turns passes into steps over one training part."""

    def __init__(
        self,
        store: Images,
        labels: Tensor,
        classes: int,
        augmentations: Mapping[str, Augmentation],
        batch_size: int,
        seed: int,
        ranks: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.ranks = ranks
        self.store = store
        self.labels = labels
        self.classes = classes
        self.augmentations = augmentations
        self.batch_size = batch_size
        self.seed = seed
        self._labels_on_host = labels.cpu()

    def steps(
        self, work: Pass, networks: Sequence[TrainedNetwork], phase: str, where: tuple[int, ...]
    ) -> Iterator[TrainingStep]:
        """The steps of one pass. `where` (numbers of phase, epoch and pass) keys its random streams.

        Whatever waits for the device waits in this call; going through the steps doesn't. Raises ValueError where
        the pass has no stream, a stream no samples, or a view that doesn't exist.
        """
        leaders = {name: self._leader(name, work.streams) for name in work.streams}
        if not leaders:
            raise ValueError("a pass needs one stream at least")
        among = {name: self._among(name, stream) for name, stream in work.streams.items()}
        first = leaders[next(iter(leaders))]
        bounds = batch_bounds(len(among[first]), self._batch(work.streams[first]), self.ranks.size)
        largest = max(self.ranks.largest_share(stop - start) for start, stop in bounds)
        drawn = work.draws(Steps(len(bounds), largest), seeds.seeded_generator(self.seed, "draws", *where))
        draws = {name: to_device(values, self.labels.device) for name, values in drawn.items()}
        drafts = {name: self._drafts(name, leader, work.streams, among, where) for name, leader in leaders.items()}
        return self._assembled(len(bounds), (phase, where[1]), work.learn, draws, drafts, networks)

    def _assembled(
        self,
        count: int,
        when: tuple[str, int],
        learn: tuple[int, ...],
        draws: Mapping[str, Tensor],
        drafts: Mapping[str, Iterator[BatchPlan]],
        networks: Sequence[TrainedNetwork],
    ) -> Iterator[TrainingStep]:
        # all streams' batches in the order of their use, of which the store looks a few ahead
        ordered, ahead = itertools.tee(next(stream) for _ in range(count) for stream in drafts.values())
        images = self.store.ahead(draft.wanted for draft in ahead)
        for number in range(count):
            streams = {name: self._made(next(ordered), *next(images)) for name in drafts}
            yield TrainingStep(*when, learn, {key: value[number] for key, value in draws.items()}, streams, networks)

    def _made(self, draft: BatchPlan, store: ImageStore, places: Tensor) -> Batch:
        """A batch from its draft and the store that has its images, at `places` (B,)."""
        views = [
            store.plain(places) if augmentation is None else augmentation.apply(store, places, draws)
            for augmentation, draws in draft.views
        ]
        return Batch(draft.index, self.labels.index_select(0, draft.index), views, draft.share)

    def _batch(self, stream: Stream) -> int:
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

    def _among(self, name: str, stream: Stream) -> Tensor:
        """The positions that a stream goes through, on the CPU, where its orders are drawn."""
        among = torch.arange(len(self.labels)) if stream.index is None else stream.index.cpu()
        if len(among) < self.ranks.size:
            few = "no samples" if len(among) == 0 else f"{len(among)} samples for {self.ranks.size} processes"
            raise ValueError(f"the stream {name!r} has {few}")
        for kind in stream.views:
            if kind != "none" and kind not in self.augmentations:
                raise ValueError(f"the stream {name!r} asks for a view {kind!r}; views are weak, strong and none")
        return among

    def _drafts(
        self,
        name: str,
        leader: str,
        streams: Mapping[str, Stream],
        among: Mapping[str, Tensor],
        where: tuple[int, ...],
    ) -> Iterator[BatchPlan]:
        """Drafts of one stream's batches, for ever: each round has an order (its leader's) and draws of its own."""
        stream, size = streams[name], len(among[leader])
        sizes = [stop - start for start, stop in batch_bounds(size, self._batch(streams[leader]), self.ranks.size)]
        device = self.labels.device

        def shares(values: Tensor) -> Sequence[Tensor]:
            """This process's share of each batch, all cut in one call."""
            return [self.ranks.mine(batch) for batch in torch.split(values, sizes)]

        round_number = 0
        while True:
            key: tuple[str | int, ...] = (name, *where, round_number)
            order = self._order(streams[leader], among[leader], (leader, *where, round_number))
            if stream.beside is not None:
                order = among[name][order]
            index = to_device(order, device)
            own = shares(index)
            wanted = own if self.store.indexed_on == device else shares(order)
            views = [self._view_draws(kind, number, size, key) for number, kind in enumerate(stream.views)]
            drawn = [{name: shares(values) for name, values in draws.items()} for _, draws in views]
            for number, whole in enumerate(sizes):
                now = [
                    (augmentation, {name: batches[number] for name, batches in each.items()})
                    for (augmentation, _), each in zip(views, drawn, strict=True)
                ]
                yield BatchPlan(own[number], wanted[number], now, len(own[number]) / whole)
            round_number += 1

    def _order(self, stream: Stream, among: Tensor, key: tuple[str | int, ...]) -> Tensor:
        """One round's order over the positions `among`, on the CPU as they are."""
        if stream.order == "shuffled":
            among = among[torch.randperm(len(among), generator=seeds.seeded_generator(self.seed, "order", *key))]
        elif stream.order == "class-balanced":
            labels = self._labels_on_host[among]
            counts = torch.bincount(labels, minlength=self.classes).double()
            chosen = torch.multinomial(
                1 / counts[labels],
                len(among),
                replacement=True,
                generator=seeds.seeded_generator(self.seed, "order", *key),
            )
            among = among[chosen]
        return among

    def _view_draws(
        self, kind: str, number: int, size: int, key: tuple[str | int, ...]
    ) -> tuple[Augmentation | None, dict[str, Tensor]]:
        if kind == "none":
            return None, {}
        augmentation = self.augmentations[kind]
        drawn = augmentation.draws(
            size, self.store.size, seeds.seeded_generator(self.seed, "augmentation", kind, number, *key)
        )
        return augmentation, {name: to_device(values, self.labels.device) for name, values in drawn.items()}
