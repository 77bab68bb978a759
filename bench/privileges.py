"""Privileges: what a run is told beyond noisy labels, how a spec names it, and which noise can hand it over.

A spec's `privileges` hold the names that a method declares in `needs` and those that key an informed recipe.
"noise_rate" there stands for the realised share of wrong labels, "noise_rate=0.2" for what the user says it is.
"""

from __future__ import annotations

from collections.abc import Iterable

ALWAYS_GIVEN = frozenset({"clean_labels"})
"""What any noise can hand over."""
RATE = "noise_rate"


def handed_over(states_rate: bool, gives_matrix: bool, noise_rate: float | None) -> frozenset[str]:
    """What a noise hands over. `noise_rate` is what the user says that it is, or None.

    A noise states its rate by a number or a matrix. Labels that people gave come without either, and who has to do with
    such labels doesn't know how many are wrong.
    """
    rate = {RATE} if states_rate or noise_rate is not None else set()
    return ALWAYS_GIVEN | rate | ({"transition_matrix"} if gives_matrix else set())


def why_untold(needs: Iterable[str], given: frozenset[str], noise: str) -> str | None:
    """Why a method can't run where `given` is handed over, with what to type; None where it can."""
    missing = sorted(set(needs) - given)
    if not missing:
        return None
    reason = f"it needs {' and '.join(missing)}, which the noise {noise} can't give"
    way_out = "; say the share of wrong labels yourself, such as --noise-rate 0.2" if missing == [RATE] else ""
    return reason + way_out


def named(needs: Iterable[str], noise_rate: float | None) -> list[str]:
    """What a method needs as its spec names it: a rate that the user gives comes with its value."""
    return [f"{RATE}={noise_rate}" if need == RATE and noise_rate is not None else need for need in needs]


def told_noise_rate(privileges: Iterable[str]) -> float | None:
    """The noise rate that the user gave, or None where the realised one is handed over (or none)."""
    found = [value for name, equals, value in (each.partition("=") for each in privileges) if name == RATE and equals]
    return float(found[0]) if found else None


def in_words(privilege: str) -> str:
    """As boards say it: "transition matrix", "noise rate (given 0.2)"."""
    name, _, value = privilege.partition("=")
    return name.replace("_", " ") + (f" (given {value})" if value else "")
