"""A CSV table of image files and labels."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.data_report import alike_note
from datasets.features import Features
from datasets.files import listed
from datasets.image_file import SUFFIXES
from datasets.interface import DataError, DataSet, Labels, Options
from datasets.listing import ListedImages, Listing
from datasets.number_table import holds_numbers
from datasets.parts import PartPlan, names_parts, parts_of_columns
from datasets.table_file import TableFile, joined_rows, read_table, typed_table
from datasets.table_labels import (
    Classes,
    disagreement_note,
    gaps_note,
    is_missing,
    read_classes,
    read_column,
)

NO_SPLIT = "it names parts: call it split, and they are used"
Parameters = Mapping[str, Any] | None
MISSING_LABELS = ("refuse", "drop", "class")
"""What `missing` may say of rows whose label is empty or a word such as nan: an error, left out, a class so called."""
OF_IMAGES = frozenset({"path", "images", "suffix"})
LOOKED_AT = 20
"""Image files without a place that are looked for elsewhere, and folders in which that is done for each level."""


class Table(ListedImages):
    """Columns `path` (relative to the table), `label` (class names), and if you like `split`.

    `split` says train, val or test by any usual name; without it, so may columns such as is_valid and is_test, with
    true or false. Without any of them, a stratified split of 80/20 by the split seed. Every further column that holds
    classes, by name or by id, is usable as `--noise column:NAME`. Training rows that it leaves empty stay out of
    training with it.

    Cells are separated by commas, semicolons, tabs or bars; a list of images and labels without a header is read as
    well. Other names are typed: `table[path=image_id,label=breed]:FILE.csv`. `images` is the folder that paths start
    from and `suffix` what each lacks at its end, such as .png; they say where files are and belong to no record's name.

    Words such as nan are missing labels as an empty cell is. They are refused, unless `missing=drop` leaves these rows
    out or `missing=class` says that a class is called so. A table of numbers without images is read as `features`.
    """

    name = "table"
    summary = "your own images by a CSV table: path, label, optional split, further columns as noisy labels; or numbers"
    source = "yours"
    argument = "FILE.csv"
    access = "yours"
    layout = """
        FILE.csv                               with the columns path, label, and if you like split and further labels
        IMAGE ...                              where the paths say, from the table's folder on
        """
    parameters = {"path": "path", "label": "label", "images": "", "suffix": "", "missing": "refuse"}
    unrecorded = frozenset({"images", "suffix", "missing"})

    def __init__(self, options: Options, argument: str | None = None, parameters: Parameters = None) -> None:
        super().__init__(options, argument, parameters)
        if self.values["missing"] not in MISSING_LABELS:
            raise DataError(
                f"table[missing={self.values['missing']}] is impossible. Type missing=drop to leave out rows without a "
                "label, or missing=class where a word such as nan is a class."
            )

    @classmethod
    def opened(cls, options: Options, argument: str | None = None, parameters: Parameters = None) -> DataSet:
        table = cls(options, argument, parameters)
        of_images = OF_IMAGES & (parameters or {}).keys() or not holds_numbers(table.file, table.values["label"])
        return table if of_images else Features(options, argument, parameters, cls.name)

    @property
    def label(self) -> str:
        return f"{self.recorded_call()}:{self.file.name}"

    @property
    def file(self) -> Path:
        """The table."""
        return Path(self.argument_value or "").expanduser()

    def read(self) -> Listing:
        file = self.file
        table = read_table(file, self.values["path"], self.values["label"])
        table, left_out, notes = self._with_labels(table)
        _refuse_empty(file, "path", table.columns[table.path], table.lines)
        _refuse_twice(file, table.columns[table.path], table.lines)
        notes += _guessed_columns(file, table, {self.values["path"], self.values["label"]})
        rows = joined_rows(table.header, table.columns)
        plan, split = _plan_parts(file, table)
        if plan.kept is not None:
            table = table.only(plan.kept.tolist())
        classes = read_classes(table.columns[table.label])
        further, unused = _further_columns(file, table, {*plan.columns, split}, classes, plan.test)
        paths, turned = self._paths(table.columns[table.path])
        notes += [*turned, *plan.notes, *alike_note(classes.names)]
        notes += disagreement_note(classes, further, plan.test)
        notes += gaps_note(classes, further, plan.test, table.lines, file.name)
        return Listing(
            paths=paths,
            written=table.columns[table.path],
            lines=table.lines,
            rows=rows + _other_reading(table, classes, further, plan, split),
            classes=classes.names,
            labels=classes.labels,
            test=plan.test,
            columns=further,
            unused_columns=unused,
            left_out=left_out | dict(plan.left_out),
            notes=(*notes, *_unused_note(file.name, unused, typed_table(file, **self._typed()))),
        )

    def explain_missing(self, paths: Sequence[str]) -> str:
        start = self.values["images"] or self.file.parent
        said = f"Paths in a table are relative to its folder; these were looked for from {Path(start).absolute()}."
        if self.values["images"]:
            said = f"These were looked for from {Path(start).absolute()}, as images= says."
        written = [
            path.removeprefix(f"{self._start}/").removesuffix(self.values["suffix"]) for path in paths[:LOOKED_AT]
        ]
        if any("://" in path for path in written):
            return "These are addresses, not files: get them first, and let the table hold the files' paths."
        if any(re.match(r"/|[A-Za-z]:[\\/]", path) for path in written):
            return "These are full paths, perhaps of another machine: make them relative to the table's folder."
        found = _find_elsewhere(self.file.parent, written)
        if found is None:
            return f"{said} If they lie elsewhere, type {typed_table(self.file, **self._typed(images='FOLDER'))}."
        kept = {key: value for key, value in self._typed().items() if key not in ("images", "suffix")}
        return f"{said} They exist otherwise: type {typed_table(self.file, **kept | found)}."

    @property
    def _start(self) -> str:
        """The folder that paths start from."""
        return str(Path(self.values["images"]).expanduser()) if self.values["images"] else str(self.file.parent)

    def _typed(self, **more: str) -> dict[str, str]:
        """The parameters that were typed, and some more."""
        return {key: value for key, value in self.values.items() if value != self.parameters[key]} | more

    def _with_labels(self, table: TableFile) -> tuple[TableFile, dict[str, int], list[str]]:
        """The table without rows whose label is missing, with their count and a sentence on them.

        Raises DataError where `missing` doesn't say that they may be.
        """
        cells = table.columns[table.label]
        words = {cell for cell in set(cells) if is_missing(cell)}
        if self.values["missing"] == "class":
            words &= {""}
        if not words:
            return table, {}, []
        places = [number for number, cell in enumerate(cells) if cell in words]
        if self.values["missing"] == "drop":
            note = f"{len(places):,} of {len(cells):,} rows of {self.file.name} have no label and are left out"
            kept = table.only([cell not in words for cell in cells])
            if not kept.lines:
                raise DataError(f"No row of {self.file} has a label. Fill the column {table.header[table.label]}.")
            return kept, {"rows without a label": len(places)}, [f"{note} (first: line {table.lines[places[0]]})"]
        spelled = ", ".join(sorted(words - {""}))
        said = f" (or {spelled}, which stands for none)" if spelled else ""
        way = f"; where {spelled} is a class, type {typed_table(self.file, **self._typed(missing='class'))}"
        raise DataError(
            f"{len(places)} rows of {self.file} have an empty label{said}. Fill them or remove them. To leave them "
            f"out, type {typed_table(self.file, **self._typed(missing='drop'))}{way if spelled else ''}:\n"
            + listed([f"line {table.lines[place]}" + f": {cells[place]}" * bool(cells[place]) for place in places])
        )

    def _paths(self, written: Sequence[str]) -> tuple[list[str], list[str]]:
        """The files that cells name, and a sentence on what was read otherwise than it is written."""
        start, suffix, notes = self._start, self.values["suffix"], []
        paths = [path if path.startswith("/") else f"{start}/{path}" for path in written]
        if suffix:
            paths = [path if path.endswith(suffix) else path + suffix for path in paths]
        slanted = [number for number, path in enumerate(written) if "\\" in path]
        slanted = [number for number in slanted if not os.path.lexists(paths[number])]
        for number in slanted:
            paths[number] = paths[number].replace("\\", "/")
        if slanted:
            notes.append(f"{len(slanted):,} paths are read with / in the place of \\ (first: {written[slanted[0]]})")
        return paths, notes


def _guessed_columns(file: Path, table: TableFile, typed: Collection[str]) -> list[str]:
    """The sentence on a list without a header, or on a header whose columns were typed by number; none elsewhere."""
    path, label = table.columns[table.path][0], table.columns[table.label][0]
    if not table.has_header:
        return [
            f"{file.name} has no header: column {table.path + 1} is taken for path and column {table.label + 1} for "
            f"label (first: {path}, {label})"
        ]
    numbers = {str(place + 1) for place in (table.path, table.label)} & set(typed) - set(table.header)
    names = f"{table.header[table.path]}, {table.header[table.label]}"
    return [f"the first line of {file.name} is taken for names of columns ({names}), not for an image"] * bool(numbers)


def _plan_parts(file: Path, table: TableFile) -> tuple[PartPlan, str]:
    """What becomes of the rows, and the column that is read as `split`: one in another case if it names parts."""
    cells = dict(zip(table.header, table.columns, strict=True))
    for place in (table.path, table.label):
        cells.pop(table.header[place], None)
    split = "split"
    if "split" not in cells:
        cased = [name for name in cells if name.casefold() == "split" and names_parts(cells[name])]
        if len(cased) == 1:
            split = cased[0]
            cells["split"] = cells.pop(split)
    return parts_of_columns(file, cells, table.lines, table.columns[table.path]), split


def _further_columns(
    file: Path, table: TableFile, parts: Collection[str], classes: Classes, test: NDArray[np.bool_] | None
) -> tuple[dict[str, Labels], dict[str, str]]:
    """The columns that are labels, and the reasons why others aren't; those in `parts` say parts."""
    further, unused = {}, {}
    for place, name in enumerate(table.header):
        if not name or name in parts or place in (table.path, table.label):
            continue
        labels = read_column(file, name, table.columns[place], table.lines, classes, test)
        if isinstance(labels, str):
            unused[name] = NO_SPLIT if names_parts(table.columns[place]) else labels
        else:
            further[name] = labels
    return further, unused


def _other_reading(table: TableFile, classes: Classes, further: Collection[str], plan: PartPlan, split: str) -> str:
    """What the content hash has to hold beside the cells, where these alone don't say how they are read."""
    names = (table.header[table.path].casefold(), table.header[table.label].casefold())
    readings = {
        f"path {table.path}, label {table.label}": names != ("path", "label"),
        "whole numbers": classes.reads_otherwise(table.columns[table.header.index(name)] for name in further),
        f"parts by {plan.marker}": bool(plan.marker),
        f"split by {split}": split != "split",
    }
    return "".join(f"\x1d{reading}" for reading, holds in readings.items() if holds)


def _find_elsewhere(folder: Path, written: Sequence[str]) -> dict[str, str] | None:
    """The parameters of `table` by which all of these paths exist; None where none of the likely ones do.

    Looked at: the working directory, the folders above the table's, and those below it, two levels deep; also with an
    image's ending behind each path.
    """
    below = sorted(itertools.islice((each for each in folder.glob("*/") if each.is_dir()), LOOKED_AT))
    deeper = [each for top in below for each in itertools.islice(top.glob("*/"), LOOKED_AT) if each.is_dir()]
    above = list(folder.absolute().parents[:3])
    for suffix in ("", *sorted(SUFFIXES), *sorted(map(str.upper, SUFFIXES))):
        for place in (folder, Path(), *above, *below, *deeper):
            if all((place / (path.replace("\\", "/") + suffix)).is_file() for path in written):
                near = place.absolute()
                near = near.relative_to(Path.cwd()) if near.is_relative_to(Path.cwd()) else near
                found = {} if place == folder else {"images": str(near)}
                return found | ({"suffix": suffix} if suffix else {})
    return None


def _refuse_empty(file: Path, column: str, cells: Sequence[str], lines: Sequence[int]) -> None:
    if all(cells):
        return
    empty = [f"line {line}" for cell, line in zip(cells, lines, strict=True) if not cell]
    raise DataError(f"{len(empty)} rows of {file} have an empty {column}. Fill them or remove them:\n{listed(empty)}")


def _refuse_twice(file: Path, paths: Sequence[str], lines: Sequence[int]) -> None:
    if len(set(paths)) == len(paths):
        return
    first: dict[str, int] = {}
    twice = [
        f"line {line}: {path}, as line {first[path]}"
        for path, line in zip(paths, lines, strict=True)
        if first.setdefault(path, line) != line
    ]
    raise DataError(
        f"{len(twice)} rows of {file} name an image that an earlier row names. Keep one row per image (other opinions "
        f"belong in further columns):\n{listed(twice)}"
    )


def _unused_note(table: str, unused: Mapping[str, str], typed: str) -> Iterator[str]:
    """A sentence on the columns that aren't used, if there are any; `typed` is the option that names the table."""
    if not unused:
        return
    name, reason = next(iter(unused.items()))
    if len(unused) == 1:
        yield f"1 column of {table} can't be used as labels: {name} ({reason})"
    else:
        yield (
            f"{len(unused)} columns of {table} can't be used as labels, such as {name} ({reason}); show dataset "
            f"{typed.removeprefix('--dataset ')} has them all"
        )
