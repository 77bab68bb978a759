"""Labels that nobody has said to be clean: what is recorded of them, and what a user is told.

On such data, `none` is `as-given`, and noise that is drawn comes on top of what the labels hold already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import registry
from bench.planning.request import Request
from bench.records import origin

if TYPE_CHECKING:
    from datasets.interface import Description

NONE, AS_GIVEN = "none", "as-given"
"""The noises of labels that stay as they are: known to be clean, and not known."""


def are_labels_as_given(request: Request, description: Description) -> bool:
    """Whether nobody has said that the labels are clean: neither the data set nor the user."""
    return not description.clean_labels and not request.labels_are_clean


def name_given_labels(request: Request, description: Description) -> str | None:
    """Which labels nobody has said to be clean, as a record's provenance holds it; None: none."""
    if not are_labels_as_given(request, description):
        return None
    return origin.TRAINING_AS_GIVEN if description.clean_test_labels else origin.AS_GIVEN


def note_noise_as_given(request: Request, description: Description) -> list[str]:
    """A sentence where `none` was typed for data whose labels nobody knows to be clean, or noise to add to real one."""
    typed = [] if request.labels is not None else [registry.parse_noise(text)[0] for text in request.noise]
    added = sorted({*typed} - {NONE, AS_GIVEN})
    if not are_labels_as_given(request, description):
        return []
    if description.clean_test_labels:
        held = f"the training labels of {description.name}, which hold real noise"
        taken = [f"--noise {NONE} is taken as {AS_GIVEN}: it means {held}"] if NONE in typed else []
        return [*taken, *([f"--noise {', '.join(added)} is added to {held} already"] if added else [])]
    if NONE not in typed:
        return []
    return [
        f"--noise {NONE} is taken as {AS_GIVEN}: nobody knows that the labels of {description.name} are clean. If they "
        "are, add --labels-are-clean"
    ]
