"""Memory that runs out shows as an error, and how much there is counts limits of containers and processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.system import memory_limits, text

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
BOUNDED = """
import numpy, resource
from bench.system import memory_limits
available = memory_limits.read_memory()[0]
before = resource.getrlimit(resource.RLIMIT_DATA)
with memory_limits.memory_bound():
    try:
        numpy.empty(available + (1 << 30), numpy.uint8)
        print("taken")
    except MemoryError as error:
        limit = memory_limits.process_memory_limit()
        print(memory_limits.is_out_of_memory(error), limit <= memory_limits.read_memory()[1])
    numpy.ones(1 << 20)
    memory_limits.free_reserve()
print(resource.getrlimit(resource.RLIMIT_DATA) == before)
"""
OWN = """
import resource
from bench.system import memory_limits
resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, resource.RLIM_INFINITY))
with memory_limits.memory_bound():
    memory_limits.free_reserve()
    print(resource.getrlimit(resource.RLIMIT_DATA)[0] == 1 << 30, memory_limits.process_memory_limit() == 1 << 30)
"""


def printed(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_what_says_that_memory_ran_out() -> None:
    with pytest.raises(RuntimeError) as failed:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert memory_limits.is_out_of_memory(failed.value)
    assert memory_limits.is_out_of_memory(MemoryError()) and memory_limits.is_out_of_memory(
        torch.OutOfMemoryError("CUDA out of memory.")
    )
    assert memory_limits.is_out_of_memory(RuntimeError("could not create a primitive"))
    for error in (None, RuntimeError("size mismatch"), ValueError("out of memory"), KeyboardInterrupt()):
        assert not memory_limits.is_out_of_memory(error)


@LINUX
def test_an_allocation_that_nothing_backs_fails_instead_of_being_promised() -> None:
    assert printed(BOUNDED).split() == ["True", "True", "True"]


@LINUX
def test_a_users_own_limit_stays() -> None:
    assert printed(OWN) == "True True"


def test_the_kernels_kills_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "events").write_text("oom 3\noom_kill 2\n")
    (tmp_path / "vmstat").write_text("oom_kill 40\noom_kill_disable 1\n")
    files = [str(tmp_path / name) for name in ("events", "vmstat", "missing")]
    monkeypatch.setattr(memory_limits, "KILLS", files)
    assert memory_limits.count_oom_kills() == 42


def test_file_pages_of_a_container_count_as_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = memory_limits.read_memory()
    if found is None:
        pytest.skip("this system doesn't say how much memory there is")
    limit, used, cached = found[0] // 2, found[0] // 4, found[0] // 8
    for name, value in (("max", limit), ("current", used)):
        (tmp_path / name).write_text(str(value))
    monkeypatch.setattr(memory_limits, "CGROUPS", ((str(tmp_path / "max"), str(tmp_path / "current")),))
    assert memory_limits.read_memory() == (limit - used, limit)
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")
    assert memory_limits.read_memory() == (limit - used + cached, limit)


def test_bytes_in_words() -> None:
    assert [text.format_bytes(count) for count in (5 << 20, 3 << 29)] == ["5 MiB", "1.5 GiB"]
