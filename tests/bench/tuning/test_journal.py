"""The journal of studies: an unfinished last line is cut off, any other damage is named."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from bench.system.errors import UsageError
from bench.tuning.study.storage import open_storage

JOURNAL = "tuning/studies.journal"


def use(root: Path, trials: int = 2) -> int:
    """Tell some trials of a study; returns how many the storage has then."""
    study = optuna.create_study(storage=open_storage(None, root, 60), study_name="s", load_if_exists=True)
    for _ in range(trials):
        trial = study.ask({"q": optuna.distributions.FloatDistribution(0, 1)})
        trial.set_user_attr("slot", 1)
        study.tell(trial, trial.params["q"])
    return len(study.get_trials())


@pytest.mark.parametrize("missing", [1, 2, 25, 60])
def test_an_unfinished_last_line_is_cut_off(missing: int, tmp_path: Path) -> None:
    use(tmp_path)
    path = tmp_path / JOURNAL
    whole = path.read_bytes()
    path.write_bytes(whole[:-missing])
    before = use(tmp_path, 0)
    assert use(tmp_path) == before + 2 and use(tmp_path) == before + 4
    for line in path.read_bytes().splitlines():
        json.loads(line)


def test_a_journal_of_half_a_line_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "tuning").mkdir()
    (tmp_path / JOURNAL).write_bytes(b'{"op_code":0,"wor')
    assert use(tmp_path) == 2


DAMAGES: dict[str, Callable[[list[bytes]], None]] = {
    "unknown operation": lambda lines: lines.insert(2, b'{"op_code":77,"worker_id":"x"}'),
    "no operation": lambda lines: lines.insert(2, b"{}"),
    "a list": lambda lines: lines.insert(2, b"[]"),
    "not UTF-8": lambda lines: lines.insert(2, b"\xff\xfe{}"),
    "half a line inside": lambda lines: lines.insert(2, lines[2][: len(lines[2]) // 2]),
    "a huge number": lambda lines: lines.insert(2, b'{"op_code":4,"worker_id":"x","study_id":' + b"9" * 5000 + b"}"),
    "another study": lambda lines: lines.insert(2, b'{"op_code":2,"worker_id":"x","study_id":0,"user_attr":3}'),
}


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("later", [False, True])
def test_other_damage_is_named(how: str, later: bool, tmp_path: Path) -> None:
    use(tmp_path)
    path = tmp_path / JOURNAL
    lines = path.read_bytes().splitlines()
    storage = open_storage(None, tmp_path, 60) if later else None
    if later:  # another process spoils what this one has read up to here
        changed = list(lines)
        DAMAGES[how](changed)
        path.write_bytes(b"\n".join([*lines, *changed, b""]))
    else:
        DAMAGES[how](lines)
        path.write_bytes(b"\n".join([*lines, b""]))
    with pytest.raises(UsageError, match=r"studies.journal is damaged.*Move it aside") as error:
        if storage is None:
            use(tmp_path)
        else:
            storage.get_all_studies()
    assert len(str(error.value)) < 400 + 2 * len(str(tmp_path))


def test_a_random_bit_stops_nothing_without_a_word(tmp_path: Path) -> None:
    use(tmp_path)
    path, chance = tmp_path / JOURNAL, random.Random(3)
    whole = path.read_bytes()
    for _ in range(40):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            use(tmp_path, 1)
        except UsageError as error:
            assert "is damaged" in str(error)
