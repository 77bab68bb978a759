"""Privileges: what a run is told beyond noisy labels, how a spec names it, and which noise can hand it over.

A spec's `privileges` hold the names that a method declares in `needs` and those that key an informed recipe.
"noise_rate" there stands for the realised share of wrong labels, "noise_rate=0.2" for what the user says it is.
"tuned=30" is no knowledge but effort: values chosen by a study of 30 trials, which other rows weren't given.
"""

from __future__ import annotations

from collections.abc import Iterable

ALWAYS_GIVEN = frozenset({"clean_labels"})
"""What any noise can hand over."""
RATE = "noise_rate"
CLEAN_VALIDATION = "clean_validation"
"""What a run was told whose values were chosen by clean labels of the hold-out."""
TUNED = "tuned"


def given_by_noise(states_rate: bool, gives_matrix: bool, noise_rate: float | None) -> frozenset[str]:
    """What a noise hands over. `noise_rate` is what the user says that it is, or None.

    A noise states its rate by a number or a matrix. Labels that people gave come without either, and who has to do with
    such labels doesn't know how many are wrong.
    """
    rate = {RATE} if states_rate or noise_rate is not None else set()
    return ALWAYS_GIVEN | rate | ({"transition_matrix"} if gives_matrix else set())


def missing_privilege(needs: Iterable[str], given: frozenset[str], noise: str) -> str | None:
    """Why a method can't run where `given` is handed over, with what to type; None where it can."""
    missing = sorted(set(needs) - given)
    if not missing:
        return None
    reason = f"it needs {' and '.join(missing)}, which the noise {noise} can't give"
    way_out = "; say the share of wrong labels yourself, such as --noise-rate 0.2" if missing == [RATE] else ""
    return reason + way_out


def named_privileges(needs: Iterable[str], noise_rate: float | None) -> list[str]:
    """What a method needs as its spec names it: a rate that the user gives comes with its value."""
    return [f"{RATE}={noise_rate}" if need == RATE and noise_rate is not None else need for need in needs]


def given_noise_rate(privileges: Iterable[str]) -> float | None:
    """The noise rate that the user gave, or None where the realised one is handed over (or none)."""
    found = [value for name, equals, value in (each.partition("=") for each in privileges) if name == RATE and equals]
    return float(found[0]) if found else None


def tuned_privilege(trials: int) -> str:
    """The privilege of values that a study chose."""
    return f"{TUNED}={trials}"


def is_tuned(privileges: Iterable[str]) -> bool:
    """Whether a run's values were chosen by a study."""
    return any(each.partition("=")[0] == TUNED for each in privileges)


def describe_privilege(privilege: str) -> str:
    """As boards say it: "transition matrix", "noise rate (given 0.2)", "tuned (30 trials)"."""
    name, _, value = privilege.partition("=")
    if name == TUNED:
        return f"tuned ({value} trial{'' if value == '1' else 's'})"
    return name.replace("_", " ") + (f" (given {value})" if value else "")
