"""The training loop under small methods that use it in every way that the interface allows."""

from __future__ import annotations

import copy
import gc
import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

import bench.training.noisy_data
import bench.training.run
import bench.training.trainer
from bench.models import build, drawn_from
from bench.models.co_teaching_cnn import ChannelDropout
from bench.records.store import Store
from bench.spec import RunSpec, Runtime
from bench.training.checkpoint import Checkpoint
from bench.training.images.image_store import ImageStore
from bench.training.inference import EvaluationSet, inference_batch, log_probabilities, single_predictions
from bench.training.method_task import TrainingPart
from bench.training.outcome import Diverged, Interrupted
from bench.training.trainer import Trainer, never_stop
from methods.interface import Method, Pass, Phase, Step, Steps, Stream, Task

CPU = torch.device("cpu")
SAMPLES, CLASSES = 44, 3


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Plain(Method):
    """Cross-entropy on everything; notes what it is handed."""

    name, summary, source = "plain", "", ""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.seen: list[dict[str, list[int]]] = []
        self.ended = 0

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(logits, labels, reduction="none")

    def loss(self, step: Step) -> Tensor:
        self.seen.append({name: batch.index.tolist() for name, batch in step.streams.items()})
        return super().loss(step)

    def end_epoch(self, phase: Phase, epoch: int) -> None:
        self.ended += 1


class Members(Plain):
    """Two networks side by side."""

    networks = 2


class Turns(Plain):
    """Two networks, each with a pass of its own, whose loss also runs through the other."""

    networks = 2

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        return (Pass(learn=(0,)), Pass(learn=(1,)))

    def loss(self, step: Step) -> Tensor:
        learner = step.learn[0]
        peer = step.logits(network=1 - learner)
        return super().loss(step) + cross_entropy(peer, step.labels)


class Streams(Plain):
    """Hands over the streams that it was made with."""

    def __init__(self, **streams: Stream) -> None:
        super().__init__()
        self.streams = streams

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        return (Pass(streams=self.streams),)


class Views(Streams):
    """Keeps the last batch of its stream "all": positions and views."""

    def loss(self, step: Step) -> Tensor:
        self.last = (step.index, *step.streams["all"].views)
        return super().loss(step)


class Drawing(Plain):
    """Keeps the draws that it asked for and those that it was handed."""

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        return (Pass(draws=self.draw),)

    def draw(self, steps: Steps, generator: Generator) -> Mapping[str, Tensor]:
        self.asked = (steps.count, steps.batch, list(steps))
        self.drawn = torch.rand(steps.count, steps.batch, generator=generator)
        self.handed: list[Tensor] = []
        return {"noise": self.drawn}

    def loss(self, step: Step) -> Tensor:
        self.handed.append(step.draws["noise"])
        return super().loss(step)


class Rows(Plain):
    """Learned rows, one for each sample, pulled towards 0."""

    def __init__(self, index: Tensor | None = None, scale: float = 1.0) -> None:
        super().__init__()
        self.index, self.scale = index, scale

    def start(self, task: Task) -> None:
        super().start(task)
        self.rows = task.rows("offsets", torch.arange(1.0, SAMPLES + 1), learning_rate=0.25)

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        return (Pass(streams={"all": Stream(index=self.index)}),)

    def loss(self, step: Step) -> Tensor:
        return super().loss(step) + self.scale * (self.rows[step.index] ** 2).sum()


class Averaging(Turns):
    """Averages of both networks; two phases, the second of which gives network 0 its first weights again."""

    def start(self, task: Task) -> None:
        super().start(task)
        self.averages = [task.average(number, 0.75) for number in (0, 1)]

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("first", 1), Phase("second", 1, initialise=(0,)))


class Everything(Averaging):
    """States, rows, averages, draws, phases and whole-set inference together."""

    def start(self, task: Task) -> None:
        super().start(task)
        self.memory = task.state("memory", torch.zeros(task.samples, task.classes))
        self.rows = task.rows("offsets", torch.zeros(task.samples), learning_rate=0.1)
        scales = [torch.ones(CLASSES) for _ in range(2)]
        self.scale = task.parameter("scale", scales[0], 0.01, 0.9, optimizer="adam", scheduled=True)
        self.other_scale = task.parameter("other scale", scales[1], 0.01, 0.9)

    def phases(self) -> tuple[Phase, ...]:
        second = Phase("second", 2, initialise=(1,), trainable=(1,), optimizer={"optimizer": "adam"})
        return (Phase("first", 2), second, Phase("third", 1, optimizer={"learning_rate": 0.01, "momentum": 0.0}))

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        learners = (1,) if phase.trainable else (0, 1)
        order = Stream(views=("weak", "strong"), order="class-balanced")
        return tuple(Pass(streams={"all": order}, learn=(number,), draws=self.draw) for number in learners)

    def draw(self, steps: Steps, generator: Generator) -> Mapping[str, Tensor]:
        return {"weight": torch.rand(steps.count, generator=generator)}

    def loss(self, step: Step) -> Tensor:
        logits = step.logits(view=1, network=step.learn[0]) * self.scale * self.other_scale
        logits = logits + self.rows[step.index].unsqueeze(1) * torch.arange(3.0)
        with torch.no_grad():
            self.memory.index_copy_(0, step.index, 0.5 * self.memory[step.index] + 0.5 * logits.softmax(dim=1))
        return step.draws["weight"] * cross_entropy(logits, self.memory[step.index]) + super().loss(step)

    def end_epoch(self, phase: Phase, epoch: int) -> None:
        with torch.no_grad():
            self.memory += 0.1 * self.task.infer(self.averages[1], view="weak").softmax(dim=1)


class Phases(Plain):
    """The phases that it was made with, for two networks."""

    networks = 2

    def __init__(self, *phases: Phase) -> None:
        super().__init__()
        self.given = phases

    def phases(self) -> tuple[Phase, ...]:
        return self.given


class Interfering(Plain):
    """Looks at the whole set between forward and backward of every step."""

    def loss(self, step: Step) -> Tensor:
        total = super().loss(step)
        everything = self.task.infer(view="weak")
        # what came out of inference may take part in a loss
        assert not everything.is_inference() and not everything.requires_grad
        assert self.task.infer(index=torch.tensor([], dtype=torch.int64)).shape == (0, CLASSES)
        return total + 0 * (everything.mean() * total)


class Explodes(Plain):
    """Its loss, or only its gradient, leaves the numbers at a step counted from 0."""

    def __init__(self, at: int, gradient_only: bool = False) -> None:
        super().__init__()
        self.at, self.gradient_only = at, gradient_only

    def loss(self, step: Step) -> Tensor:
        total = super().loss(step)
        if len(self.seen) - 1 != self.at:
            return total
        if self.gradient_only:
            nothing = (total - total.detach()).abs()
            return total.detach() + nothing.sqrt()
        return total * math.nan


def spec_of(**fields: Any) -> RunSpec:
    values: dict[str, Any] = {
        "method": "fake",
        "data_set": "random",
        "data_sha256": "0",
        "noise": "none",
        "model": "cnn-small",
        "augmentation": "crop1",
        "strong_augmentation": "crop1+cutout",
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 0.05,
        "schedule": "constant",
    }
    return RunSpec(**values | fields)


def part_of(samples: int = SAMPLES, labels: Tensor | None = None, held: int = 5) -> TrainingPart:
    generator = torch.Generator().manual_seed(7)
    images = torch.randint(0, 256, (samples + held, 8, 8, 1), dtype=torch.uint8, generator=generator)
    drawn = torch.randint(CLASSES, (samples + held,), generator=generator)
    return TrainingPart(
        images=ImageStore(images[:samples], [0.5], [0.25], pad=1),
        labels=drawn[:samples] if labels is None else labels,
        classes=CLASSES,
        held_images=ImageStore(images[samples:], [0.5], [0.25]),
        held_labels=drawn[samples:],
    )


def trainer_of(
    method: Method, should_stop: Callable[[], bool] = never_stop, part: TrainingPart | None = None, **fields: Any
):
    return Trainer(method, spec_of(**fields), part or part_of(), CPU, should_stop)


def trained(method: Method, part: TrainingPart | None = None, **fields: Any) -> Trainer:
    trainer = trainer_of(method, part=part, **fields)
    for _ in trainer.epochs():
        pass
    return trainer


def weights(trainer: Trainer, number: int = 0) -> list[Tensor]:
    return [value.clone() for value in trainer.networks[number].module.state_dict().values()]


def same(left: list[Tensor], right: list[Tensor]) -> bool:
    return len(left) == len(right) and all(map(torch.equal, left, right))


def test_only_the_network_that_learns_in_a_pass_moves() -> None:
    """Neither weights nor batch statistics of the other, though the loss runs through it with gradients."""
    snapshots: list[tuple[list[Tensor], list[Tensor], tuple[bool, bool]]] = []

    def note() -> bool:
        modes = (trainer.networks[0].module.training, trainer.networks[1].module.training)
        snapshots.append((weights(trainer, 0), weights(trainer, 1), modes))
        return False

    trainer = trainer_of(Turns(), note, epochs=1)
    list(trainer.epochs())
    steps = trainer.task.steps_per_epoch
    assert len(snapshots) == 2 * steps
    first, second = snapshots[:steps], snapshots[steps:]
    assert all(modes == (True, False) for *_, modes in first) and all(modes == (False, True) for *_, modes in second)
    assert all(same(first[0][1], other) for _, other, _ in first) and same(first[0][1], second[0][1])
    assert all(same(second[0][0], one) for one, _, _ in second) and same(second[0][0], weights(trainer, 0))
    assert not same(first[0][0], second[0][0]) and not same(second[0][1], weights(trainer, 1))


def test_members_of_an_ensemble_train_as_they_would_alone() -> None:
    """The same order and crops, and a gradient clip of each network's own, tight enough to act."""
    alone, together = trained(Plain(), gradient_clip=0.1), trained(Members(), gradient_clip=0.1)
    assert same(weights(alone), weights(together, 0))
    assert not same(weights(together, 0), weights(together, 1))
    assert not same(weights(alone), weights(trained(Plain(), gradient_clip=None)))


def test_frozen_weights_of_a_backbone_stay_frozen() -> None:
    trainer = trainer_of(Turns(), epochs=1)
    network = trainer.networks[0]
    network._trainable = [weight for weight in network.parameters() if weight.dim() > 1]
    frozen = [weight.requires_grad_(False).clone() for weight in network.parameters() if weight.dim() == 1]
    list(trainer.epochs())
    assert all(map(torch.equal, frozen, [weight for weight in network.parameters() if weight.dim() == 1]))
    assert not all(weight.requires_grad for weight in network.parameters())


def test_a_shorter_stream_starts_anew_in_another_order_and_a_longer_one_is_cut() -> None:
    first, short = torch.arange(0, 40), torch.arange(20, 32)
    method = Streams(main=Stream(first), short=Stream(short, batch=5), long=Stream(batch=2))
    trained(method, epochs=1)
    assert [len(step["main"]) for step in method.seen] == [8] * 5
    assert sorted(i for step in method.seen for i in step["main"]) == first.tolist()
    # 12 samples in batches of 5: 5, 5, 2, and again
    assert [len(step["short"]) for step in method.seen] == [5, 5, 2, 5, 5]
    rounds = [i for step in method.seen for i in step["short"]]
    assert sorted(rounds[:12]) == short.tolist() and len(set(rounds[12:])) == 10
    assert rounds[:10] != rounds[12:]
    longer = [i for step in method.seen for i in step["long"]]
    assert len(longer) == len(set(longer)) == 10


def test_the_last_batch_is_ragged_or_takes_in_a_single_image() -> None:
    for samples, sizes in ((44, [8, 8, 8, 8, 8, 4]), (41, [8, 8, 8, 8, 9])):
        method = Drawing()
        trained(method, part=part_of(samples), epochs=1)
        assert [len(step["all"]) for step in method.seen] == sizes
        assert method.asked == (len(sizes), max(sizes), list(range(len(sizes))))


def test_draws_are_handed_over_step_by_step_and_differ_between_epochs_only() -> None:
    method, again = Drawing(), Drawing()
    epochs = trainer_of(method).epochs()
    next(epochs)
    first = method.drawn
    assert torch.equal(torch.stack(method.handed), first)
    next(epochs)
    assert not torch.equal(method.drawn, first)
    next(trainer_of(again, augmentation="none").epochs())
    assert torch.equal(again.drawn, first)


def test_orders_given_and_restricted() -> None:
    backwards = torch.arange(SAMPLES - 1, 3, -2)
    method = Streams(all=Stream(backwards, order="given"))
    trained(method, epochs=2)
    assert [i for step in method.seen for i in step["all"]] == 2 * backwards.tolist()


def test_class_balanced_orders_show_every_class_as_often() -> None:
    labels = torch.tensor([0] * 1200 + [1] * 240 + [2] * 60)
    among = torch.cat([torch.arange(0, 1100), torch.arange(1300, 1500)])
    method = Streams(all=Stream(among, order="class-balanced", batch=650))
    trained(method, part=part_of(1500, labels), epochs=1)
    drawn = torch.tensor([i for step in method.seen for i in step["all"]])
    assert len(drawn) == len(among) and not (set(drawn.tolist()) - set(among.tolist()))
    shares = torch.bincount(labels[drawn]) / len(drawn)
    # three standard errors of a share of 1/3 over 1,300 draws
    assert (shares - 1 / 3).abs().max() < 0.04


def test_views_are_drawn_one_by_one() -> None:
    method = Views(all=Stream(views=("weak", "weak", "strong", "none")))
    trainer = trained(method, epochs=1)
    index, weak, other, strong, plain = method.last
    assert torch.equal(plain, trainer.batch_loader.store.plain(index))
    assert not torch.equal(weak, other) and not torch.equal(weak, plain) and not torch.equal(weak, strong)
    # the first view is what a method with one view sees
    alone = Views(all=Stream())
    trained(alone, epochs=1)
    assert torch.equal(alone.last[1], weak)


def test_rows_of_visited_samples_step_by_plain_sgd() -> None:
    """No momentum, weight decay, schedule or gradient clip: r <- r - lr 2 r in every epoch, others stay."""
    visited = torch.arange(0, SAMPLES, 3)
    method = Rows(visited)
    trained(method, momentum=0.9, weight_decay=0.1, gradient_clip=1e-3, schedule="cosine", epochs=2)
    expected = torch.arange(1.0, SAMPLES + 1)
    expected[visited] *= 0.25
    assert torch.equal(method.rows.detach(), expected)


@pytest.mark.parametrize("uses_rows", [True, False])
def test_a_gradient_scaler_changes_nothing_but_the_range(uses_rows: bool) -> None:
    """A power of two is exact, so weights and rows are the same bit for bit."""
    plain, scaled = Rows(), Rows()
    if not uses_rows:
        plain.loss = scaled.loss = Plain().loss  # type: ignore[method-assign]
    trainers = trainer_of(plain), trainer_of(scaled)
    trainers[1].optimizer_step.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    for trainer in trainers:
        list(trainer.epochs())
    assert trainers[1].optimizer_step.scaler.get_scale() == 2.0**14
    assert same(weights(trainers[0]), weights(trainers[1]))
    assert torch.equal(plain.rows.detach(), scaled.rows.detach())
    assert uses_rows == (float(plain.rows.detach()[0]) != 1.0)


def test_averages_follow_only_their_networks_steps_and_restart_with_them() -> None:
    """By hand: a <- 0.75 a + 0.25 w after each step of its network; at a new start a = w."""
    history: list[list[Tensor]] = []

    def note() -> bool:
        history.append([next(trainer.networks[number].parameters()).detach().clone() for number in (0, 1)])
        return False

    method = Averaging()
    trainer = trainer_of(method, note)
    expected = [next(network.parameters()).detach().clone() for network in trainer.networks]
    first = expected[0].clone()
    epochs = trainer.epochs()
    steps = trainer.task.steps_per_epoch
    for number in (0, 1):
        history.clear()
        next(epochs)
        note()
        if number == 1:
            assert torch.equal(history[0][0], first)
            expected[0] = first.clone()
        for turn in (0, 1):
            for step in range(steps):
                expected[turn].lerp_(history[turn * steps + step + 1][turn], 0.25)
        for turn in (0, 1):
            assert torch.allclose(next(method.averages[turn].parameters()), expected[turn], atol=1e-6)
    assert all(not network.module.training for network in trainer.task.averages)


def test_phases_start_anew_with_first_weights_optimiser_and_schedule() -> None:
    notes: list[tuple[float, int, list[Tensor], list[Tensor]]] = []

    def note() -> bool:
        optimizer = trainer.optimizer_step.optimizer
        assert optimizer is not None
        rates = {group["lr"] for group in optimizer.param_groups}
        notes.append((rates.pop(), len(optimizer.state), weights(trainer, 0), weights(trainer, 1)))
        assert not rates
        return False

    method = Phases(
        Phase("both", 2),
        Phase("second only", 1, initialise=(1,), trainable=(1,), optimizer={"learning_rate": 0.5}),
        Phase("again", 1, optimizer={"schedule": "constant"}),
    )
    trainer = trainer_of(method, note, schedule="cosine")
    done = list(trainer.epochs())
    steps = trainer.task.steps_per_epoch
    assert [(epoch.number, epoch.phase, epoch.last) for epoch in done] == [
        (1, "both", False),
        (2, "both", False),
        (3, "second only", False),
        (4, "again", True),
    ]
    rates, held, zeroth, first = zip(*notes, strict=True)
    assert [rates[steps * epoch] for epoch in range(4)] == pytest.approx([0.05, 0.025, 0.5, 0.05])
    # momentum of nothing at each phase's first step, and kept between the epochs of one
    assert held[0] == held[2 * steps] == held[3 * steps] == 0 < held[steps]
    assert same(first[2 * steps], first[0]) and not same(first[steps], first[0])
    trainables = [name for name, _ in trainer.networks[0].module.named_parameters()]
    after = dict(zip(trainer.networks[0].module.state_dict(), zeroth[3 * steps], strict=True))
    before = dict(zip(trainer.networks[0].module.state_dict(), zeroth[2 * steps], strict=True))
    assert all(torch.equal(before[name], after[name]) for name in trainables)
    assert not same(first[3 * steps], first[2 * steps])


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_linear_schedule_changes_the_momentum_and_keeps_the_optimisers_state(optimizer: str) -> None:
    notes: list[tuple[float, float, int]] = []

    def note() -> bool:
        held = trainer.optimizer_step.optimizer
        assert held is not None
        (group,) = held.param_groups
        notes.append((group["lr"], group["betas"][0] if "betas" in group else group["momentum"], len(held.state)))
        return False

    trainer = trainer_of(Plain(), note, schedule="linear:2@momentum=0.1", optimizer=optimizer, epochs=4)
    list(trainer.epochs())
    steps = trainer.task.steps_per_epoch
    rates, momenta, states = zip(*notes[::steps], strict=True)
    assert rates == pytest.approx([0.05, 0.05, 0.05, 0.025])
    assert momenta == (0.9, 0.9, 0.1, 0.1)
    assert states[0] == 0 < states[1] == states[2] == states[3]


def test_dropout_goes_on_where_a_checkpoint_stopped_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same weights whether a network with dropout is trained at once or put aside after an epoch."""

    def with_dropout(name: str, **options: Any) -> nn.Module:
        model = build(name, **options)
        with drawn_from(options["seed"]):
            model.stage2 = nn.Sequential(model.stage2, ChannelDropout(0.25))
        return model

    monkeypatch.setattr(bench.training.trainer, "build", with_dropout)
    whole = trainer_of(Plain(), epochs=2)
    list(whole.epochs())
    first = trainer_of(Plain(), epochs=2)
    next(first.epochs())
    torch.rand(3)
    second = trainer_of(Plain(), epochs=2)
    second.load_state(copy.deepcopy(first.state()))
    list(second.epochs())
    assert same(weights(whole, 0), weights(second, 0))


def test_a_stop_is_heard_before_the_next_step() -> None:
    method = Plain()
    trainer = trainer_of(method, lambda: len(method.seen) == 9)
    with pytest.raises(Interrupted):
        list(trainer.epochs())
    assert len(method.seen) == 9
    assert trainer.epochs_done == 1


@pytest.mark.parametrize(
    ("at", "gradient_only", "says"),
    [
        (2, False, "training loss is nan"),
        (11, False, "training loss is nan"),
        (7, True, "training loss is nan"),
        (5, True, "weights"),
        (11, True, "weights"),
    ],
)
def test_leaving_the_numbers_ends_the_run_in_its_epoch(at: int, gradient_only: bool, says: str) -> None:
    """Also where an epoch's very last update does it, and before the method's own work meets such numbers."""
    method = Explodes(at, gradient_only)
    with pytest.raises(Diverged, match=says) as caught:
        list(trainer_of(method, gradient_clip=None).epochs())
    assert caught.value.epoch == 1 + at // 6
    assert method.ended == at // 6


class Counted(Plain):
    """One average looked at in every loss, and an inference after every epoch."""

    def start(self, task: Task) -> None:
        super().start(task)
        self.average = task.average(0, 0.9)

    def loss(self, step: Step) -> Tensor:
        return super().loss(step) + 0 * self.average(step.streams["all"].views[0]).sum()

    def end_epoch(self, phase: Phase, epoch: int) -> None:
        self.task.infer()
        self.task.infer_held()
        self.task.infer(index=torch.arange(4), output=lambda module, images: module.forward_features(images))


def test_units_count_every_pass_of_training_and_no_other() -> None:
    for method, forward, backward in (
        (Plain(), SAMPLES, SAMPLES),
        (Members(), 2 * SAMPLES, 2 * SAMPLES),
        (Turns(), 4 * SAMPLES, 2 * SAMPLES),
        (Counted(), 3 * SAMPLES + 5 + 4, SAMPLES),
    ):
        trainer = trained(method, epochs=2)
        assert (trainer.pass_counter.forward, trainer.pass_counter.backward) == (2 * forward, 2 * backward), (
            method.__class__
        )
        images = EvaluationSet(trainer.batch_loader.store)
        log_probabilities(method, trainer.networks, images)
        single_predictions(trainer.networks, images)
        assert trainer.pass_counter.units == 2 * (forward + 2 * backward)


def test_looking_at_everything_between_steps_leaves_training_as_it_was() -> None:
    assert same(weights(trained(Plain())), weights(trained(Interfering())))


def test_inference_is_the_networks_eval_mode_output_in_the_order_asked_for() -> None:
    method = Plain()
    trainer = trained(method, epochs=1)
    module = trainer.networks[0].module
    index = torch.tensor([9, 2, 2, 30])
    module.eval()
    with torch.no_grad():
        expected = module(trainer.batch_loader.store.plain(index))
        held = module(part_of().held_images.plain(torch.arange(5)))
    module.train()
    assert torch.allclose(method.task.infer(index=index), expected, atol=1e-5)
    assert torch.allclose(method.task.infer()[index], expected, atol=1e-5)
    assert torch.allclose(method.task.infer_held(), held, atol=1e-5)
    assert module.training

    def gradient_of_the_first_logit(inner: torch.nn.Module, images: Tensor) -> Tensor:
        with torch.enable_grad():
            images = images.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(inner(images)[:, 0].sum(), images)
        return gradient

    gradients = method.task.infer(index=index, output=gradient_of_the_first_logit)
    assert gradients.shape == (4, 1, 8, 8) and gradients.abs().sum() > 0
    first, second = method.task.infer(view="weak"), method.task.infer(view="weak")
    assert not torch.equal(first, second)


def test_a_run_continued_from_any_epoch_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    """With phases, optimisers, averages, rows, states, draws and inferences of its own."""
    whole = trainer_of(Everything())
    losses, epochs = [], whole.total_epochs
    for done in whole.epochs():
        losses.append(done.train_loss)
        Checkpoint(tmp_path / str(done.number)).save({"trainer": whole})
    assert len(losses) == epochs == 5
    for number in range(1, epochs + 1):
        continued = trainer_of(Everything())
        assert Checkpoint(tmp_path / str(number)).load({"trainer": continued})
        assert continued.epochs_done == number
        assert [done.train_loss for done in continued.epochs()] == losses[number:]
        for theirs, mine in zip(
            (*whole.networks, *whole.task.averages), (*continued.networks, *continued.task.averages), strict=True
        ):
            assert same(list(theirs.module.state_dict().values()), list(mine.module.state_dict().values()))
        assert torch.equal(whole.task.states["memory"], continued.task.states["memory"])
        assert all(
            torch.equal(learned.values, continued.task.learned[name].values)
            for name, learned in whole.task.learned.items()
        )
        assert continued.pass_counter == whole.pass_counter


class Learned(Plain):
    """A learned tensor whose gradient is 1 everywhere."""

    def __init__(self, **how: Any) -> None:
        super().__init__()
        self.how = how

    def start(self, task: Task) -> None:
        super().start(task)
        self.values = task.parameter("values", torch.zeros(2), 0.1, **self.how)

    def loss(self, step: Step) -> Tensor:
        return super().loss(step) + self.values.sum()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_learned_tensors_rate_follows_the_networks_schedule_where_it_asks_to(optimizer: str) -> None:
    """With a gradient of 1 a step of either optimiser is as long as its rate."""
    steps = trainer_of(Plain()).task.steps_per_epoch
    for scheduled, full_rates in ((True, 1 + 0.1 + 0.01), (False, 3)):
        method = Learned(optimizer=optimizer, scheduled=scheduled)
        trained(method, epochs=3, schedule="step:1,2@0.1", learning_rate=1e-3)
        expected = torch.full((2,), -0.1 * steps * full_rates)
        assert torch.allclose(method.values, expected, rtol=1e-3)


def test_a_checkpoint_holds_the_state_of_learned_tensors_where_older_ones_have_it() -> None:
    """A store of an older version continues, and the other way round."""
    trainer = trainer_of(Learned(momentum=0.9), epochs=2)
    next(trainer.epochs())
    state = trainer.state()
    assert state["learned_optimizer"]["param_groups"][0]["lr"] == 0.1 and state["learned_adam"] is None
    del state["learned_adam"]
    continued = trainer_of(Learned(momentum=0.9), epochs=2)
    continued.load_state(state)
    assert continued.epochs_done == 1 and len(list(continued.epochs())) == 1


def test_a_runs_memory_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker carries out many runs, and must not collect their networks and images until a cycle is found."""
    kept: list[weakref.ref[Any]] = []
    make = bench.training.noisy_data.build_trainer

    def watched(*given: Any) -> Trainer:
        trainer = make(*given)
        kept.extend(map(weakref.ref, (trainer, trainer.networks[0].module, trainer.batch_loader.store)))
        return trainer

    monkeypatch.setattr(bench.training.run, "build_trainer", watched)
    spec = spec_of(method="ce-ema", parameters={"decay": 0.99}, data_set="synthetic[classes=4,size=8,train=40,test=8]")
    runtime = Runtime(data_source=spec.data_set, noise_source="none", cache=str(tmp_path / "cache"), threads=1)
    gc.collect()
    gc.disable()
    try:
        bench.training.run.run_spec(spec, runtime, Store(tmp_path / "runs"), lambda done, total: None)
        assert len(kept) == 3 and all(reference() is None for reference in kept)
    finally:
        gc.enable()


class Late(Plain):
    """Asks for memory when it is too late to restore it."""

    def end_epoch(self, phase: Phase, epoch: int) -> None:
        self.task.state("late", torch.zeros(1))


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (Streams(), "one stream"),
        (Streams(all=Stream(torch.tensor([], dtype=torch.int64))), "'all' has no samples"),
        (Streams(all=Stream(), more=Stream(torch.tensor([], dtype=torch.int64))), "'more' has no samples"),
        (Streams(all=Stream(views=("weak", "tiny"))), "view 'tiny'"),
        (Phases(Phase("one", 1, optimizer={"lr": 0.1})), "sets lr; a phase may set: optimizer, learning_rate"),
        (Late(), r"state\(\) belongs in start"),
    ],
)
def test_what_a_method_may_not_ask_for_is_named(method: Method, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        list(trainer_of(method).epochs())


def test_memory_is_asked_for_once_and_for_every_sample() -> None:
    method = Rows()
    trainer = trainer_of(method)
    trainer.task._closed = False
    with pytest.raises(ValueError, match="exist already"):
        trainer.task.rows("offsets", torch.zeros(SAMPLES), 0.1)
    with pytest.raises(ValueError, match="3 entries for 44 samples"):
        trainer.task.rows("others", torch.zeros(3), 0.1)
    trainer.task.state("one", torch.zeros(1))
    with pytest.raises(ValueError, match="exists already"):
        trainer.task.state("one", torch.zeros(1))
    with pytest.raises(ValueError, match="view 'tiny'"):
        trainer.task.infer(view="tiny")


def test_a_pass_is_prepared_before_its_steps() -> None:
    """So that what waits for a device does so between passes and not between steps."""
    method = Drawing()
    trainer = trainer_of(method)
    work = method.passes(trainer.phases[0], 0)[0]
    steps = trainer.batch_loader.steps(work, trainer.networks, "train", (0, 0, 0))
    assert method.asked[0] == trainer.task.steps_per_epoch
    assert len(list(steps)) == trainer.task.steps_per_epoch


def test_large_images_are_inferred_in_smaller_batches() -> None:
    assert inference_batch(CPU, (32, 32)) == inference_batch(CPU, (64, 64)) == 512
    assert inference_batch(CPU, (128, 128)) == 128
    assert inference_batch(torch.device("cuda"), (224, 224)) == 334
    assert inference_batch(CPU, (5000, 5000)) == 1


def test_without_a_hold_out_there_is_nothing_to_infer() -> None:
    part = part_of()
    nothing = ImageStore(torch.zeros(0, 8, 8, 1, dtype=torch.uint8), [0.5], [0.25])
    method = Plain()
    trainer_of(method, part=replace(part, held_images=nothing, held_labels=part.held_labels[:0]))
    assert method.task.infer_held().shape == (0, CLASSES)
