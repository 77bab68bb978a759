"""Blocks in the cache folder: whatever is killed, damaged or asked for twice, the arrays come out the same."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.features import block_files
from bench.features.block_files import Array, Block, BlockFiles
from bench.system.errors import UsageError

SHAPES = {"train": (10, 3, 4), "test": (5, 1, 4)}
QUESTION = {"backbone": "timm:tiny", "size": 8}


def expected(part: str) -> Array:
    samples, views, length = SHAPES[part]
    return np.arange(samples * views * length, dtype=np.float16).reshape(SHAPES[part]) + (part == "test") * 0.5


def made(block: Block) -> Array:
    return expected(block.part)[block.start : block.stop]


def count_calls(calls: list[Block]) -> Callable[[Block], Array]:
    def make(block: Block) -> Array:
        calls.append(block)
        return made(block)

    return make


def files_in(folder: Path) -> BlockFiles:
    return BlockFiles(folder, QUESTION, SHAPES, 4)


def silent(done: int) -> None:
    """Say nothing."""


def check_arrays(files: BlockFiles) -> None:
    arrays = files.open()
    assert all(np.array_equal(arrays[part], expected(part)) for part in SHAPES)
    assert not any(array.flags.writeable for array in arrays.values())


def test_blocks_are_made_once(tmp_path: Path) -> None:
    calls: list[Block] = []
    counts: list[int] = []
    files_in(tmp_path / "f").complete(count_calls(calls), counts.append)
    assert calls == files_in(tmp_path / "f").blocks and counts == [0, 4, 8, 10, 14, 15]
    files_in(tmp_path / "f").complete(count_calls(calls), counts.append)
    assert len(calls) == 5
    check_arrays(files_in(tmp_path / "f"))
    assert files_in(tmp_path / "f").nbytes == sum(path.stat().st_size for path in (tmp_path / "f").glob("*.f16"))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stop=st.integers(0, 5), cut=st.integers(0, 80), lost=st.integers(0, 200))
def test_a_kill_at_any_moment_costs_the_blocks_that_were_not_written(
    stop: int, cut: int, lost: int, tmp_path: Path
) -> None:
    """After `stop` blocks, with the last bytes of the journal and of a part's numbers not on the disk."""
    folder = tmp_path / "f"
    shutil.rmtree(folder, ignore_errors=True)

    def make(block: Block) -> Array:
        if files.blocks.index(block) >= stop:
            raise KeyboardInterrupt
        return made(block)

    files = files_in(folder)
    try:
        files.complete(make, silent)
    except KeyboardInterrupt:
        assert stop < 5
    for path, gone in ((folder / "journal.jsonl", cut), (folder / "train.f16", lost)):
        if path.exists():
            path.write_bytes(path.read_bytes()[: max(0, path.stat().st_size - gone)])
    files_in(folder).complete(made, silent)
    assert not files_in(folder).damaged()
    check_arrays(files_in(folder))


def test_damage_is_found_by_checksums_and_mended(tmp_path: Path) -> None:
    files = files_in(tmp_path / "f")
    files.complete(made, silent)
    data = bytearray(files.path("train").read_bytes())
    data[2 * 3 * 4 * 5] ^= 1  # one bit of the sixth sample
    files.path("train").write_bytes(data)
    assert files.damaged() == [Block("train", 4, 8)]
    files.forget(files.damaged())
    calls: list[Block] = []
    files.complete(count_calls(calls), silent)
    assert calls == [Block("train", 4, 8)] and not files.damaged()
    check_arrays(files)


def test_a_folder_of_something_else_is_named(tmp_path: Path) -> None:
    files_in(tmp_path / "f").complete(made, silent)
    other = BlockFiles(tmp_path / "f", {**QUESTION, "backbone": "timm:other"}, SHAPES, 4)
    with pytest.raises(UsageError, match=r"are of something else \(backbone differ\): delete this folder"):
        other.written()
    (tmp_path / "f" / "manifest.json").write_text("{")
    with pytest.raises(UsageError, match="are of something else"):
        files_in(tmp_path / "f").complete(made, silent)


def test_no_room_is_said_before_anything_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(block_files.shutil, "disk_usage", lambda path: usage)
    calls: list[Block] = []
    with pytest.raises(UsageError, match=r"features take 0 MiB, and 0 MiB are free in .* LNL_BENCH_CACHE"):
        files_in(tmp_path / "f").complete(count_calls(calls), silent)
    assert not calls


def test_a_disk_that_fills_up_meanwhile_is_said_and_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files, write = files_in(tmp_path / "f"), block_files.os.pwrite

    def fill(handle: int, data: bytes, offset: int) -> int:
        if offset > 0:
            raise OSError(28, "No space left on device")
        return write(handle, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(block_files.os, "pwrite", fill)
        with pytest.raises(UsageError, match="features take"):
            files.complete(made, silent)
    assert [*files.written()] == [Block("train", 0, 4)]
    files.complete(made, silent)
    check_arrays(files)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="features can't be kept in"):
        files_in(tmp_path / "file" / "f").complete(made, silent)


def test_two_at_once_share_the_work_and_the_second_shows_how_far_the_first_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(block_files, "SECONDS_BETWEEN_LOOKS", 0.01)
    calls: list[Block] = []
    begun, seen = threading.Event(), threading.Event()

    def slow(block: Block) -> Array:
        calls.append(block)
        if block.part == "test":
            begun.set()
            seen.wait(60)
        return made(block)

    first = threading.Thread(target=files_in(tmp_path / "f").complete, args=(slow, silent))
    first.start()
    begun.wait(60)
    shown: list[int] = []

    def report(done: int) -> None:
        shown.append(done)
        seen.set()

    files_in(tmp_path / "f").complete(slow, report)
    first.join()
    assert shown[0] == 10 and len(calls) == 5
    check_arrays(files_in(tmp_path / "f"))
