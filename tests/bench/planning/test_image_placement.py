"""Where images go: by their size, what is free, and how many runs share it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.planning import image_placement
from bench.planning.image_placement import choose_placement, largest_border
from bench.system import hardware

GIB = 2**30
ORDER = ("device", "host", "disk")


@pytest.fixture(autouse=True)
def sixteen_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 16 GiB to spare and a card with 8."""
    card: dict[str, Any] = {"device": "cuda:0", "name": "card", "free_bytes": 8 * GIB, "total_bytes": 80 * GIB}
    monkeypatch.setattr(hardware, "read_memory", lambda: (16 * GIB, 64 * GIB))
    monkeypatch.setattr(hardware, "list_gpus", lambda: [card, card | {"free_bytes": 40 * GIB}])


def where(gib: float, device: str = "cpu", copies: int = 1, pad: int = 0, requested: str = "auto") -> str:
    """The placement of so many GiB of images of 32 x 32."""
    return choose_placement(requested, int(gib * GIB) // (32 * 32), (32, 32, 1), pad, device, copies).where


@pytest.mark.parametrize(
    ("gib", "device", "copies", "expected"),
    [
        (8, "cpu", 1, "device"),
        (8.1, "cpu", 1, "disk"),
        (8, "cpu", 2, "host"),
        (4, "cuda", 1, "device"),
        (4.1, "cuda", 1, "host"),
        (4.1, "cuda:1", 1, "device"),
        (8.1, "cuda", 1, "disk"),
        (3, "cuda", 2, "host"),
    ],
)
def test_by_size(gib: float, device: str, copies: int, expected: str) -> None:
    assert where(gib, device, copies) == expected


def test_the_border_counts_on_the_device_only() -> None:
    assert where(7, pad=4) == "host" and where(7) == "device"
    assert largest_border(["crop4+flip", "crop6+flip+autoaugment", "none"]) == 6
    assert largest_border(["none", "flip"]) == 0


def test_what_was_typed_counts() -> None:
    for requested in ORDER:
        assert where(100, requested=requested) == requested
        assert where(0.001, requested=requested) == requested


def test_the_reason_says_how_much_there_is() -> None:
    assert choose_placement("auto", 9 * GIB, (1, 1, 1), 0, "cpu", 1).why == (
        "9.0 GiB of images, and 8.0 GiB of the memory may be used for them; 9.0 GiB without their borders, and "
        "8.0 GiB of memory"
    )


def test_a_system_that_does_not_say_is_taken_to_have_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "read_memory", lambda: None)
    assert where(1e6) == "device"
    assert image_placement.describe_placement("cpu").startswith("in memory up to")


@given(st.floats(0, 50), st.floats(0, 50), st.sampled_from(["cpu", "cuda", "cuda:1"]), st.integers(1, 8))
def test_more_images_never_come_nearer(first: float, second: float, device: str, copies: int) -> None:
    less, more = sorted((first, second))
    assert ORDER.index(where(less, device, copies)) <= ORDER.index(where(more, device, copies))
    assert ORDER.index(where(first, device)) <= ORDER.index(where(first, device, copies))
