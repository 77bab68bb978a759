"""Privileges: the information that a run gets beyond noisy labels, its names in specs, and the noises that give it.

A spec's `privileges` hold the names that a method declares in `needs` and those that key an informed recipe.
"noise_rate" there stands for the realised share of wrong labels, "noise_rate=0.2" for a share that the user states, and
"transition_matrix=HASH" for a matrix from the user's file.
"tuned=30" is effort rather than knowledge: values chosen by a study of 30 trials, which other rows didn't have.
"""

from __future__ import annotations

from collections.abc import Iterable

RATE = "noise_rate"
MATRIX = "transition_matrix"
CLEAN_LABELS = "clean_labels"
CLEAN_VALIDATION = "clean_validation"
"""The privilege of values that were chosen by clean labels of the hold-out."""
TUNED = "tuned"


HASH_DIGITS = 12
WAYS_OUT = {
    RATE: "say the share of wrong labels yourself, such as --noise-rate 0.2",
    MATRIX: "give your own by --transition-matrix FILE",
}


def given_by_noise(states_rate: bool, gives_matrix: bool, is_known: bool) -> frozenset[str]:
    """The privileges that a noise can give.

    A noise states its rate by a number or a matrix. Human labels come with neither, and nobody who works with such
    labels knows how many are wrong. Noise that isn't known leaves no label that is known to be clean.
    """
    given = {RATE: states_rate, MATRIX: gives_matrix, CLEAN_LABELS: is_known}
    return frozenset(name for name, possible in given.items() if possible)


def missing_privilege(needs: Iterable[str], given: frozenset[str], noise: str) -> str | None:
    """The reason why a method can't run with the privileges `given`, with what to type; None if it can."""
    missing = sorted(set(needs) - given)
    if not missing:
        return None
    reason = f"it needs {' and '.join(missing)}, which the noise {noise} can't give"
    ways_out = [WAYS_OUT[name] for name in missing] if WAYS_OUT.keys() >= set(missing) else []
    return "; ".join([reason, *([" and ".join(ways_out)] if ways_out else [])])


def named_privileges(needs: Iterable[str], noise_rate: float | None, matrix_sha256: str | None = None) -> list[str]:
    """A method's needs by their names in a spec: what the user states comes with its value, a matrix with its hash."""
    stated = {RATE: noise_rate, MATRIX: None if matrix_sha256 is None else matrix_sha256[:HASH_DIGITS]}
    return [need if stated.get(need) is None else f"{need}={stated[need]}" for need in needs]


def given_noise_rate(privileges: Iterable[str]) -> float | None:
    """The noise rate that the user stated; None if the run gets the realised one, or none."""
    stated = (privilege.partition("=") for privilege in privileges)
    return next((float(value) for name, equals, value in stated if name == RATE and equals), None)


def given_matrix(privileges: Iterable[str]) -> str | None:
    """The first digits of the hash of the user's transition matrix; None if the run gets the noise's, or none."""
    stated = (privilege.partition("=") for privilege in privileges)
    return next((value for name, equals, value in stated if name == MATRIX and equals), None)


def tuned_privilege(trials: int) -> str:
    """The privilege of values that a study chose."""
    return f"{TUNED}={trials}"


def is_tuned(privileges: Iterable[str]) -> bool:
    """Whether a run's values were chosen by a study."""
    return any(privilege.partition("=")[0] == TUNED for privilege in privileges)


def describe_privilege(privilege: str) -> str:
    """A privilege in words for boards: "transition matrix", "noise rate (given 0.2)", "tuned (30 trials)"."""
    name, _, value = privilege.partition("=")
    if name == TUNED:
        return f"tuned ({value} trial{'' if value == '1' else 's'})"
    return name.replace("_", " ") + (f" (given {value})" if value else "")
