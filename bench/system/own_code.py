"""The lines of a user's own code that an error came from: what its author needs to read first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from traceback import walk_tb


def find_own_line(error: BaseException, *owners: Iterable[str | Path]) -> str | None:
    """The place in own code where an error came from, such as "plugins/mine.py, line 15"; None: in none of it.

    Each of `owners` lists files and folders of own code; the first list with a line in the traceback counts, and of its
    lines the last one. The file is named from the working directory if it lies in that.
    """
    lines = list(_lines(error))
    for owner in owners:
        places = [_resolve(place) for place in owner]
        for file, number in lines:
            if any(file == place or place in file.parents for place in places):
                return f"{name_from_here(file)}, line {number}"
    return None


def name_from_here(file: str | Path) -> str:
    """A file's name from the working directory if it lies in that, else its whole path."""
    path = _resolve(file)
    with suppress(ValueError, OSError):
        return path.relative_to(Path.cwd()).as_posix()
    return str(path)


def _lines(error: BaseException) -> Iterator[tuple[Path, int]]:
    """(file, line) of an error and of what caused it, the innermost first."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if isinstance(link, SyntaxError) and link.filename and link.lineno:
            yield _resolve(link.filename), link.lineno
        frames = [(frame.f_code.co_filename, number) for frame, number in walk_tb(link.__traceback__)]
        for file, number in reversed(frames):
            yield _resolve(file), number
        link = link.__cause__ or link.__context__


def _resolve(path: str | Path) -> Path:
    with suppress(OSError, RuntimeError):
        return Path(path).resolve()
    return Path(path)
