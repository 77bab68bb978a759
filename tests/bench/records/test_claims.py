"""One process at a time has a run, and a dead one's claim doesn't stand in the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.records import claims
from bench.records.store import Store

RUN = "0123456789abcdef"

HOLD = """
import sys, time
from pathlib import Path
from bench.records.store import Store
with Store(Path(sys.argv[1])).claim(sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has claimed RUN."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path, RUN], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_claimed_run_is_nobody_elses_until_it_is_given_up(tmp_path: Path) -> None:
    store = Store(tmp_path)
    claim = store.claim(RUN)
    assert claim is not None and store.is_claimed(RUN)
    assert store.claim(RUN) is None and Store(tmp_path).claim(RUN) is None
    with claim:
        assert store.claim(RUN) is None
    assert not store.is_claimed(RUN) and list(store.folder(RUN).iterdir()) == []
    assert store.claim(RUN) is not None


def test_a_living_process_keeps_its_claim(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    assert Store(tmp_path).is_claimed(RUN) and Store(tmp_path).claim(RUN) is None


@pytest.mark.parametrize("buried", [True, False], ids=["buried", "zombie"])
def test_a_dead_process_leaves_its_claim_at_once(buried: bool, holder: subprocess.Popen[str], tmp_path: Path) -> None:
    if not buried and not Path("/proc/self/stat").exists():
        pytest.skip("without /proc a zombie can't be told from a living process; its lease ends it")
    holder.kill()
    if buried:
        holder.wait()
    else:
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    store = Store(tmp_path)
    assert not store.is_claimed(RUN)
    assert store.claim(RUN) is not None and store.claim(RUN) is None


def test_what_was_left_between_a_record_and_the_end_of_its_claim_is_removed(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    store.checkpoint_path(RUN).write_bytes(b"weights")
    store.tidy(RUN)
    assert store.is_claimed(RUN) and store.checkpoint_path(RUN).exists()  # its owner lives
    holder.kill()
    holder.wait()
    store.tidy(RUN)
    assert list(store.folder(RUN).iterdir()) == []


def test_a_stranger_with_the_dead_owners_number_does_not_keep_the_claim(tmp_path: Path) -> None:
    if claims.process_start(os.getpid()) == "":
        pytest.skip("this system doesn't tell when a process started; the lease ends such a claim")
    store = Store(tmp_path)
    assert store.claim(RUN) is not None
    path = store.folder(RUN) / "claim.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"started": "1"}))
    assert store.claim(RUN) is not None


@pytest.mark.parametrize(
    "content", ['{"host": "elsewhere", "pid": 1}', "", "[]"], ids=["another host", "empty", "list"]
)
def test_a_claim_whose_owner_cannot_be_asked_ends_with_its_lease(content: str, tmp_path: Path) -> None:
    store = Store(tmp_path, lease=10.0)
    path = store.folder(RUN) / "claim.json"
    path.parent.mkdir()
    path.write_text(content)
    assert store.is_claimed(RUN) and store.claim(RUN) is None
    os.utime(path, (time.time() - 9, time.time() - 9))
    assert store.claim(RUN) is None
    os.utime(path, (time.time() - 11, time.time() - 11))
    assert not store.is_claimed(RUN) and store.claim(RUN) is not None
    assert [entry.name for entry in path.parent.iterdir()] == ["claim.json"]


@pytest.mark.parametrize("content", ['{"host": "elsewhere", "pid": 1}', ""], ids=["another host", "empty"])
def test_a_claim_of_the_future_ends_where_it_does_not_move(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: clock[0])
    store = Store(tmp_path, lease=10.0)
    path = store.folder(RUN) / "claim.json"
    path.parent.mkdir()
    path.write_text(content)
    ahead = time.time() + 2 * 86400
    os.utime(path, (ahead, ahead))
    assert store.is_claimed(RUN) and store.claim(RUN) is None
    clock[0] += 9
    assert store.is_claimed(RUN)
    os.utime(path, (ahead + 1, ahead + 1))  # its owner lives, with a clock of its own
    clock[0] += 9
    assert store.is_claimed(RUN) and "last seen 0 s ago" in store.claim_holder(RUN)
    clock[0] += 11
    assert "last seen 11 s ago" in store.claim_holder(RUN)
    assert not store.is_claimed(RUN)
    claims._seen.clear()  # as another process, which hasn't watched it
    assert store.claim(RUN) is not None


def test_a_folder_in_the_place_of_a_claim_is_set_aside(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (store.folder(RUN) / "claim.json").mkdir(parents=True)
    assert not store.is_claimed(RUN)
    claim = store.claim(RUN)
    assert claim is not None and (store.folder(RUN) / "claim.corrupt-1.json").is_dir()


def test_a_claim_says_who_holds_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.claim_holder(RUN) == ""
    assert store.claim(RUN) is not None
    assert f"process {os.getpid()}, last seen" in store.claim_holder(RUN)


def test_a_heartbeat_keeps_the_lease_and_tells_of_its_loss(tmp_path: Path) -> None:
    store = Store(tmp_path, lease=0.3)
    path = store.folder(RUN) / "claim.json"
    claim = store.claim(RUN)
    assert claim is not None
    with claim:
        first = path.stat().st_mtime_ns
        deadline = time.monotonic() + 10
        while path.stat().st_mtime_ns == first and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime_ns > first and not claim.lost
        other = json.dumps({"host": "elsewhere", "pid": 1, "token": "x"})
        path.write_text(other)
        while not claim.lost and time.monotonic() < deadline:
            time.sleep(0.01)
        assert claim.lost
    assert path.read_text() == other, "a claim that was lost isn't ours to give up"


def test_a_suspended_process_finds_its_claim_lost(tmp_path: Path) -> None:
    store = Store(tmp_path, lease=0.3)
    claim = store.claim(RUN)
    assert claim is not None  # and not entered: nobody touches it, as if the process stood still
    path = store.folder(RUN) / "claim.json"
    path.write_text(json.dumps(claim.owner | {"host": "elsewhere"}))
    claim.owner["host"] = "elsewhere"
    os.utime(path, (time.time() - 1, time.time() - 1))
    assert store.claim(RUN) is not None
    claim.touch()
    assert claim.lost


def test_many_that_find_one_stale_claim_get_it_once(tmp_path: Path) -> None:
    store = Store(tmp_path, lease=10.0)
    for turn in range(20):
        run_id = f"{turn:016x}"
        path = store.folder(run_id) / "claim.json"
        path.parent.mkdir()
        path.write_text('{"host": "elsewhere", "pid": 1}')
        os.utime(path, (0, 0))
        gate, won = threading.Barrier(4), []

        def contend(run_id: str = run_id, gate: threading.Barrier = gate, won: list[object] = won) -> None:
            gate.wait()
            won.append(Store(tmp_path, lease=10.0).claim(run_id))

        threads = [threading.Thread(target=contend) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(claim is not None for claim in won) == 1


def test_a_claim_that_is_given_up_while_it_is_judged_goes_to_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One gives up, a second finds the claim gone, and a third claims before the second has acted on that."""
    store = Store(tmp_path)
    first = store.claim(RUN)
    assert first is not None
    judge, judged, taken = claims.is_stale_claim, [], []

    def slow(path: Path, lease: float) -> bool:
        first.release()
        stale = judge(path, lease)
        if judged:
            taken.append(claims._create(path, lease))
        judged.append(stale)
        return stale

    monkeypatch.setattr(claims, "is_stale_claim", slow)
    second = store.claim(RUN)
    holders = [claim for claim in (second, *taken) if claim is not None]
    assert len(holders) == 1 and holders[0]._is_ours()


def test_claiming_clears_what_a_killed_writer_left(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.folder(RUN).mkdir()
    (store.folder(RUN) / ".record.json.123-0.tmp").write_text("half")
    store.checkpoint_path(RUN).write_text("kept")
    assert store.claim(RUN) is not None
    assert sorted(entry.name for entry in store.folder(RUN).iterdir()) == ["checkpoint.pt", "claim.json"]


WRITE = """
import sys, time
from pathlib import Path
from bench.system.files import open_atomically
with open_atomically(Path(sys.argv[1])) as file:
    print("open", flush=True)
    time.sleep(60)
"""


def test_claiming_spares_what_another_process_is_writing(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("this system doesn't tell who has a file open")
    store = Store(tmp_path)
    path = store.record_path(RUN)
    with subprocess.Popen([sys.executable, "-c", WRITE, path], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "open\n"
        claim = store.claim(RUN)
        assert claim is not None and len(list(path.parent.glob(".record.json.*.tmp"))) == 1
        claim.release()
        writer.kill()
    assert store.claim(RUN) is not None
    assert list(path.parent.glob(".record.json.*.tmp")) == []


def test_no_claim_is_left_where_it_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            Store(tmp_path).claim(RUN)
    assert Store(tmp_path).claim(RUN) is not None


def test_the_owner_of_a_signalled_process_group_is_dead(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    assert claims.process_start(holder.pid) not in (None, "") or not Path("/proc/self/stat").exists()
    holder.send_signal(signal.SIGTERM)
    holder.wait()
    assert claims.process_start(holder.pid) is None
