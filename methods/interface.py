"""What a method is, and what it is handed. Imports torch and nothing of ours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from torch import Generator, Tensor, log_softmax, logsumexp, nn, stack

Value = float | int | str | bool
Order = Literal["shuffled", "given", "class-balanced"]


@dataclass(frozen=True)
class Search:
    """Where a tuner looks: "uniform" or "log-uniform" in [low, high], "integer" in [low, high], or "choice"."""

    kind: Literal["uniform", "log-uniform", "integer", "choice"]
    low: float | None = None
    high: float | None = None
    choices: tuple[Value, ...] = ()

    def __str__(self) -> str:
        if self.kind == "choice":
            return f"one of {', '.join(map(str, self.choices))}"
        return f"{self.kind} [{self.low:g}, {self.high:g}]"

    def declaration(self) -> dict[str, Any]:
        """The same as JSON-able values."""
        return {"kind": self.kind, "low": self.low, "high": self.high, "choices": list(self.choices)}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method: default, bounds, search distribution and source beside one another.

    `low` and `high` are allowed themselves unless `open_low` or `open_high` is set. The type of `default` is the
    parameter's type.

    `added_later`: it came after records of the method's present version. A run is written without it while it has its
    default, so that the ids of older runs stay; the default is then its value for ever, and no tuner varies it.
    """

    name: str
    default: Value
    meaning: str
    source: str
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False
    choices: tuple[Value, ...] = ()
    search: Search | None = None
    added_later: bool = False

    def __post_init__(self) -> None:
        if self.added_later and self.search is not None:
            raise ValueError(f"{self.name} was added later, so runs are written without it: it can't be searched")

    def bounds(self) -> str:
        """The allowed values in words, such as "in (0, 1]"."""
        if isinstance(self.default, bool):
            return "true or false"
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        if self.low is None and self.high is None:
            return "any finite number" if isinstance(self.default, float | int) else "any text"
        left = "(" if self.open_low or self.low is None else "["
        right = ")" if self.open_high or self.high is None else "]"
        low = "-inf" if self.low is None else f"{self.low:g}"
        high = "inf" if self.high is None else f"{self.high:g}"
        return f"in {left}{low}, {high}{right}"

    def check(self, value: Any) -> Value:
        """Return `value` in the parameter's type; raise ValueError with the rule that it breaks."""
        kind = type(self.default)
        try:
            if kind is bool:
                typed: Value = {"true": True, "false": False}[str(value).lower()]
            elif kind is int:
                if float(value) != int(float(value)):
                    raise ValueError
                typed = int(float(value))
            elif kind is float:
                typed = float(value)
            else:
                typed = str(value)
        except (KeyError, ValueError, OverflowError, TypeError):
            noun = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "text")
            raise ValueError(f"{self.name}={value} is not {noun}") from None
        allowed = not self.choices or typed in self.choices
        if isinstance(typed, float | int) and not isinstance(typed, bool):
            allowed &= math.isfinite(typed)
            if self.low is not None:
                allowed &= typed > self.low if self.open_low else typed >= self.low
            if self.high is not None:
                allowed &= typed < self.high if self.open_high else typed <= self.high
        if not allowed:
            raise ValueError(f"{self.name}={value} must be {self.bounds()}")
        return typed


@dataclass(frozen=True)
class Recipe:
    """A published setting: `values` of the parameters, and the training settings of `--protocol paper`.

    `data_set` (and `model`, None: any) say what it is for. `noise` and `rate` are None in a plain recipe; a recipe
    keyed by either is informed, and the harness marks the run with the privilege. `chosen` says how the source
    chose it ("clean validation", "unknown", ...). `training` may hold: model, epochs, batch_size, optimizer,
    learning_rate, weight_decay, momentum, nesterov, schedule, gradient_clip, augmentation, strong_augmentation.
    `source_names` are the short names by which `--protocol paper:NAME` asks for it, one for each source that has it.
    `deviation` says where this training can't follow the source to the letter, in sentences between semicolons.
    """

    data_set: str
    values: Mapping[str, Value]
    source: str
    chosen: str = "unknown"
    noise: str | None = None
    rate: float | None = None
    model: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    source_names: tuple[str, ...] = ()
    deviation: str = ""


@dataclass(frozen=True)
class Setting:
    """What a method may ask before it says that it can't run here.

    `given` are the privileges that the noise can hand over: "noise_rate", "transition_matrix", "clean_labels".
    `is_vector`: samples are vectors and no images; `image_shape` is then (1, 1, D).
    """

    data_set: str
    noise: str
    rate: float | None
    classes: int
    samples: int
    image_shape: tuple[int, int, int]
    epochs: int
    batch_size: int
    augmentation: str
    given: frozenset[str]
    is_vector: bool = False


@dataclass(frozen=True)
class Phase:
    """`epochs` of training under one optimiser and schedule, which start anew with it.

    `initialise`: networks that get fresh weights at its start (their first initialisation again). `trainable`:
    networks that the optimiser holds; None: all.
    """

    name: str
    epochs: int
    initialise: tuple[int, ...] = ()
    trainable: tuple[int, ...] | None = None
    optimizer: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stream:
    """A way through the training set. `index` int64 (n,) restricts it to these samples; None: all of them.

    `views` are drawn independently: "weak", "strong" or "none". `batch` is None for the run's batch size.

    `beside`: the name of another stream of the pass, whose batches this one accompanies: beside its sample i it brings
    the sample index[i] (a neighbour), in views of its own; `index` is then int64 (samples,), and batch and order are
    the other stream's.
    """

    index: Tensor | None = None
    batch: int | None = None
    views: tuple[str, ...] = ("weak",)
    order: Order = "shuffled"
    beside: str | None = None


@dataclass(frozen=True)
class Steps:
    """The steps of one pass: how many, and the largest batch, for drawing random numbers ahead of them."""

    count: int
    batch: int

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))


Draws = Callable[[Steps, Generator], Mapping[str, Tensor]]


def no_draws(steps: Steps, generator: Generator) -> Mapping[str, Tensor]:
    """No random numbers beyond order and augmentation."""
    return {}


@dataclass(frozen=True)
class Pass:
    """One pass of an epoch. The first stream sets the number of steps; shorter ones start anew.

    `learn`: the networks that train in it; the others are in eval mode. `draws(steps, generator)` gives tensors
    whose first axis is the step: every random number and schedule value of the pass, drawn on the CPU before it.
    """

    streams: Mapping[str, Stream] = field(default_factory=lambda: {"all": Stream()})
    learn: tuple[int, ...] = (0,)
    draws: Draws = no_draws


class Network(Protocol):
    """A network as a method sees it: images (B, C, H, W) normalised -> logits (B, K), float32 under any precision."""

    def __call__(self, images: Tensor) -> Tensor: ...

    def with_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K) and the features that the classifier was given, (B, D), both float32, of one pass."""

    def through(self, output: Callable[[nn.Module, Tensor], Tensor], images: Tensor, units: float = 3.0) -> Tensor:
        """`output(module, images)` in eval mode, so that no batch statistic moves; gradients flow. float32.

        It may call inner layers. `units`: what it costs for each image, in forward passes, its backward pass included.
        """

    def parameters(self) -> Iterator[nn.Parameter]: ...


class BatchView(Protocol):
    """One stream's batch: `index` (B,) positions in the training part, `labels` (B,), `views` of (B, C, H, W)."""

    @property
    def index(self) -> Tensor: ...

    @property
    def labels(self) -> Tensor: ...

    @property
    def views(self) -> Sequence[Tensor]: ...


class Step(Protocol):
    """What `loss` is handed: phase and epoch, who learns, this step's draws, the streams' batches, and the networks."""

    @property
    def phase(self) -> str:
        """The phase's name."""

    @property
    def epoch(self) -> int:
        """Epochs of this phase that are finished."""

    @property
    def learn(self) -> tuple[int, ...]: ...

    @property
    def draws(self) -> Mapping[str, Tensor]: ...

    @property
    def streams(self) -> Mapping[str, BatchView]: ...

    @property
    def labels(self) -> Tensor:
        """Noisy labels of the first stream's batch."""

    @property
    def index(self) -> Tensor:
        """Positions of the first stream's batch in the training part."""

    def logits(self, stream: str | None = None, view: int = 0, network: int = 0) -> Tensor:
        """Logits (B, K) float32 of one view of one stream (None: the first)."""

    def network(self, number: int) -> Network:
        """A network by its number."""


class Task(Protocol):
    """What `start` is handed, and a method keeps as `self.task`. It holds no clean label unless that was declared.

    `samples` is the size of the training part, `labels` (samples,) its noisy labels on the device, `epochs` the
    run's length, `steps_per_epoch` the steps of a pass over everything, `restart_period` the epochs after which the
    learning rate starts anew (None: it never does), `held_labels` (m,) the noisy labels of the hold-out, which a method
    that declares `uses_held_labels` may choose an epoch by (none under --hold-out 0), `privileges` what the method
    declared to need ("noise_rate": float, "transition_matrix": (K, K) float32, "clean_labels": (samples,)).
    """

    samples: int
    classes: int
    labels: Tensor
    epochs: int
    batch_size: int
    steps_per_epoch: int
    restart_period: int | None
    held_labels: Tensor
    privileges: Mapping[str, Any]

    def infer_held(self, network: int | Network = 0) -> Tensor:
        """Inference on the held-out images in eval mode: logits (m, K) float32, in the order of `held_labels`."""

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

        `output(module, images)` replaces the plain forward: it may call inner layers and enable gradients. With
        `along` (samples, ...), such as labels, it is called as `output(module, images, rows)`, rows those of the
        images. `units`: what it costs for each image, in forward passes.
        """

    def state(self, name: str, tensor: Tensor) -> Tensor:
        """Memory that the core checkpoints; returned on the device, to be written in place under no_grad."""

    def rows(self, name: str, tensor: Tensor, learning_rate: float) -> nn.Parameter:
        """Learned per-sample parameters, first axis = sample, stepped by plain SGD with the networks."""

    def parameter(
        self,
        name: str,
        tensor: Tensor,
        learning_rate: float,
        momentum: float = 0.0,
        optimizer: Literal["sgd", "adam"] = "sgd",
        scheduled: bool = False,
    ) -> nn.Parameter:
        """A learned tensor of any shape beside the networks (a transition matrix), stepped with them.

        `momentum` is Adam's first beta, too. `scheduled`: its rate follows the networks' schedule (their milestones,
        their cosine); otherwise it stays what it is.
        """

    def average(self, network: int, decay: float | Callable[[int], float]) -> Network:
        """An exponential moving average of a network, updated after each step in which that network learns.

        `decay` in [0, 1), or a function of the updates made so far that gives it. Checkpointed; where a phase gives the
        network fresh weights, it begins again with them, and the count of updates with it.
        """


class Method:
    """Base of every method. A loss-only method gives declarations and `losses`; everything else has a default.

    Parameters arrive by name and become attributes. Declarations:
    `needs`: privileges ("noise_rate", "transition_matrix", "clean_labels"; the last for controls only).
    `assumes`: such as "balanced_classes". `networks`: how many. `weight_decay`: a number where the method's own
    penalty replaces weight decay under every protocol; `own_penalty`: the parameter that is its weight, which the
    shared protocol's grid then varies in place of weight decay. `static_shapes`: False where a step's shapes depend
    on data.
    `units`: what training is expected to cost, in forward passes for each training image and epoch, a backward pass
    counting as two (None: 3 for each network), and `units_per` what each 1 of a parameter adds to it; sweeps are
    planned by them, and records hold what it was.
    `uses_held_labels`: training depends on the hold-out's noisy labels, as where a phase continues with an epoch that
    they chose. Every method may do so; but a choice between settings by these labels isn't unseen for this method.
    `compared_source`: the name of the source of recipes that `--protocol paper` takes first, the one whose tables the
    field compares with; None: the order of `recipes`.
    `version`: raise it whenever a change makes the method compute something else.

    `start` may put into `effective` what it made of lengths that scale with the training; the record holds them.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    version: ClassVar[int] = 1
    aliases: ClassVar[tuple[str, ...]] = ()
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    recipes: ClassVar[tuple[Recipe, ...]] = ()
    compared_source: ClassVar[str | None] = None
    needs: ClassVar[tuple[str, ...]] = ()
    assumes: ClassVar[tuple[str, ...]] = ()
    control: ClassVar[bool] = False
    networks: int = 1
    weight_decay: ClassVar[float | None] = None
    own_penalty: ClassVar[str | None] = None
    uses_held_labels: ClassVar[bool] = False
    static_shapes: ClassVar[bool] = True
    units: ClassVar[float | None] = None
    units_per: ClassVar[Mapping[str, float]] = {}
    effective: Mapping[str, float]
    task: Task

    def __init__(self, **values: Any) -> None:
        known = {parameter.name: parameter for parameter in self.parameters}
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(f"{self.name} has no parameter {', '.join(unknown)}; it has: {', '.join(known) or 'none'}")
        for name, parameter in known.items():
            setattr(self, name, parameter.check(values.get(name, parameter.default)))
        self.effective = {}

    def unsuitable(self, setting: Setting) -> str | None:
        """Why this method can't run in `setting`, or None."""
        return None

    def start(self, task: Task) -> None:
        """Called once, before the first phase (and again on resume): keep the task, make states."""
        self.task = task

    def phases(self) -> tuple[Phase, ...]:
        """The phases of training, in order."""
        return (Phase("train", self.task.epochs),)

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        """The passes of one epoch; `epoch` counts from 0 within the phase."""
        return (Pass(learn=tuple(range(self.networks))),)

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Per-sample losses (B,) of logits (B, K) and noisy labels (B,)."""
        raise TypeError(f"{self.name} defines neither losses() nor loss()")

    def loss(self, step: Step) -> Tensor:
        """The scalar to descend, summed over the learning networks; by default the batch mean of `losses`."""
        total = [self.losses(step.logits(network=number), step.labels).mean() for number in step.learn]
        return total[0] if len(total) == 1 else stack(total).sum()

    def end_epoch(self, phase: Phase, epoch: int) -> None:
        """Refit what is refitted per epoch; called before the epoch is measured."""

    def predict(self, networks: Sequence[Network], images: Tensor) -> Tensor:
        """Log-probabilities (B, K) of the method's own prediction: the log of the mean softmax of its networks."""
        members = stack([log_softmax(network(images), dim=1) for network in networks])
        return logsumexp(members, dim=0) - math.log(len(members))

    def clean_probability(self) -> Tensor | None:
        """Probability (samples,) that each given label is right, or None."""
        return None

    def selected(self) -> Tensor | None:
        """Which samples (samples,) bool the method keeps as rightly labelled, or None."""
        return None

    def soft_targets(self) -> Tensor | None:
        """Corrected targets (samples, K), or None."""
        return None

    @classmethod
    def declaration(cls) -> dict[str, Any]:
        """Everything declared, as JSON-able values, for the catalogue."""
        return {
            "name": cls.name,
            "aliases": list(cls.aliases),
            "summary": cls.summary,
            "source": cls.source,
            "version": cls.version,
            "docstring": cls.__doc__ or "",
            "needs": list(cls.needs),
            "assumes": list(cls.assumes),
            "control": cls.control,
            "networks": cls.networks if isinstance(cls.networks, int) else "depends on a parameter",
            "weight_decay": cls.weight_decay,
            "own_penalty": cls.own_penalty,
            "uses_held_labels": cls.uses_held_labels,
            "static_shapes": cls.static_shapes,
            "units": cls.units,
            "units_per": dict(cls.units_per),
            "compared_source": cls.compared_source,
            "may_be_unsuitable": cls.unsuitable is not Method.unsuitable,
            "parameters": [
                {
                    "name": p.name,
                    "default": p.default,
                    "low": p.low,
                    "high": p.high,
                    "open_low": p.open_low,
                    "open_high": p.open_high,
                    "choices": list(p.choices),
                    "bounds": p.bounds(),
                    "added_later": p.added_later,
                    "search": None if p.search is None else str(p.search),
                    "search_space": None if p.search is None else p.search.declaration(),
                    "meaning": p.meaning,
                    "source": p.source,
                }
                for p in cls.parameters
            ],
            "recipes": [
                {
                    "data_set": r.data_set,
                    "model": r.model,
                    "noise": r.noise,
                    "rate": r.rate,
                    "values": dict(r.values),
                    "training": dict(r.training),
                    "source": r.source,
                    "source_names": list(r.source_names or (cls.name,)),
                    "chosen": r.chosen,
                    "deviation": r.deviation,
                }
                for r in cls.recipes
            ],
        }
