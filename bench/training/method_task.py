"""What a method is handed at its start; see `methods.interface.Task`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.training import seeds
from bench.training.augmentation import Augmentation
from bench.training.batch_loader import batch_bounds
from bench.training.distributed import SINGLE_PROCESS, ProcessGroup
from bench.training.images.image_store import Images, ImageStore
from bench.training.inference import ChunkSize, inference_batch
from bench.training.networks import AveragedNetwork, TrainedNetwork
from methods.interface import Network


@dataclass(frozen=True)
class LearnedTensor:
    """Values beside the networks that a run learns by SGD of their own."""

    values: nn.Parameter
    learning_rate: float
    momentum: float = 0.0
    per_sample: bool = False


class MethodTask:
    """The training part as a method may see it: images behind `infer`, noisy labels, memory that survives a stop."""

    def __init__(
        self,
        store: Images,
        labels: Tensor,
        held_store: Images,
        held_labels: Tensor,
        classes: int,
        epochs: int,
        batch_size: int,
        privileges: Mapping[str, Any],
        networks: Sequence[TrainedNetwork],
        augmentations: Mapping[str, Augmentation],
        seed: int,
        ranks: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.ranks = ranks
        self.samples = len(labels)
        self.classes = classes
        self.labels = labels
        self.epochs = epochs
        self.batch_size = batch_size
        self.steps_per_epoch = len(batch_bounds(len(labels), batch_size, ranks.size))
        self.privileges = privileges
        self.states: dict[str, Tensor] = {}
        self.learned: dict[str, LearnedTensor] = {}
        self.averages: list[AveragedNetwork] = []
        self.inferences = 0
        self.pieces = ChunkSize()
        # before the first epoch, so that what start() infers has draws of its own
        self.where: tuple[int, ...] = (-1, -1)
        self._closed = False
        self.held_labels = held_labels
        self._store = store
        self._held_store = held_store
        self._networks = networks
        self._augmentations = augmentations
        self._seed = seed

    def infer(
        self,
        network: int | Network = 0,
        view: str = "none",
        index: Tensor | None = None,
        output: Callable[..., Tensor] | None = None,
        along: Tensor | None = None,
        units: float = 1.0,
    ) -> Tensor:
        """Whole-set inference in eval mode, in the order of `index` (None: all): logits (n, K) float32.

        `output(module, images)` replaces the plain forward, or `output(module, images, rows)` with those rows of
        `along` (samples, ...) that belong to the images; `units`: its cost for each image, in forward passes.
        """
        device = self.labels.device
        everything = torch.arange(self.samples, device=device) if index is None else index.to(device)
        if view != "none" and view not in self._augmentations:
            raise ValueError(f"there is no view {view!r} to infer with; views are weak, strong and none")
        augmentation = None if view == "none" else self._augmentations[view]
        ranks = self.ranks.for_count(len(everything))
        draws: dict[str, Tensor] = {}
        if augmentation is not None:
            generator = seeds.seeded_generator(self._seed, "inference", view, *self.where, self.inferences)
            drawn = augmentation.draws(len(everything), self._store.size, generator)
            draws = {name: ranks.mine(values).to(device) for name, values in drawn.items()}
        self.inferences += 1
        rows = ranks.mine(everything)

        def images() -> Iterator[Tensor]:
            for start, stop, store, places in self._fetched(self._store, rows):
                part = {name: values[start:stop] for name, values in draws.items()}
                yield store.plain(places) if augmentation is None else augmentation.apply(store, places, part)

        def whole(share: Tensor) -> Tensor:
            return ranks.gather(share, len(everything))

        if output is None:
            return whole(self._in_batches(network, images()))

        def result(chosen: TrainedNetwork, batch: Tensor, start: int) -> Tensor:
            chosen.meter.forward += units * len(batch)
            given = (batch,) if along is None else (batch, along.index_select(0, rows[start : start + len(batch)]))
            return self.pieces.join(partial(output, chosen.module), *given)

        return whole(self._in_batches(network, images(), result))

    def infer_held(self, network: int | Network = 0) -> Tensor:
        """Inference on the held-out images in eval mode: logits (m, K) float32, in the order of `held_labels`."""
        everything = torch.arange(len(self._held_store), device=self.labels.device)
        ranks = self.ranks.for_count(len(everything))
        fetched = self._fetched(self._held_store, ranks.mine(everything))
        mine = self._in_batches(network, (store.plain(places) for _, _, store, places in fetched))
        return ranks.gather(mine, len(everything))

    def _fetched(self, images: Images, rows: Tensor) -> Iterator[tuple[int, int, ImageStore, Tensor]]:
        """The images `rows` (n,) in large batches: where each begins and ends, and its images' store and places."""
        size = inference_batch(self.labels.device, images.size)
        bounds = [(start, min(start + size, len(rows))) for start in range(0, len(rows), size)]
        wanted = rows.to(images.indexed_on)
        stores = images.ahead(wanted[start:stop] for start, stop in bounds)
        for (start, stop), (store, places) in zip(bounds, stores, strict=True):
            yield start, stop, store, places

    def _in_batches(
        self,
        network: int | Network,
        batches: Iterator[Tensor],
        result: Callable[[TrainedNetwork, Tensor, int], Tensor] | None = None,
    ) -> Tensor:
        """Eval-mode logits of all batches of images, joined; the training mode is put back after it.

        `result(network, images, start)` replaces the logits of the batch that begins at `start`.
        """
        chosen = self._networks[network] if isinstance(network, int) else network
        if not isinstance(chosen, TrainedNetwork):
            raise TypeError("inference takes a network's number or what average() returned")
        was_training = chosen.module.training
        chosen.module.eval()
        pieces, start = [], 0
        with torch.inference_mode() if result is None else torch.no_grad():
            for batch in batches:
                pieces.append(result(chosen, batch, start) if result else self.pieces.join(chosen, batch))
                start += len(batch)
        chosen.module.train(was_training)
        # joined outside inference mode, so that a method may use the result in its loss
        return torch.cat(pieces) if pieces else torch.zeros((0, self.classes), device=self.labels.device)

    def state(self, name: str, tensor: Tensor) -> Tensor:
        """Memory that the core checkpoints; returned on the device, to be written in place under no_grad."""
        self._check_open("state")
        if name in self.states:
            raise ValueError(f"the state {name!r} exists already")
        self.states[name] = tensor.to(self.labels.device, copy=True)
        return self.states[name]

    def rows(self, name: str, tensor: Tensor, learning_rate: float) -> nn.Parameter:
        """Learned per-sample parameters, first axis = sample, stepped by plain SGD with the networks."""
        if len(tensor) != self.samples:
            raise ValueError(f"the rows {name!r} have {len(tensor)} entries for {self.samples} samples")
        return self._learn("rows", name, tensor, learning_rate, per_sample=True)

    def parameter(self, name: str, tensor: Tensor, learning_rate: float, momentum: float = 0.0) -> nn.Parameter:
        """A learned tensor of any shape beside the networks (a transition matrix), stepped by SGD with them."""
        return self._learn("parameter", name, tensor, learning_rate, momentum)

    def _learn(
        self,
        kind: str,
        name: str,
        tensor: Tensor,
        learning_rate: float,
        momentum: float = 0.0,
        per_sample: bool = False,
    ) -> nn.Parameter:
        self._check_open(kind)
        if name in self.learned:
            raise ValueError(f"the learned values {name!r} exist already")
        values = nn.Parameter(tensor.to(self.labels.device, copy=True))
        self.learned[name] = LearnedTensor(values, learning_rate, momentum, per_sample)
        return values

    def average(self, network: int, decay: float | Callable[[int], float]) -> AveragedNetwork:
        """An exponential moving average of a network, updated after each step in which that network learns.

        `decay` in [0, 1), or a function of the updates made so far that gives it. Checkpointed; where a phase gives the
        network fresh weights, it begins again with them, and the count of updates with it.
        """
        self._check_open("average")
        self.averages.append(AveragedNetwork(self._networks[network], decay))
        return self.averages[-1]

    def memory_per_sample(self) -> list[Tensor]:
        """States and learned rows whose first axis is the samples."""
        rows = [learned.values.data for learned in self.learned.values() if learned.per_sample]
        return rows + [state for state in self.states.values() if state.dim() and len(state) == self.samples]

    def other_memory(self) -> list[Tensor]:
        """States that belong to no sample."""
        return [state for state in self.states.values() if not state.dim() or len(state) != self.samples]

    def close(self) -> None:
        """No more states, rows or averages: one that is made later couldn't be restored from a checkpoint."""
        self._closed = True

    def _check_open(self, kind: str) -> None:
        if self._closed:
            raise ValueError(f"task.{kind}() belongs in start(), where a resumed run makes it again")
