"""The facts of a request, with a display of what takes time to read."""

from __future__ import annotations

from bench import look_up as lookup
from bench.facts import Facts
from bench.machine import Hardware
from bench.request import Request


def look_up(request: Request, hardware: Hardware | None = None) -> Facts:
    """`bench.look_up.look_up`, watched. `hardware`: the cluster's, where the runs don't run on this machine."""
    from bench.progress import open_display

    display = open_display()
    try:
        return lookup.look_up(request, display.decoding, hardware)
    finally:
        display.end()
