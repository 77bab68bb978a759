"""What a record, a failure and the curves of a paused run hold, as pydantic checks it on reading.

`RecordContent`, `FailureContent` and `PartialContent` are the three files of a run. Types are strict and numbers
finite; keys that this release doesn't know are allowed, with whatever JSON holds, since later releases add some. The
models only check: what is read stays as it was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from typing_extensions import TypeAliasType

from bench.spec import ADDED_LATER, Finite, RunSpec

LARGEST = 2**200
"""No count is larger, and a float can still hold it."""

Whole = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
Number = Whole | Finite | None
Words = list[str] | None
Content = TypeAliasType("Content", "Whole | Finite | StrictBool | str | list[Content] | dict[str, Content] | None")
"""Any JSON without NaN, infinity or numbers that no float can hold."""


class Strict(BaseModel):
    """What a JSON object holds, and further keys."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, Content]


class StrictCurves(Strict):
    """Curves by name; further ones may hold words too."""

    __pydantic_extra__: dict[str, list[Whole | Finite | str | None]]  # type: ignore[assignment]


def _spec_field(name: str) -> Any:
    """The type of a field of a spec in JSON: RunSpec's own, with a list in the place of a tuple."""
    field = RunSpec.model_fields[name]
    if field.annotation == tuple[str, ...]:
        return list[str]
    whole = {int: Whole, int | None: Whole | None}
    annotation: Any = whole.get(field.annotation, field.annotation)  # type: ignore[arg-type]
    return Annotated[(annotation, *field.metadata)] if field.metadata else annotation


_FIELDS: dict[str, Any] = {name: (_spec_field(name), None) for name in RunSpec.model_fields}
SpecContent: Any = pydantic.create_model("SpecContent", __base__=Strict, **_FIELDS)
"""A spec as it is written. Its fields may be missing here, as in the first records: `SPEC_FIELDS` are asked for where
records are used."""
SPEC_FIELDS = tuple(name for name in RunSpec.model_fields if name not in ADDED_LATER)
"""The fields that every spec is written with."""


class CurveContent(StrictCurves):
    """Values over the epochs, by name."""

    epoch: list[Number] = []
    measured_epoch: list[Number] = []
    phase: list[str | None] = []
    train_loss: list[Number] = []
    test_accuracy: list[Number] = []
    noisy_holdout_accuracy: list[Number] = []
    clean_holdout_accuracy: list[Number] = []
    memorised: list[Number] = []
    corrected: list[Number] = []
    learnt: list[Number] = []


class SelectorContent(Strict):
    """Measures of noise detection, and the source of each."""

    source: str | None = None
    kept_source: str | None = None
    corrected_source: str | None = None
    auroc: Number = None
    average_precision: Number = None
    auroc_noisy_classes: Number = None
    average_precision_noisy_classes: Number = None
    precision: Number = None
    recall: Number = None
    corrected: Number = None
    damaged: Number = None


class AuditedContent(Strict):
    """Accuracy by audited test labels, and how many labels the audit corrected or dropped."""

    test_accuracy: Number = None
    corrected: Whole | None = None
    dropped: Whole | None = None


class PeopleContent(Strict):
    """How far the prediction is from what people said, and the hash of the file that says it."""

    cross_entropy: Number = None
    total_variation: Number = None
    sha256: str | None = None


class SecondTestContent(Strict):
    """Measures on the images of a second test set, at the last epoch."""

    name: str | None = None
    images: Number = None
    test_accuracy: Number = None


class MeasureContent(Strict):
    """Measures at a run's end. Releases that measured less have written fewer."""

    test_accuracy: Number = None
    worst_class_accuracy: Number = None
    balanced_accuracy: Number = None
    negative_log_likelihood: Number = None
    expected_calibration_error: Number = None
    audited: AuditedContent | None = None
    people: PeopleContent | None = None
    best_test_accuracy: Number = None
    best_test_epoch: Number = None
    holdout_epoch: Number = None
    holdout_test_accuracy: Number = None
    noisy_holdout_accuracy: Number = None
    last10_test_accuracy: Number = None
    memorised: Number = None
    corrected: Number = None
    learnt: Number = None
    selector: SelectorContent | None = None
    second_test: SecondTestContent | None = None
    network_test_accuracies: list[Number] | None = None
    networks: Number = None
    views: Number = None
    units_per_sample_epoch: Number = None
    forward_per_sample_epoch: Number = None
    backward_per_sample_epoch: Number = None
    flops_forward: Number = None
    flops_forward_backward: Number = None
    labels_sha256: str | None = None
    realised_rate: Number = None
    noise_caption: str | None = None
    samples: dict[str, Whole] | None = None
    vectors: dict[str, Whole] | None = None
    classes: Whole | None = None
    assumes: Words = None
    same_as: Words = None
    control: bool | None = None
    effective: dict[str, Content] | None = None
    test_predictions: str | None = None


class DataReportContent(Strict):
    """What was found in a user's own data; see `datasets.data_report.DataReport`."""

    images: dict[str, dict[str, Whole]] = {}
    columns: list[str] = []
    unused_columns: dict[str, str] = {}
    left_out: dict[str, Whole] = {}
    notes: list[str] = []


class ProvenanceContent(Strict):
    """Machine, time and code of a run."""

    seconds: dict[str, Number] | None = None
    images_per_second: Number = None
    peak_memory_bytes: Number = None
    parameters: Number = None
    device: str | None = None
    threads: Whole | None = None
    versions: dict[str, str | None] | None = None
    host: str | None = None
    git_revision: str | None = None
    git_dirty: bool | None = None
    started: str | None = None
    finished: str | None = None
    data_report: DataReportContent | None = None


class RunContent(Strict):
    """What every file of a run says first: how it is to be read, and of which run it is."""

    version: int = Field(alias="schema")
    run_id: str
    spec: SpecContent


class RecordContent(RunContent):
    """The result of a run."""

    curves: CurveContent
    measures: MeasureContent
    provenance: ProvenanceContent
    left_out: list[str] = []


class FailureContent(RunContent):
    """Why a run has no result."""

    reason: str
    epoch: Whole | None = None
    traceback: str | None = None
    provenance: ProvenanceContent | None = None


class PartialCurves(StrictCurves):
    """Values over the epochs so far: a study counts the epochs, and reads its criterion off a curve."""

    epoch: list[Number]
    noisy_holdout_accuracy: list[Number] = []
    clean_holdout_accuracy: list[Number] = []


class PartialContent(RunContent):
    """The curves of a run that was put aside."""

    curves: PartialCurves
    total_epochs: Annotated[Whole, Field(ge=1)]


def first_mistake(error: pydantic.ValidationError, content: Any) -> str:
    """The first thing that is wrong with `content`, in a line: where, and what was expected there."""
    mistakes = error.errors(include_url=False, include_context=False, include_input=False)
    places = [_place(mistake["loc"], content) for mistake in mistakes]
    # The alternatives of a union are mistakes of their own: what lies deepest is nearest to what was meant.
    deepest = max(range(len(mistakes)), key=lambda number: len(places[number]))
    mistake, place = mistakes[deepest], ".".join(map(str, places[deepest]))
    if mistake["type"] == "missing":
        return f"no {'.'.join(filter(None, [place, str(mistake['loc'][-1])]))}"
    return f"{place or 'it'} {mistake['msg'].removeprefix('Input ')}"


def _place(location: tuple[int | str, ...], content: Any) -> list[int | str]:
    """The keys of a mistake's location. The names of a union's alternatives, which stand among them, lead nowhere."""
    place: list[int | str] = []
    for key in location:
        if isinstance(content, Mapping) and key in content:
            content = content[str(key)]
        elif isinstance(content, list) and isinstance(key, int) and key < len(content):
            content = content[key]
        else:
            continue
        place.append(key)
    return place
