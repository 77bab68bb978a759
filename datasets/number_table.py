"""A table of numbers as vectors: which columns are features, which hold labels, and which say nothing of use.

Read `read_number_table` first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.data_report import alike_note
from datasets.interface import DataError
from datasets.number_columns import NumberColumns, find_label, first_rows, is_number, read_text_columns, words_of
from datasets.parquet_columns import read_parquet_columns
from datasets.parts import PartPlan, names_parts, part_of, parts_of_columns
from datasets.table_labels import Classes, disagreement_note, gaps_note, is_missing, read_classes, read_column
from datasets.table_text import find_column, is_image_name
from datasets.vector_listing import VectorListing

LABEL_WORDS = frozenset({"label", "labels", "noisy", "annotator", "annotators", "rater", "worker"})
"""A column with such a word in its name holds further labels and no feature, even if its cells are numbers."""
NUMBERING = frozenset({"id", "ids", "index", "idx", "row", "unnamed", "uid"})
"""A column with such a word in its name, or with none, numbers the rows where all its cells differ."""
NAMING = NUMBERING | {"image", "img", "file", "filename", "name", "photo", "picture"}
"""Words in the names of columns that name an image, perhaps by a number."""
PARQUET = b"PAR1"
HEAD_BYTES = 1 << 18


def is_parquet(file: Path) -> bool:
    """Whether a file says in its first bytes that it is Parquet. A file that can't be read isn't."""
    try:
        with file.open("rb") as stream:
            return stream.read(len(PARQUET)) == PARQUET
    except OSError:
        return False


def read_number_table(file: Path, label: str, drop: bool, typed: Callable[..., str]) -> VectorListing:
    """The vectors of a table in a file of text or Parquet; `label` is its column of labels as typed.

    `drop`: rows with missing numbers or labels are left out rather than refused. `typed` makes the option that reads
    the file with other parameters. Raises DataError naming what is wrong.
    """

    def as_text(name: str) -> bool:
        return (
            name.casefold() in (label.casefold(), "split")
            or name.casefold().startswith("is")
            or bool(LABEL_WORDS & set(words_of(name)))
            or name == label
        )

    columns = read_parquet_columns(file, as_text) if is_parquet(file) else read_text_columns(file, label, as_text)
    labels_of = find_label(file, columns.header, label, lambda name: typed(label=name))
    texts, numbers = dict(columns.texts), dict(columns.numbers)
    if labels_of in numbers:  # named by its number
        values = numbers.pop(labels_of).tolist()
        texts[labels_of] = [f"{value:.0f}" if value.is_integer() else str(value) for value in values]
    cells = texts.pop(labels_of)
    kept, left_out, notes = _with_labels(file, cells, columns, drop, typed)
    plan = _plan_parts(file, texts, columns)
    features, further_texts = _choose_columns(columns, numbers, texts, plan)
    vectors = np.empty((len(cells), 1, len(features)), dtype=np.float32)
    for place, name in enumerate(features):
        vectors[:, 0, place] = features[name]
    if not features:
        raise DataError(f"{file} has no column of numbers beside {labels_of}, so there is nothing to learn from.")
    whole, more_left_out, more_notes = _with_numbers(file, vectors, kept, features, columns, drop, typed)
    taken = whole if plan.kept is None else whole & plan.kept
    test = None
    if plan.test is not None:
        of_all = np.zeros(len(cells), dtype=np.bool_)
        of_all[np.ones(len(cells), dtype=np.bool_) if plan.kept is None else plan.kept] = plan.test
        test = of_all[taken]
    chosen = np.flatnonzero(taken)
    lines = [columns.lines[row] for row in chosen.tolist()]
    classes = read_classes([cells[row] for row in chosen.tolist()])
    _refuse_quantities(file, labels_of, classes)
    further, unused = {}, {}
    for name, values in further_texts.items():
        found = read_column(file, name, [values[row] for row in chosen.tolist()], lines, classes, test)
        if isinstance(found, str):
            unused[name] = found
        else:
            further[name] = found
    notes += [*more_notes, *plan.notes, *alike_note(classes.names), *_named_notes(file, columns, features, labels_of)]
    notes += disagreement_note(classes, further, test)
    notes += gaps_note(classes, further, test, lines, file.name)
    unused |= _numbering(columns, numbers, features)
    notes += _unused_note(file, unused)
    return VectorListing(
        vectors if taken.all() else vectors[taken],
        classes.names,
        classes.labels,
        test,
        columns=further,
        unused_columns=unused,
        left_out={**left_out, **more_left_out, **plan.left_out},
        notes=tuple(notes),
    )


def _with_labels(
    file: Path, cells: Sequence[str], columns: NumberColumns, drop: bool, typed: Callable[..., str]
) -> tuple[NDArray[np.bool_], dict[str, int], list[str]]:
    """Which rows have a label, with the count and a sentence on those that haven't. Raises DataError unless `drop`."""
    missing = {cell for cell in set(cells) if is_missing(cell)}
    kept = np.array([cell not in missing for cell in cells])
    if not missing:
        return kept, {}, []
    count, first = int((~kept).sum()), columns.lines[int((~kept).argmax())]
    said = f"{count:,} of {len(cells):,} rows of {file.name} have no label"
    if not drop:
        raise DataError(
            f"{said} (first: {columns.place} {first}). Fill them, or leave them out: {typed(missing='drop')}"
        )
    if not kept.any():
        raise DataError(f"No row of {file} has a label. Fill the column.")
    return kept, {"rows without a label": count}, [f"{said} and are left out (first: {columns.place} {first})"]


def _with_numbers(
    file: Path,
    vectors: NDArray[np.float32],
    kept: NDArray[np.bool_],
    features: Mapping[str, object],
    columns: NumberColumns,
    drop: bool,
    typed: Callable[..., str],
) -> tuple[NDArray[np.bool_], dict[str, int], list[str]]:
    """Which of the rows `kept` hold numbers everywhere, with the count and a sentence on the others."""
    finite = np.isfinite(vectors[:, 0])
    whole = np.asarray(finite.all(axis=1))
    wrong = kept & ~whole
    if not wrong.any():
        return kept & whole, {}, []
    count, row = int(wrong.sum()), int(wrong.argmax())
    column = list(features)[int((~finite[row]).argmax())]
    strange = columns.mixed.get(column)
    example = f", {column}" + (f", which also holds {strange!r}" if strange else "")
    said = (
        f"{count:,} of {len(kept):,} rows of {file.name} have numbers that are missing, infinite or none (first: "
        f"{columns.place} {columns.lines[row]}{example})"
    )
    if not drop:
        raise DataError(f"{said}. Fill them, remove the column, or leave these rows out: {typed(missing='drop')}")
    if not (kept & whole).any():
        raise DataError(f"No row of {file} has a number in every column ({said}). Remove the columns that lack them.")
    return kept & whole, {"rows with missing numbers": count}, [f"{said}; they are left out"]


def _plan_parts(file: Path, texts: dict[str, list[str]], columns: NumberColumns) -> PartPlan:
    """What becomes of the rows by the columns that name parts."""
    cells = {name: values for name, values in texts.items() if name == "split" or name.casefold().startswith("is")}
    if "split" not in cells:
        cased = [name for name in texts if name.casefold() == "split" and names_parts(texts[name])]
        if len(cased) == 1:
            cells["split"] = texts[cased[0]]
            texts["split"] = texts.pop(cased[0])
    names = [f"{columns.place} {line}" for line in columns.lines]
    return parts_of_columns(file, cells, columns.lines, names)


def _choose_columns(
    columns: NumberColumns, numbers: Mapping[str, NDArray[np.float32]], texts: Mapping[str, list[str]], plan: PartPlan
) -> tuple[dict[str, NDArray[np.float32]], dict[str, list[str]]]:
    """The features in the order of the table, and the columns that may hold further labels."""
    features: dict[str, NDArray[np.float32]] = {}
    further: dict[str, list[str]] = {}
    for name in columns.header:
        if name in plan.columns or (name.casefold() == "split" and "split" in plan.columns):
            continue
        if name in numbers:
            if not np.isnan(numbers[name]).all() and not numbers_rows(name, numbers[name]):
                features[name] = numbers[name]
        elif name in texts:
            values = None if LABEL_WORDS & set(words_of(name)) or part_of(name[2:]) else _as_numbers(texts[name])
            if values is None:
                further[name] = texts[name]
            else:
                features[name] = values
    return features, further


def _as_numbers(cells: Sequence[str]) -> NDArray[np.float32] | None:
    """The numbers of cells that were kept as text for their column's name; None where some cell is none."""
    if not all(is_number(cell) or is_missing(cell) for cell in set(cells)):
        return None
    return np.array([float(cell.replace(",", ".")) if is_number(cell) else np.nan for cell in cells], np.float32)


def numbers_rows(name: str, values: NDArray[np.float32]) -> bool:
    """Whether a column numbers the rows, so that it says nothing of a sample: an id, an index."""
    words = words_of(name)
    if words and not NUMBERING & set(words):
        return False
    whole = bool(np.isfinite(values).all()) and bool((values == np.floor(values)).all())
    return whole and len(np.unique(values)) == len(values)


def holds_numbers(file: Path, label: str) -> bool:
    """Whether a file is a table of numbers rather than of images, by its first lines; false where it can't be read."""
    if is_parquet(file):
        return True
    try:
        with file.open("rb") as stream:
            begin = stream.read(HEAD_BYTES)
        header, *rows = first_rows(begin, label)
    except (OSError, ValueError, DataError):
        return False
    others = [name for name in header if name.casefold() != label.casefold()]
    if not rows or find_column(header, "path") or any(map(is_image_name, [*header, *rows[0]])):
        return False
    cells = dict(zip(header, rows[0], strict=False))
    named = [name for name in others if is_number(cells.get(name, "")) and not NAMING & set(words_of(name))]
    return len(named) > (0 if len(others) < len(header) else 1)


def _numbering(
    columns: NumberColumns, numbers: Mapping[str, NDArray[np.float32]], features: Collection[str]
) -> dict[str, str]:
    """The columns of numbers that are no features, each with the reason."""
    return {
        name: "it is empty" if np.isnan(values).all() else "it numbers the rows"
        for name, values in numbers.items()
        if name not in features
    }


def _refuse_quantities(file: Path, column: str, classes: Classes) -> None:
    """Raise DataError where labels are numbers that aren't whole: a quantity, not classes."""
    strange = [name for name in classes.names if is_number(name) and not float(name.replace(",", ".")).is_integer()]
    if strange and all(map(is_number, classes.names)):
        raise DataError(
            f"{file}: {len(strange):,} different labels in {column} aren't whole numbers (first: {strange[0]}). Labels "
            "are classes: whole numbers or names. Put a quantity into classes first."
        )


def _named_notes(file: Path, columns: NumberColumns, features: Collection[str], label: str) -> list[str]:
    """A sentence on columns whose names were given by us."""
    if columns.has_header:
        return []
    return [f"{file.name} has no header: column {label} holds labels, and the {len(features):,} others are features"]


def _unused_note(file: Path, unused: Mapping[str, str]) -> list[str]:
    if not unused:
        return []
    name, why = next(iter(unused.items()))
    if len(unused) == 1:
        return [f"1 column of {file.name} is neither a feature nor labels: {name} ({why})"]
    return [f"{len(unused)} columns of {file.name} are neither features nor labels, such as {name} ({why})"]
