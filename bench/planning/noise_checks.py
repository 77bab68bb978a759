"""What planning asks of a noise on the drawn labels: whether its file fits them, and how counts are rounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.planning.request import Request
from bench.planning.resolve_run import replicate_seeds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from datasets.interface import DataSet, Description
    from datasets.noise import Noise


def check_posterior(
    noise: Noise,
    request: Request,
    data_set: DataSet,
    description: Description,
    sha256: str,
    rates: Sequence[float | None],
) -> None:
    """Raise DataError where the noise's file is of other data, or of another training split than that of any seed.

    A data set with one split is looked at once, with the draw of the first seed.
    """
    from datasets.draw import draw_indices
    from datasets.noise import DrawnImages, ImageSource, NoiseFacts
    from datasets.splits import split_name

    facts = NoiseFacts.of(description)
    for seed in request.seeds if description.seeded_split else request.seeds[:1]:
        seeds = replicate_seeds(request, seed)
        clean, split_seed = data_set.outline(seeds["split_seed"]).labels, seeds["split_seed"]
        drawn = draw_indices(clean, len(facts.classes), request.train_size, request.imbalance, split_seed)
        source = ImageSource(drawn, len(clean), sha256, split_name(description.seeded_split, split_seed))
        for rate in rates:
            noise.check(DrawnImages(clean[drawn], facts, rate, seeds["noise_seed"], {}, request.draw, source))


def is_rounded_in_total(request: Request, class_counts: Sequence[int], shares: NDArray[np.float64] | None) -> bool:
    """Whether the numbers of wrong labels are rounded over all classes together, and that can make a difference.

    `class_counts` (K,) are the training images of each class, `shares` (K,) its shares of wrong labels, None
    for noise that doesn't go by classes.
    """
    import numpy as np

    from datasets.draw import draw_indices
    from datasets.noise.apportionment import rounds_in_total

    if request.draw != "exact" or shares is None:
        return False
    counts, classes = np.array(class_counts), len(class_counts)
    if request.train_size is not None or request.imbalance is not None:
        labels = np.repeat(np.arange(classes, dtype=np.int64), counts)
        counts = np.bincount(labels[draw_indices(labels, classes, request.train_size, request.imbalance, 0)])
        counts = np.pad(counts, (0, classes - len(counts)))
    quotas = counts * shares
    return rounds_in_total(int(counts.sum()), classes) and not np.allclose(quotas, np.round(quotas), rtol=0, atol=1e-9)
