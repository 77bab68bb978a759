"""What a table of image files costs: to plan on it, once and again, to decode it into the cache, to go through it.

    python benchmarks/image_files.py                         # 60,000 JPEGs of 32 x 32 that it writes itself
    python benchmarks/image_files.py --table FILE.csv        # images that you have
    python benchmarks/image_files.py --images 200000 --steps plan,again

Every step is a process of its own, on a cache that the steps before it have filled. Prints wall and processor time, and
the memory that the step took beyond the process's own, with the machine beside them. Without --table some images have
several names: files are links to 1,000 different ones, so that as many as one likes are made in seconds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.files import workers
from datasets.interface import Options
from datasets.table import Table

DIFFERENT = 1000
"""Images that are written; the others are links to them."""
STEPS: dict[str, tuple[str, Callable[[Table], object], bool]] = {
    "plan": ("plan, the first time", lambda table: (table.content_hash(), table.outline(0), table.report()), False),
    "again": ("plan again", lambda table: (table.content_hash(), table.outline(0), table.report()), False),
    "decode": ("decode into the cache", lambda table: table.prepare(), False),
    "open": ("open what is cached", lambda table: table.load(0), False),
    "stream": ("go through, to decode later (--images disk)", lambda table: table.prepare(), True),
}


def write_images(folder: Path, count: int, size: int) -> Path:
    """A table of `count` JPEGs in ten classes."""
    noise = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (DIFFERENT, size, size, 3), dtype=np.uint8)
    (folder / "images").mkdir()
    rows = ["path,label,second_label"]
    for number in range(count):
        path = folder / f"images/{number:07}.jpg"
        if number < DIFFERENT:
            Image.fromarray(noise[number]).save(path, quality=90)
        else:
            os.link(folder / f"images/{number % DIFFERENT:07}.jpg", path)
        rows.append(f"images/{path.name},class {number % 10},class {(number + (number % 7 == 0)) % 10}")
    (folder / "index.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "index.csv"


def carry_out(step: str, file: str, cache: str, size: int | None) -> tuple[float, float, float]:
    """Seconds on the wall and on processors, and MiB beyond what the process had before."""
    _, work, stream = STEPS[step]
    table = Table(Options(cache=Path(cache), image_size=size, stream=stream), file)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, processors = time.perf_counter(), time.process_time()
    work(table)
    took = time.perf_counter() - wall, time.process_time() - processors
    return *took, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60_000, help="how many are written")
    parser.add_argument("--size", type=int, default=32, help="their height and width")
    parser.add_argument("--table", type=Path, help="a table in place of them")
    parser.add_argument("--image-size", type=int, help="bring them to this size")
    parser.add_argument("--steps", default=",".join(STEPS))
    asked = parser.parse_args()
    print(f"{workers()} cores of {platform.processor() or platform.machine()}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        file = asked.table or write_images(Path(folder), asked.images, asked.size)
        cache = str(Path(folder) / "cache")
        print(f"{'step':45} {'wall s':>8} {'processors s':>13} {'MiB':>7}")
        for step in asked.steps.split(","):
            with multiprocessing.get_context("spawn").Pool(1) as alone:
                wall, processors, memory = alone.apply(carry_out, (step, str(file), cache, asked.image_size))
            print(f"{STEPS[step][0]:45} {wall:8.2f} {processors:13.2f} {memory:7.0f}")


if __name__ == "__main__":
    main()
