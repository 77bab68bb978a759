"""Out of memory in a step of training: the error names the batch, and a smaller one that does fit.

`explain_out_of_memory` wraps the steps of a pass; `largest_batch_that_fits` is the search, independent of training.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Thread

import torch

from bench.system.memory_limits import free_reserve, is_out_of_memory, process_memory_limit, use_one_heap
from bench.system.text import format_bytes
from bench.training.inference import release_memory
from bench.training.outcome import OutOfMemory

STEPS_UP = 3
"""After doubling has found a batch that fits: the number of times that a larger one is tried."""
FEWER = 16
"""The failed batch divided by this is the first size that is tried."""
ROUND = 8
ROOM = 8
"""The batch that is advised is smaller by this part of the largest that fitted: a new process may take some more."""


@contextmanager
def explain_out_of_memory(batch: int, device: torch.device, largest_batch: Callable[[], int | None]) -> Iterator[None]:
    """Turn an error of memory in here into OutOfMemory; `largest_batch()` then finds one that fits, or None."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        # the frames of the failed step hold its tensors
        traceback.clear_frames(error.__traceback__)
        usable = usable_bytes(device)
        within = "memory" if usable is None else f"the {format_bytes(usable)} that this process may use"
        reason = f"a batch of {batch} doesn't fit into {within}"
        fitting = largest_batch()
        if fitting is None:
            raise OutOfMemory(f"{reason}: type a smaller --batch-size or --model, or fewer --jobs") from None
        advised = with_room(fitting)
        raise OutOfMemory(
            f"{reason}; the largest that did is {fitting}: type --batch-size {advised}, or fewer --jobs"
        ) from None


def with_room(fitting: int) -> int:
    """The batch to advise where `fitting` fits, at least 1."""
    smaller = fitting - -(-fitting // ROOM)
    return max(1, smaller - smaller % ROUND if smaller > ROUND * ROUND else smaller)


def search_largest_batch(failed: int, device: torch.device, try_batch: Callable[[int], object]) -> int | None:
    """About the largest batch below `failed` that `try_batch` takes without an error."""

    def fits(batch: int) -> bool:
        error = error_in_thread(partial(try_batch, batch), device)
        if error is None:
            return True
        traceback.clear_frames(error.__traceback__)
        _drop_backward_pass()
        return False

    _drop_backward_pass()
    release_memory(device)
    free_reserve()
    use_one_heap()
    return largest_batch_that_fits(failed, fits)


def error_in_thread(work: Callable[[], object], device: torch.device) -> Exception | None:
    """Do `work` in a thread of its own, and return the error that it ended with, if any.

    A thread in which oneDNN found no memory for its code can make no code ever after: its generator keeps that error
    for each thread, and so would refuse every smaller batch as well.
    """
    errors: list[Exception] = []
    threads = torch.get_num_threads()

    def carry_out() -> None:
        torch.set_num_threads(threads)  # this and the next are a thread's own
        if device.type == "cuda":
            torch.cuda.set_device(device)
        try:
            work()
        except Exception as error:
            errors.append(error)

    thread = Thread(target=carry_out)
    try:
        thread.start()
    except RuntimeError as error:  # no room for its stack
        return error
    thread.join()
    return errors[0] if errors else None


def largest_batch_that_fits(failed: int, fits: Callable[[int], bool]) -> int | None:
    """About the largest batch below `failed` that fits; None where not even 2 does.

    Sizes double, from small to large, so that at most one attempt fails before there is an answer: memory that was
    filled to its limit may be too scattered afterwards for a batch that would have fit. Few sizes are tried for the
    same reason, since libraries keep code for each: from a FEWER-th on, and lower only where that is too much already.
    Then a few sizes between the largest that fitted and the smallest that failed.
    """
    halves = [failed >> times for times in range(failed.bit_length() - 2, 0, -1)]
    start = next((number for number, batch in enumerate(halves) if batch * FEWER >= failed), 0)
    fitting, above = None, failed
    for batch in halves[start:]:
        if not fits(batch):
            above = batch
            break
        fitting = batch
    if fitting is None:
        for batch in reversed(halves[:start]):
            if fits(batch):
                fitting = batch
                break
            above = batch
    if fitting is None:
        return None
    for _ in range(STEPS_UP):
        between = (fitting + above) // 2
        between -= between % ROUND if between > 2 * ROUND else 0
        if not fitting < between < above:
            break
        if fits(between):
            fitting = between
        else:
            above = between
    return fitting


def _drop_backward_pass() -> None:
    """Free the tensors of a failed backward pass, which autograd keeps until this thread's next one."""
    torch.zeros((), requires_grad=True).backward()  # type: ignore[no-untyped-call]


def usable_bytes(device: torch.device) -> int | None:
    """Bytes that this process may use on its device; None where no limit is known."""
    if device.type != "cuda":
        return process_memory_limit()
    free, total = torch.cuda.mem_get_info(device)
    share = torch.cuda.get_per_process_memory_fraction(device)
    return min(int(share * total), free + torch.cuda.memory_reserved(device))
