"""Where memory runs out in inference: it goes on in smaller pieces."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable

import torch
from torch import Tensor

from bench.machine import give_pages_back
from bench.memory import ran_out


class Pieces:
    """How many images go through a network at once: all that come together, and fewer once memory has run out.

    Each image's result is its own, so pieces change no more than the last bits that a library's order of sums does.
    """

    def __init__(self) -> None:
        self.most: int | None = None

    def join(self, output: Callable[..., Tensor], *rows: Tensor) -> Tensor:
        """`output(*rows)` with the first axis cut into as many pieces as it takes, joined again.

        Raises what `output` raises where not even one row fits.
        """
        total, at = len(rows[0]), 0
        pieces: list[Tensor] = []
        while at < total:
            size = total - at if self.most is None else min(self.most, total - at)
            try:
                pieces.append(output(*(each[at : at + size] for each in rows)))
                at += size
                continue
            except Exception as error:
                if not ran_out(error) or size < 2:
                    raise
                traceback.clear_frames(error.__traceback__)
            give_back(rows[0].device)
            self.most = size // 2
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def give_back(device: torch.device) -> None:
    """Give memory that nothing uses any more back to whoever asks next."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    else:
        give_pages_back()
