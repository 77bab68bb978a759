"""A report as Markdown: one file per data set, one table per setting."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from bench.atomic import write_atomically
from bench.leaderboard.rows import CHOSEN_ON_HOLD_OUT, SELECTIONS, Report, Row, Setting
from bench.leaderboard.statistics import ENOUGH
from bench.leaderboard.structured import chosen

PROTOCOLS = {"shared": "shared-lr"}
"""How a heading names a protocol: until a common grid chooses it, the learning rate is the data set's for all."""

OPTIONS = {
    "train_size": "--train-size",
    "imbalance": "--imbalance",
    "image_size": "--image-size",
    "model": "--model",
    "augmentation": "--augment",
    "epochs": "--epochs",
    "batch_size": "--batch-size",
    "optimizer": "--optimizer",
    "schedule": "--schedule",
    "hold_out": "--hold-out",
    "precision": "--precision",
}
"""Fields of a setting that the command line can set; those that a command has to name for another machine's sake."""

LEGEND = """\
*How to read this.* Accuracy is on the clean test set, in percent: mean ± sample standard deviation over n replicates
(noise, split and training seed together), and the mean's 95 % t-interval. Rows rank by {ranks}. **Bold** rows may be
the best: paired t-tests against the leader don't tell them apart at 5 % (Holm); below {enough} replicates nothing is
bold. *best (oracle)* is the best epoch on the test set, which nobody could have chosen, and *gap* what it would add.
*mem.* is the share of wrong training labels that the network reproduces, *learnt* the share of right ones; *worst*
the accuracy of the worst class; *AUROC* how well the method (or its loss) tells wrong labels from right ones. *cost*
is networks x views, and forward/backward units per image and epoch (plain cross-entropy: 3). *s* is seconds per run,
evaluation included. *told* is what the method knew beyond noisy labels; rows below the line were told something, and
don't rank. † marks a control."""


def write(report: Report, folder: Path) -> list[Path]:
    """Write one file per data set into `folder`, each whole or not at all; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for data_set in dict.fromkeys(setting.fields["data_set"] for setting in report.settings):
        asked = {setting.id for setting in report.settings if setting.fields["data_set"] == data_set}
        path = folder / f"{file_name(data_set)}.md"
        text = f"# {data_set}\n\n{legend(report)}\n\n{as_markdown(report, asked)}"
        write_atomically(path, text.encode())
        paths.append(path)
    return paths


def file_name(data_set: str) -> str:
    """A data set's name with nothing in it that a file system minds."""
    return re.sub(r"[^A-Za-z0-9.=-]+", "_", data_set).strip("_")


def legend(report: Report) -> str:
    """What the columns mean, once per file."""
    return LEGEND.format(ranks=SELECTIONS[report.select][1], enough=ENOUGH)


def as_markdown(report: Report, asked: Collection[str] | None = None) -> str:
    """The tables of the settings in `asked` (ids; None: all)."""
    return "\n".join(_section(setting, report) for setting in chosen(report, asked))


def _section(setting: Setting, report: Report) -> str:
    parts = [f"## {heading(setting, report.settings)}\n", _conditions(setting), "", table(setting)]
    parts += ["", *_notes(setting)]
    return "\n".join(parts) + "\n"


def heading(setting: Setting, among: Iterable[Setting]) -> str:
    """Data set, noise and protocol, and whatever else tells this setting from the others of its data set."""
    fields = setting.fields
    others = [other.fields for other in among if other.fields["data_set"] == fields["data_set"]]
    noise = fields["noise"] if fields["rate"] is None else f"{fields['noise']} {fields['rate']:g}"
    said = {"data_set", "noise", "rate", "protocol", "data_sha256", "identity", "noise_sha256"}
    differing = [
        f"{name.replace('_', ' ')} {fields[name]}"
        for name in fields
        if name not in said and any(other.get(name) != fields[name] for other in others)
    ]
    protocol = PROTOCOLS.get(fields["protocol"], fields["protocol"])
    return ", ".join([f"{fields['data_set']}, {noise}: {protocol}", *differing])


def _conditions(setting: Setting) -> str:
    fields = setting.fields
    captions = "; ".join(setting.captions)
    sizes = setting.samples
    words = [
        f"Wrong labels: {captions}.",
        f"{fields['model']}, {fields['epochs']} epochs, batch {fields['batch_size']}, {fields['optimizer']}, "
        f"{fields['schedule']}, augmentation {fields['augmentation']}, {fields['precision']};",
        f"{sizes['train']:,} training, {sizes['holdout']:,} held-out, {sizes['test']:,} test images.",
    ]
    if fields["imbalance"] is not None:
        words.append(f"Long tail: the smallest class has {fields['imbalance']:g} of the largest one's images.")
    return " ".join(words)


def table(setting: Setting) -> str:
    """The rows that have a rank, then those that were told more, as a Markdown table."""
    headers = ["#", "method", "accuracy", "95 %", "n", "best (oracle)", "gap", "mem.", "learnt", "worst", "AUROC"]
    headers += ["cost", "s", "told", "assumes"]
    lines = [_cells(row) for row in setting.ranked]
    if setting.informed:
        lines.append(["", "*told more than noisy labels*", *[""] * (len(headers) - 2)])
        lines += [_cells(row) for row in setting.informed]
    align = ["right", "left", "right", "center", *["right"] * 7, "left", "right", "left", "left"]
    return tabulate(lines, headers, tablefmt="pipe", colalign=align, disable_numparse=True)


def _cells(row: Row) -> list[str]:
    summary, measures = row.summary, row.measures
    assert summary is not None
    spread = "" if summary.std is None else f" ± {100 * summary.std:.2f}"
    interval = (
        "" if summary.low is None or summary.high is None else f"{100 * summary.low:.1f} - {100 * summary.high:.1f}"
    )
    name = row.method + (" †" if row.control else "")
    mean = f"{100 * summary.mean:.2f}{spread}"
    if row.may_be_best:
        name, mean = f"**{name}**", f"**{mean}**"
    units = measures["units"]
    cost = "" if units is None else f"{measures['networks']:g} x {measures['views']:g}, {units:.3g}"
    return [
        "" if row.rank is None else str(row.rank),
        name,
        mean,
        interval,
        str(summary.n),
        _percent(measures["best_test"], 1),
        _percent(measures["gap"], 1),
        _percent(measures["memorised"]),
        _percent(measures["learnt"]),
        _percent(measures["worst_class"]),
        "" if measures["selector"] is None else f"{measures['selector']:.3f}",
        cost,
        "" if measures["seconds"] is None else f"{measures['seconds']:.1f}",
        ", ".join(each.replace("_", " ") for each in row.privileges),
        ", ".join(each.replace("_", " ") for each in row.assumes),
    ]


def _percent(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{100 * value:.{digits}f}"


def _notes(setting: Setting) -> list[str]:
    """What stands under a table: who may be best, what has no rank and why, settings, labels, and the command."""
    notes = []
    best = [row for row in setting.ranked if row.may_be_best]
    ranked = sum(row.rank is not None for row in setting.ranked)
    if setting.best_known:
        notes.append(f"- **May be the best:** {len(best)} of {ranked} ranked rows.")
    else:
        notes.append(f"- Too few replicates ({len(setting.replicates)}, {ENOUGH} needed) to say which may be the best.")
    notes += [
        f"- `{row.method}` ran the same to the last digit as {', '.join(row.same_as)}: one method here."
        for row in setting.ranked + setting.informed
        if row.same_as
    ]
    notes += [f"- Incomplete, unranked: `{row.method}`{_mean(row)}, {row.reason}." for row in setting.incomplete]
    notes += [f"- Can't run here: `{method}`, {reason}" for method, reason in setting.left_out]
    notes.append("- Parameters: " + "; ".join(_parameters(setting.rows)) + ".")
    hashes = ", ".join(f"{seed}: `{sha256[:12]}`" for seed, sha256 in sorted(setting.labels.items()))
    notes.append(f"- Labels' SHA-256 by noise seed: {hashes}.")
    notes.append(f"- Again: `{setting.command or command(setting)}`")
    return notes


def _mean(row: Row) -> str:
    return "" if row.summary is None else f" ({100 * row.summary.mean:.2f})"


def _parameters(rows: Sequence[Row]) -> list[str]:
    """Each method's parameters and, where they aren't everybody's, its learning rate and weight decay."""
    shown = [row for row in rows if row.method != CHOSEN_ON_HOLD_OUT]
    rates = [row.spec["learning_rate"] for row in shown]
    decays = [row.spec["weight_decay"] for row in shown]
    usual_rate, usual_decay = (max(set(values), key=values.count) for values in (rates, decays))
    texts = [f"all: learning rate {usual_rate:g}, weight decay {usual_decay:g}, unless said"]
    for row in shown:
        values = [f"{name}={_short(value)}" for name, value in row.parameters.items()]
        if row.spec["learning_rate"] != usual_rate:
            values.append(f"learning rate {row.spec['learning_rate']:g}")
        if row.spec["weight_decay"] != usual_decay:
            values.append(f"weight decay {row.spec['weight_decay']:g}")
        if values:
            texts.append(f"{row.method} {', '.join(values)}")
    return texts


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def command(setting: Setting) -> str:
    """A command that runs the same again, every option of the setting spelled out, so that no default matters."""
    fields = setting.fields
    methods = dict.fromkeys(_argument(row) for row in setting.rows if row.method != CHOSEN_ON_HOLD_OUT)
    words = ["python", "-m", "bench", "run", "--methods", ",".join(methods), "--dataset", fields["data_set"]]
    words += ["--noise", fields["noise"]]
    if fields["rate"] is not None:
        words += ["--rate", f"{fields['rate']:g}"]
    words += ["--seeds", _seeds(setting.replicates)]
    for name, option in OPTIONS.items():
        if fields[name] is not None:
            words += [option, _short(fields[name])]
    if fields["draw"] != "exact":
        words += ["--draw", fields["draw"]]
    if fields["protocol"] != "shared":
        words += ["--protocol", fields["protocol"]]
    return shlex.join(words)


def _argument(row: Row) -> str:
    values = ",".join(f"{name}={value}" for name, value in row.parameters.items())
    return f"{row.spec['method']}[{values}]" if values else str(row.spec["method"])


def _seeds(replicates: Sequence[tuple[int, ...]]) -> str:
    seeds = sorted({replicate[-1] for replicate in replicates})
    first, last = seeds[0], seeds[-1]
    return str(last + 1) if first == 0 else f"{first}:{last + 1}"
