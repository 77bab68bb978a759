"""`list datasets --format md`: docs/datasets.md, all that is declared of every data set, as one Markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.cli.pages import format_cell
from bench.system.text import list_first

if TYPE_CHECKING:
    from datasets.interface import Description

MOST_CLASSES = 20
"""Classes that are named one by one."""
MOST_PAIRS = 10
EXAMPLE_RATE = 0.4
HEAD = """\
# Data sets

What every data set that comes with the package declares. The page is written by

    python -m bench list datasets --format md > docs/datasets.md

`show dataset NAME` prints the same of one, `show dataset NAME --check PATH` goes through a copy of it, file by file.
DATA_ROOT is the folder of `--data-root`, or `data` in the working directory. How your own images and tables are read
is in [data.md](data.md), what the noises do in [noise.md](noise.md). Licences are the makers' words as far as we know
them, and no advice."""


def data_set_document(entries: Sequence[Mapping[str, Any]]) -> str:
    """The page of all data sets, in the order of their declarations."""
    rows = [f"| [`{_usage(entry)}`](#{entry['name']}) | {_escaped(entry['summary'])} |" for entry in entries]
    overview = "\n".join(["| data set | what it is |", "|---|---|", *rows])
    return "\n\n".join([HEAD, overview, *map(_section, entries)])


def _section(entry: Mapping[str, Any]) -> str:
    facts = _facts(entry) | (_described_facts(entry) if entry["description"] is not None else {})
    lines = [f"- **{name}**: {_escaped(value)}" for name, value in facts.items() if value]
    parts = [f"## {entry['name']}", _escaped(entry["docstring"]), "\n".join(lines)]
    if entry["layout"]:
        parts += ["```\n" + entry["layout"] + "\n```"]
    return "\n\n".join(parts)


def _facts(entry: Mapping[str, Any]) -> dict[str, str]:
    """What is known without a description: the name, who made it, where it is had."""
    parameters = [f"`{item['name']}` ({format_cell(item['default'])})" for item in entry["parameters"]]
    return {
        "Typed": ", ".join(f"`{name}`" for name in [_usage(entry), *entry["aliases"]]),
        "Parameters, with default values": ", ".join(parameters),
        "Source": entry["source"],
        "Homepage": f"<{entry['homepage']}>" if entry["homepage"] else "",
        "How to get it": entry["access"],
    }


def _described_facts(entry: Mapping[str, Any]) -> dict[str, str]:
    """What the description of a data set says that needs no argument."""
    from datasets.files import NOWHERE

    described = registry.open_data_set(entry["name"], NOWHERE).describe()
    counts = ["as found" if count is None else f"{count:,}" for count in (described.train_size, described.test_size)]
    drawn = "; each split seed draws its own" if described.seeded_split else ""
    return {
        "Classes": f"{len(described.classes)}: {list_first(described.classes, MOST_CLASSES)}",
        "Images": _shape(described.image_shape),
        "Training and test images": f"{counts[0]} and {counts[1]}{drawn}",
        "Labels": _labels(described),
        "Truth for selectors": entry["truth"],
        "Noise where none is typed": "" if described.usual_noise == "sym" else f"`{described.usual_noise}`",
        "Label columns": ", ".join(f"`column:{name}`" for name in described.columns),
        "Noises": ", ".join(f"`{name}`" for name in _possible_noises(described)),
        "Pairs of `asym`": _pairs(described),
        "Shared protocol": _protocol(described),
        "Licence": described.licence,
        "Citation": described.citation,
    }


def _labels(described: Description) -> str:
    """Which labels are clean."""
    if described.clean_labels:
        return "taken as clean"
    return f"real noise in training labels, test labels {'clean' if described.clean_test_labels else 'as given too'}"


def _shape(shape: tuple[int, int, int] | None) -> str:
    if shape is None:
        return "of the size of the first; `--image-size` brings all to one"
    height, width, channels = shape
    return f"{width} x {height}, {'grey' if channels == 1 else 'RGB'}"


def _possible_noises(described: Description) -> list[str]:
    """The noises without an argument that these classes allow, as far as declarations tell."""
    from datasets.interface import DataError
    from datasets.noise import NoiseFacts

    facts, possible = NoiseFacts.of(described), []
    for name, entry in registry.noises().items():
        if entry["argument"] not in (None, "WORD"):
            continue
        try:
            registry.open_noise(name).matrix(facts, EXAMPLE_RATE if entry["takes_rate"] else None)
        except DataError:
            continue
        possible.append(name)
    return possible


def _pairs(described: Description) -> str:
    if described.pairs is None:
        return ""
    names = described.classes
    pairs = [f"{names[first]} -> {names[second]}" for first, second in described.pairs.flips]
    return f"{list_first(pairs, MOST_PAIRS)} ({described.pairs.source})"


def _protocol(described: Description) -> str:
    protocol = described.protocol
    words = [
        f"`{protocol.model}`, {protocol.epochs} epochs, batches of {protocol.batch_size}",
        f"learning rate {protocol.learning_rate:g}, weight decay {protocol.weight_decay:g}",
        f"`{protocol.augmentation}`, strong `{protocol.strong_augmentation}`",
        f"recipes of {protocol.recipes_from}",
    ]
    return f"{'; '.join(words)}. From: {protocol.source}"


def _usage(entry: Mapping[str, Any]) -> str:
    return f"{entry['name']}:{entry['argument']}" if entry["argument"] else str(entry["name"])


def _escaped(text: str) -> str:
    """Text in which Markdown finds no table and, unless it is an address, no tag."""
    text = text.replace("|", "\\|")
    return text if text.startswith("<http") else text.replace("<", "&lt;")
