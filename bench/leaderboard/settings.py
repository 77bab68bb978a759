"""A setting in words: its heading, its order among the tables of a file, and the lines that describe it.

`record_setting` cuts the setting out of a record, `setting_heading` and `describe_setting` say it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from bench.leaderboard.measurements import Record
from bench.leaderboard.model import Row
from bench.records.origin import has_clean_tests, has_labels_as_given
from bench.spec import CHOSEN_BY_METHOD, SEEDS, SHARED_GRID, SHARED_LR
from bench.system import encoder_package
from bench.system.text import join_words

Setting = Mapping[str, Any]

IN_EVERY_HEADING = ("noise", "rate", "protocol")
ABSENT = {
    "train_size": "all training images",
    "imbalance": "classes as they come",
    "image_size": "images as they come",
    "gradient_clip": "no gradient clip",
    "noise_sha256": "no noise file",
    "weights_sha256": "fresh weights",
    "sync_batch_norm": "batch statistics of each process",
    "unreadable_skipped": "no unreadable images left out",
    "rounding": "wrong labels rounded in each class",
    "features": "no features of a backbone",
    "feature_size": "no size for a backbone",
    "feature_views": "no views by a backbone",
    "feature_components": "features as they are",
    "feature_precision": "no precision of a backbone",
}
PRESENT = {
    "model": "{}",
    "epochs": "{} epochs",
    "train_size": "{} training images",
    "imbalance": "imbalance {}",
    "image_size": "images of {0} x {0}",
    "unreadable_skipped": "{} unreadable images left out",
    "draw": "{} draw",
    "rounding": "wrong labels rounded in {}",
    "augmentation": "augmentation {}",
    "strong_augmentation": "strong view {}",
    "batch_size": "batches of {}",
    "optimizer": "{}",
    "momentum": "momentum {}",
    "schedule": "{} schedule",
    "gradient_clip": "gradient clip {}",
    "hold_out": "hold-out {}",
    "precision": "{}",
    "world_size": "{} processes",
    "features": "features of {}",
    "feature_size": "seen at {0} x {0}",
    "feature_views": "{} views",
    "feature_components": "{} principal components",
    "feature_precision": "features in {}",
}
HASHES = {"data_sha256": "data", "noise_sha256": "noise file", "weights_sha256": "weights"}
ADVERSARIES = frozenset({"bad"})
"""The noises that declare `is_adversary`."""
DEFINED_BY_FILE = frozenset({"data_set"})


def record_setting(record: Record) -> dict[str, Any]:
    """A record's setting as its spec was written: every field but the method, its choices and the seeds."""
    return {name: value for name, value in record["spec"].items() if name not in CHOSEN_BY_METHOD | SEEDS}


def is_noise_unknown(setting: Setting) -> bool:
    """Whether the runs learnt from labels as they stand, nobody knowing which are wrong."""
    return bool(setting["noise"] == "as-given")


def are_tests_as_given(setting: Setting, records: Sequence[Record]) -> bool:
    """Whether nobody has said that the labels of the test images are clean."""
    unknown = is_noise_unknown(setting) and not (records and all(map(has_clean_tests, records)))
    return unknown or any(map(has_labels_as_given, records))


def differing_fields(settings: Sequence[Setting]) -> list[str]:
    """The fields whose values differ among the settings of one file, in the spec's order."""
    names = dict.fromkeys(name for setting in settings for name in setting)
    return [
        name
        for name in names
        if name not in DEFINED_BY_FILE and len({repr(setting.get(name)) for setting in settings}) > 1
    ]


def setting_heading(setting: Setting, fields: Iterable[str], sources: Collection[str] = ()) -> str:
    """Noise and rate, protocol, and the `fields` in which this setting differs from the others of its file.

    `sources` are those of the recipes that its rows trained by.
    """
    parts = [noise_words(setting), protocol_words(setting, sources)]
    parts += [describe_field(name, setting.get(name)) for name in fields if name not in IN_EVERY_HEADING]
    return " · ".join(parts)


def protocol_words(setting: Setting, sources: Collection[str] = ()) -> str:
    """The protocol's name in headings: "shared" only where learning rates were chosen per method.

    Under the paper protocol the `sources` of the recipes follow it, such as "paper (anl and gjs)".
    """
    protocol = str(setting.get("protocol"))
    name = {SHARED_LR: "shared-lr", SHARED_GRID: "shared"}.get(protocol, protocol)
    return f"{name} ({join_words(sorted(sources))})" if sources else name


def noise_words(setting: Setting) -> str:
    """Noise and rate, such as "sym 0.4"; an adversary is called one."""
    rate, noise = setting.get("rate"), f"{'Adversary: ' if is_adversary(setting) else ''}{setting['noise']}"
    return noise if rate is None else f"{noise} {rate}"


def is_adversary(setting: Setting) -> bool:
    """Whether the labels were made to do the most harm, which nothing in nature does."""
    return re.split(r"[\[:]", str(setting["noise"]))[0] in ADVERSARIES


def describe_field(name: str, value: Any) -> str:
    """A field and its value in a few words; different values never read alike."""
    if value is None:
        return ABSENT.get(name, f"no {name}")
    if name in HASHES:
        return f"{HASHES[name]} {str(value)[:12]}"
    if name == "sync_batch_norm":
        return "synchronised batch normalisation" if value else ABSENT[name]
    if name == "nesterov":
        return "Nesterov" if value else "no Nesterov"
    return PRESENT[name].format(value) if name in PRESENT else f"{name} {value}"


def setting_order(setting: Setting) -> tuple[Any, ...]:
    """Key that sorts tables: adversaries last; by protocol (the grid's first, then shared-lr), noise, rate, rest."""
    rate, protocol, first = setting.get("rate"), setting.get("protocol"), [SHARED_GRID, SHARED_LR]
    place = first.index(protocol) if protocol in first else len(first)
    rest = [repr(setting.get(name)) for name in sorted(setting)]
    return is_adversary(setting), place, str(setting["noise"]), -1.0 if rate is None else rate, rest


def describe_setting(setting: Setting, rows: Sequence[Row], records: Sequence[Record]) -> list[str]:
    """Lines under a heading: the training, the data, what stands for its images, the noise."""
    lines = [_training(setting, rows, records), _recipes(rows), _samples(setting, records)]
    lines += [_features(setting, records), _noise(setting, records)]
    return [line for line in lines if line]


def _training(setting: Setting, rows: Sequence[Row], records: Sequence[Record]) -> str:
    weights = {record["provenance"].get("parameters") for record in records} - {None}
    size = f" ({next(iter(weights)):,} weights)" if len(weights) == 1 else ""
    model = f"{setting.get('model')}{size}"
    if setting.get("weights_sha256") is not None and setting.get("features") is None:
        model += f" from {_weights(setting)}"
    trained = [row for row in rows if not row.derived]
    processes = ("world_size", "sync_batch_norm") if setting.get("world_size", 1) > 1 else ()

    def describe(*names: str) -> list[str]:
        return [describe_field(name, setting.get(name)) for name in names]

    parts = [
        *describe("epochs", "batch_size", "optimizer", "momentum"),
        "Nesterov" if setting.get("nesterov") else "",
        _by_row("learning rate", [(row.name, row.learning_rate) for row in trained]),
        _by_row("weight decay", [(row.name, row.weight_decay) for row in trained]),
        *describe("schedule", "gradient_clip", "augmentation", "precision", *processes),
    ]
    return "Training: " + ", ".join([model, *(part for part in parts if part)]) + "."


def _recipes(rows: Sequence[Row]) -> str:
    """The source of each row's published recipe: "Recipes: anl for ce and nce+rce; gjs for js."."""
    by_source: dict[str, list[str]] = {}
    for row in rows:
        if row.recipe_source is not None and not row.derived:
            by_source.setdefault(row.recipe_source, []).append(row.name)
    parts = [f"{source} for {join_words(sorted(names))}" for source, names in sorted(by_source.items())]
    return f"Recipes: {'; '.join(parts)}." if parts else ""


def _by_row(name: str, values: Sequence[tuple[str, float]]) -> str:
    """The commonest value with the rows that have others: "weight decay 0.0001 (0 for anl-ce and anl-fl)"."""
    if not values:
        return ""
    common = Counter(value for _, value in values).most_common()
    usual = max(value for value, count in common if count == common[0][1])
    others: dict[float, list[str]] = {}
    for label, value in values:
        if value != usual:
            others.setdefault(value, []).append(label)
    exceptions = "; ".join(f"{value:g} for {join_words(sorted(labels))}" for value, labels in sorted(others.items()))
    return f"{name} {usual:g}" + (f" ({exceptions})" if exceptions else "")


def sample_name(measures: Mapping[str, Any]) -> str:
    """What one sample of a run is called: image or vector."""
    return "vector" if measures.get("vectors") else "image"


def vector_words(measures: Mapping[str, Any]) -> str:
    """What the vectors of a run are; "" where samples are images."""
    vectors = measures.get("vectors")
    if not vectors:
        return ""
    views = "no further view" if vectors["views"] == 1 else f"{vectors['views'] - 1} further views"
    return f" of {vectors['length']:,} numbers ({views} of each)"


def _samples(setting: Setting, records: Sequence[Record]) -> str:
    measures = records[0]["measures"] if records else {}
    samples = measures.get("samples")
    if not samples:
        return ""
    name = sample_name(measures)
    kind = "labels as given" if is_noise_unknown(setting) else "noisy labels"
    as_given = are_tests_as_given(setting, records)
    parts = [
        f"{samples['train']:,} training {name}s{vector_words(measures)} with {kind}",
        f"{samples['holdout']:,} held out with theirs",
        f"{samples['test']:,} test {name}s with {'test labels as given' if as_given else 'clean ones'}",
        f"{measures.get('classes')} classes",
    ]
    drawn = ("imbalance", "image_size", "unreadable_skipped")
    parts += [describe_field(name, setting[name]) for name in drawn if setting.get(name) is not None]
    return f"Data: {', '.join(parts)}."


def _features(setting: Setting, records: Sequence[Record]) -> str:
    """What stands for the images: the backbone and its weights, what it was given, what came out of it."""
    if setting.get("features") is None:
        return ""
    views, components = setting.get("feature_views"), setting.get("feature_components")
    measured = (records[0]["measures"].get("features") if records else None) or {}
    length = measured.get("numbers")
    numbers = [] if length is None else [f"{length:,} numbers" if components is None else f"{length:,} components"]
    parts = [
        f"{str(setting['features']).removeprefix('timm:')} ({_weights(setting)})",
        f"{setting.get('feature_size')} pixels",
        *numbers,
        f"{views} view{'s' * (views != 1)}",
        str(setting.get("feature_precision")),
    ]
    normalised = measured.get("normalisation")
    return f"Features: {', '.join(parts)}{f'; {normalised}' if normalised else ''}."


def _weights(setting: Setting) -> str:
    """The weights that a network starts from, such as "ImageNet weights 57934424"."""
    sha256 = str(setting.get("weights_sha256"))
    return f"{'ImageNet ' if sha256 == encoder_package.SHA256 else ''}weights {sha256[:8]}"


def _noise(setting: Setting, records: Sequence[Record]) -> str:
    rates = sorted({rate for record in records if (rate := record["measures"].get("realised_rate")) is not None})
    captions = [str(caption) for record in records if (caption := record["measures"].get("noise_caption"))]
    caption = captions[0] if captions else "no caption"
    nominal = "no nominal rate" if setting.get("rate") is None else f"nominal rate {setting['rate']}"
    if not rates:
        realised = "realised rate unknown"
    elif f"{rates[0]:.4f}" == f"{rates[-1]:.4f}":
        realised = f"realised rate {rates[0]:.4g}"
    else:
        realised = f"realised rate {rates[0]:.4g} to {rates[-1]:.4g}"
    draw = "" if setting.get("draw", "exact") == "exact" else f" ({setting['draw']} draw)"
    return f"Noise: {setting['noise']}{draw}, {caption}; {nominal}, {realised}."
