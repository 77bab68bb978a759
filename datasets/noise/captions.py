"""One line that says how much noise there is: the nominal rate, where it applies, and what it comes to overall."""

from __future__ import annotations

import numpy as np

from datasets.noise.interface import Matrix, Noise, NoiseFacts


def caption(
    noise: Noise | str,
    facts: NoiseFacts | None = None,
    matrix: Matrix | None = None,
    rate: float | None = None,
    realised: float | None = None,
) -> str:
    """Such as "0.4 in 5 of 10 classes, 0.20 overall".

    `noise` may be a text that names given labels. `realised` is the share of wrong labels that was drawn; without it
    (no data at hand) the matrix says what to expect of equally large classes.
    """
    if isinstance(noise, str) or facts is None:
        return ", ".join([str(noise), *([] if realised is None else [f"{share_text(realised)} overall"])])
    if matrix is None:
        return caption(name_with_rate(noise, facts, rate), realised=realised)
    wrong = 1 - np.diag(matrix)
    noisy = int((wrong > 0).sum())
    where = f"in all {len(wrong)} classes" if noisy == len(wrong) else f"in {noisy} of {len(wrong)} classes"
    if rate is not None:
        said = noise.convention(facts)
        parts = [f"{rate:g} {where if rate else f'in {len(wrong)} classes'}" + (f" ({said})" if said else "")]
    elif not noisy:
        parts = ["no noise"]
    else:
        low, high = wrong[wrong > 0].min(), wrong.max()
        span = share_text(high) if np.isclose(low, high) else f"{share_text(low)} to {share_text(high)}"
        parts = [f"{span} {where}"]
    overall = float(wrong.mean()) if realised is None else realised
    return ", ".join([*parts, f"{share_text(overall)} {'expected ' if realised is None else ''}overall"])


def name_with_rate(noise: Noise, facts: NoiseFacts, rate: float | None) -> str:
    """What a caption calls a noise without a matrix, after its rate if it has one: "0.4 by image (raw pixels)"."""
    said = noise.convention(facts) or noise.name
    return said if rate is None else f"{rate:g} {said}"


def share_text(value: float) -> str:
    """Two to four decimals, as many as it takes."""
    text = f"{value:.4f}"
    return text[:-2] if text.endswith("00") else text.rstrip("0")
