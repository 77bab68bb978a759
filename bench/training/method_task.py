"""The training part as a method may use it: the object that `Method.start` is handed (`methods.interface.Task`).

Read `MethodTask.infer` first: it is how methods look at the whole training part. The other methods register what the
core has to checkpoint, update or merge for the method: states, learned tensors and averages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.spec import RunSpec
from bench.spec.schedules import restart_period
from bench.training import seeds
from bench.training.augmentation import Augmentation
from bench.training.batch_loader import batch_bounds
from bench.training.distributed import SINGLE_PROCESS, ProcessGroup
from bench.training.images.image_store import Images, ImageStore
from bench.training.inference import ChunkSize, inference_batch
from bench.training.networks import AveragedNetwork, TrainedNetwork
from methods.interface import Network


@dataclass(frozen=True)
class TrainingPart:
    """The data that training may see: images, noisy labels int64 (n,), those of the hold-out, declared privileges."""

    images: Images
    labels: Tensor
    classes: int
    held_images: Images
    held_labels: Tensor
    privileges: Mapping[str, Any] = field(default_factory=dict)


LearnedBy = Literal["sgd", "adam"]
"""The optimisers of learned tensors."""


@dataclass(frozen=True)
class LearnedTensor:
    """A tensor beside the networks that a run learns, stepped by an optimiser with settings of its own.

    `scheduled`: its learning rate follows the networks' schedule.
    """

    values: nn.Parameter
    learning_rate: float
    momentum: float = 0.0
    per_sample: bool = False
    optimizer: LearnedBy = "sgd"
    scheduled: bool = False


class MethodTask:
    """The training part as a method may see it: images behind `infer`, noisy labels, memory that survives a stop.

    `epoch_key` (numbers of phase and epoch) and `inferences`, the count within the epoch, key the draws of `infer`.
    """

    def __init__(
        self,
        part: TrainingPart,
        spec: RunSpec,
        networks: Sequence[TrainedNetwork],
        augmentations: Mapping[str, Augmentation],
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.group = group
        self.samples, self.classes = len(part.labels), part.classes
        self.labels, self.held_labels, self.privileges = part.labels, part.held_labels, part.privileges
        self.epochs, self.batch_size = spec.epochs, spec.batch_size
        self.restart_period = restart_period(spec.schedule)
        self.steps_per_epoch = len(batch_bounds(self.samples, spec.batch_size, group.world_size))
        self.states: dict[str, Tensor] = {}
        self.learned: dict[str, LearnedTensor] = {}
        self.averages: list[AveragedNetwork] = []
        self.chunk_size = ChunkSize()
        # before the first epoch, so that inferences in start() have draws of their own
        self.epoch_key: tuple[int, ...] = (-1, -1)
        self.inferences = 0
        self._closed = False
        self._images, self._held_images = part.images, part.held_images
        self._networks, self._augmentations, self._seed = networks, augmentations, spec.seed

    def infer(
        self,
        network: int | Network = 0,
        view: str = "none",
        index: Tensor | None = None,
        output: Callable[..., Tensor] | None = None,
        along: Tensor | None = None,
        units: float = 1.0,
    ) -> Tensor:
        """Inference in eval mode on the samples `index` (None: all), in that order: logits (n, K) float32.

        `output(module, images)` replaces the plain forward pass, or `output(module, images, rows)` with the rows of
        `along` (samples, ...) that belong to the images; `units`: its cost for each image, in forward passes.
        """
        device = self.labels.device
        samples = torch.arange(self.samples, device=device) if index is None else index.to(device)
        if view != "none" and view not in self._augmentations:
            raise ValueError(f"there is no view {view!r} to infer with; views are weak, strong and none")
        augmentation = None if view == "none" else self._augmentations[view]
        group = self.group.for_count(len(samples))
        draws: dict[str, Tensor] = {}
        if augmentation is not None:
            generator = seeds.seeded_generator(self._seed, "inference", view, *self.epoch_key, self.inferences)
            drawn = augmentation.draws(len(samples), self._images.size, generator)
            draws = {name: group.shard(values).to(device) for name, values in drawn.items()}
        self.inferences += 1
        rows = group.shard(samples)

        def batches() -> Iterator[Tensor]:
            for start, stop, store, places in self._load(self._images, rows):
                batch_draws = {name: values[start:stop] for name, values in draws.items()}
                yield store.plain(places) if augmentation is None else augmentation.apply(store, places, batch_draws)

        def run_output(chosen: TrainedNetwork, batch: Tensor, start: int) -> Tensor:
            assert output is not None
            chosen.pass_counter.forward += units * len(batch)
            inputs = (batch,) if along is None else (batch, along.index_select(0, rows[start : start + len(batch)]))
            return self.chunk_size.apply(partial(output, chosen.module), *inputs)

        shard = self._infer_batches(network, batches(), None if output is None else run_output)
        return group.all_gather(shard, len(samples))

    def infer_held(self, network: int | Network = 0) -> Tensor:
        """Inference on the held-out images in eval mode: logits (m, K) float32, in the order of `held_labels`."""
        samples = torch.arange(len(self._held_images), device=self.labels.device)
        group = self.group.for_count(len(samples))
        loaded = self._load(self._held_images, group.shard(samples))
        shard = self._infer_batches(network, (store.plain(places) for _, _, store, places in loaded))
        return group.all_gather(shard, len(samples))

    def _load(self, images: Images, rows: Tensor) -> Iterator[tuple[int, int, ImageStore, Tensor]]:
        """The images `rows` (n,) in large batches: for each its start and stop in `rows`, its store, and its places."""
        size = inference_batch(self.labels.device, images.size)
        bounds = [(start, min(start + size, len(rows))) for start in range(0, len(rows), size)]
        index = rows.to(images.index_device)
        stores = images.prefetch(index[start:stop] for start, stop in bounds)
        for (start, stop), (store, places) in zip(bounds, stores, strict=True):
            yield start, stop, store, places

    def _infer_batches(
        self,
        network: int | Network,
        batches: Iterator[Tensor],
        run_output: Callable[[TrainedNetwork, Tensor, int], Tensor] | None = None,
    ) -> Tensor:
        """Eval-mode logits of all batches of images, joined; the network's mode is restored afterwards.

        `run_output(network, images, start)` replaces the logits of the batch that begins at `start`.
        """
        chosen = self._networks[network] if isinstance(network, int) else network
        if not isinstance(chosen, TrainedNetwork):
            raise TypeError("inference takes a network's number or what average() returned")
        was_training = chosen.module.training
        chosen.module.eval()
        results, start = [], 0
        with torch.inference_mode() if run_output is None else torch.no_grad():
            for batch in batches:
                results.append(run_output(chosen, batch, start) if run_output else self.chunk_size.apply(chosen, batch))
                start += len(batch)
        chosen.module.train(was_training)
        # joined outside inference mode, so that a method may use the result in its loss
        return torch.cat(results) if results else torch.zeros((0, self.classes), device=self.labels.device)

    def state(self, name: str, tensor: Tensor) -> Tensor:
        """Register memory that the core checkpoints; returned on the device, to be written in place under no_grad."""
        self._check_open("state")
        if name in self.states:
            raise ValueError(f"the state {name!r} exists already")
        self.states[name] = tensor.to(self.labels.device, copy=True)
        return self.states[name]

    def rows(self, name: str, tensor: Tensor, learning_rate: float) -> nn.Parameter:
        """Register learned per-sample parameters (samples, ...), stepped by plain SGD with the networks."""
        if len(tensor) != self.samples:
            raise ValueError(f"the rows {name!r} have {len(tensor)} entries for {self.samples} samples")
        return self._learn("rows", name, LearnedTensor(self._parameter(tensor), learning_rate, per_sample=True))

    def parameter(
        self,
        name: str,
        tensor: Tensor,
        learning_rate: float,
        momentum: float = 0.0,
        optimizer: LearnedBy = "sgd",
        scheduled: bool = False,
    ) -> nn.Parameter:
        """Register a learned tensor of any shape (a transition matrix, say), stepped with the networks.

        `momentum` is Adam's first beta, too; `scheduled`: its learning rate follows the networks' schedule.
        """
        values = self._parameter(tensor)
        learned = LearnedTensor(values, learning_rate, momentum, optimizer=optimizer, scheduled=scheduled)
        return self._learn("parameter", name, learned)

    def _parameter(self, tensor: Tensor) -> nn.Parameter:
        return nn.Parameter(tensor.to(self.labels.device, copy=True))

    def _learn(self, kind: str, name: str, learned: LearnedTensor) -> nn.Parameter:
        self._check_open(kind)
        if name in self.learned:
            raise ValueError(f"the learned values {name!r} exist already")
        self.learned[name] = learned
        return learned.values

    def average(self, network: int, decay: float | Callable[[int], float]) -> AveragedNetwork:
        """Make an exponential moving average of a network, updated after each step in which that network learns.

        `decay` in [0, 1), or a function of the number of updates so far that gives it. Checkpointed; where a phase
        initialises the network anew, the average restarts at the new weights, and the number of updates at 0.
        """
        self._check_open("average")
        self.averages.append(AveragedNetwork(self._networks[network], decay))
        return self.averages[-1]

    def memory_per_sample(self) -> list[Tensor]:
        """States and learned rows whose first axis is the samples."""
        rows = [learned.values.data for learned in self.learned.values() if learned.per_sample]
        return rows + [state for state in self.states.values() if state.dim() and len(state) == self.samples]

    def other_memory(self) -> list[Tensor]:
        """States whose first axis isn't the samples."""
        return [state for state in self.states.values() if not state.dim() or len(state) != self.samples]

    def close(self) -> None:
        """End registration: a state, tensor or average that is made later couldn't be restored from a checkpoint."""
        self._closed = True

    def _check_open(self, kind: str) -> None:
        if self._closed:
            raise ValueError(f"task.{kind}() belongs in start(), where a resumed run makes it again")
