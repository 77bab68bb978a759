"""No name of a table, a column or a path becomes a link, an image, code or a tag on a board."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.leaderboard.render.markdown import escape_markdown, fence_code
from bench.reporting.command_line import command_line, quote_word

ACTIVE = [
    r"(?<!\\)\]\(",  # a link or an image
    r"(?<!\\)\]\[",  # one by reference
    r"^\[[^\]]*\]:",  # the definition of a reference
    r"(?<!\\)!\[",
    r"(?<!\\)`",
    r"(?<!\\)<",
    r"(?<!\\)\|",
]


@given(st.text(st.sampled_from("[]()!`<>|:a \n\\*_#"), max_size=20))
def test_nothing_in_a_name_is_markup(text: str) -> None:
    escaped = escape_markdown(text)
    assert "\n" not in escaped
    plain = re.sub(r"`[0-9a-f]+`", "", escaped.replace("\\\\", "x"))
    assert not any(re.search(pattern, plain) for pattern in ACTIVE), escaped


def test_what_boards_have_always_shown_stays() -> None:
    for text in (
        "gce [q=0.7]",
        "gce [q=0.7] (lr 0.1)",
        "sym 0.4 (10 classes): all",
        "a_b!",
        "synthetic[classes=100]",
        "a [b=1]: c",
    ):
        assert escape_markdown(text) == text
    assert escape_markdown("[x](javascript:alert(1)).csv") == r"[x]\(javascript:alert(1)).csv"
    assert escape_markdown("![p](http:h)") == r"\![p]\(http:h)"


def test_a_fence_is_longer_than_any_in_the_code() -> None:
    assert fence_code("a", "sh") == "```sh\na\n```"
    assert fence_code("a\n```\n````b", "sh").splitlines()[::4] == ["`````sh", "`````"]


@pytest.mark.parametrize("text", ["a\nb", "it's\ta\n```\n<img>", "\x1b[31m", "ä b", "a\\\n'b"])
def test_a_word_stands_in_one_line_and_means_the_same(text: str) -> None:
    word = quote_word(text)
    assert word.isprintable()
    said = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert said.stdout.decode() == text


def test_a_published_command_does_not_say_where_a_home_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    options = {
        "data_root": str(tmp_path / "home" / "my data"),
        "plugin": [str(tmp_path / "work" / "m.py"), "/opt/n.py"],
    }
    assert shlex.split(command_line(options))[4:] == [
        *("--data-root", "~/my data", "--plugin", "m.py", "--plugin", "/opt/n.py")
    ]
    assert "--data-root ~/'my data'" in command_line(options)
