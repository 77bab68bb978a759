"""Who judges labels by their losses: a network as it is after its last step, or an average of its weights.

The last iterate's losses carry the noise of its last batches, which an average lacks; docs/claims/flsc-plan.md puts to
the test whether it ranks wrong labels better. It changes the judging alone: targets, guesses and predictions stay the
networks' own. Not any paper's method: an ablation of this benchmark, after mean teachers (Tarvainen and Valpola,
NeurIPS 2017).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, no_grad

from methods.interface import Network, Parameter, Step, Task

DECAY = 0.995
"""Largest decay per step. ASSUMPTION: not scaled with the training, since what is averaged away is the noise of the
last batches."""

JUDGE = Parameter(
    "judge",
    "last",
    "whose losses judge labels: last, the network's after its last step; ema, those of its moving average",
    "ours: no paper's",
    choices=("last", "ema"),
    added_later=True,
)
"""The parameter as every method that judges by losses declares it."""


def judge_decay(updates: int) -> float:
    """The average's decay in the step after so many updates, in (0, 0.995]: (1 + n) / (10 + n) at first.

    So it never reaches back over more than about a tenth of the steps so far, and 200 of them at most: the first
    weights are soon forgotten, however short the warm-up. Source of the form: mean teachers, TensorFlow's averages.
    """
    return min((1 + updates) / (10 + updates), DECAY)


def make_judges(task: Task, judge: str, networks: int) -> tuple[Network, ...]:
    """An average of each network for judge "ema", none for "last". For `Method.start`."""
    return tuple(task.average(network, judge_decay) for network in range(networks)) if judge == "ema" else ()


def judge_of(judges: Sequence[Network], network: int) -> int | Network:
    """What `Task.infer` takes to judge in place of a network: its average, or itself where there are no judges."""
    return judges[network] if judges else network


@no_grad()
def judged_logits(judges: Sequence[Network], step: Step, logits: Sequence[Tensor]) -> Sequence[Tensor]:
    """Logits (B, K) that judge the first stream's labels, for each network: its average's. `logits` without judges."""
    if not judges:
        return logits
    first = next(iter(step.streams.values()))
    return [judge(first.views[0]) for judge in judges]
