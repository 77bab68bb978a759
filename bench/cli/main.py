"""The command line's entry: one command carried out, and errors as one line and an exit code.

Standard output carries the result only; progress and notes go to standard error. Exit codes: 0 every run of the
request has a result; 1 some run failed; 2 the request was wrong, and nothing was run or written; 130 and 143
interrupted.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from cyclopts.exceptions import CycloptsError

from bench.cli.app import app
from bench.system.console import print_note
from bench.system.errors import UsageError
from bench.system.own_code import find_own_line

EXIT_SOME_FAILED = 1
EXIT_WRONG_REQUEST = 2
EXIT_INTERRUPTED = 130
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})
"""Errors of the operating system that keep a file from being written, without a fault in this code."""
WRONG_NAME = frozenset({errno.ENAMETOOLONG, errno.ELOOP})
MOST_OF_A_NAME = 80
LONGEST_LINE = 1200
"""Letters of a line of a message."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line and return the exit code. Errors that a user can mend are one or two lines."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack the letters: that is no reason to lose a result
            stream.reconfigure(errors="replace")
    try:
        code = app(arguments, print_error=False, exit_on_error=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        return _wrong(_one_line(error))
    except UsageError as error:
        return _wrong(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of standard output has closed it, as `head` does: that is no failure. Without the replacement the
        # interpreter would flush into the closed pipe again at its end.
        _forget_output()
        return 0
    except Exception as error:
        if _is_data_error(error):
            return _wrong(str(error))
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            _forget_output()
            target = error.filename or "standard output"
            sys.stderr.write(f"error: {target}: {error.strerror}. What was finished before is safe\n")
            return EXIT_SOME_FAILED
        if isinstance(error, OSError) and error.errno in WRONG_NAME:
            return _wrong(f"{str(error.filename)[:MOST_OF_A_NAME]}...: {error.strerror}. Give a shorter name")
        place = _line_of_plugin(error)
        if place is not None:
            line = " ".join(f"{type(error).__name__}: {error}".split())
            return _wrong(f"{place}: {line}. Mend the file, or leave --plugin out")
        raise


def _forget_output() -> None:
    """Replace standard output, so that the interpreter's flush at its end can't fail on what was left unwritten."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _wrong(message: str) -> int:
    print_note(f"error: {_shorten_lines(message)}")
    return EXIT_WRONG_REQUEST


def _shorten_lines(message: str) -> str:
    """A message without the middle of lines that nobody would read: what was typed or read may be of any length."""
    return "\n".join(
        line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE * 3 // 4]} ... {line[-LONGEST_LINE // 4 :]}"
        for line in message.split("\n")
    )


def _is_data_error(error: Exception) -> bool:
    """Whether an error is a DataError, without importing `datasets`, which would load NumPy for every mistake."""
    interface: Any = sys.modules.get("datasets.interface")
    return interface is not None and isinstance(error, interface.DataError)


def _line_of_plugin(error: Exception) -> str | None:
    """The line of a user's plugin that an error came from; None where no plugin is in it."""
    registry: Any = sys.modules.get("bench.registry")
    return None if registry is None else find_own_line(error, registry.plugins())


def _one_line(error: CycloptsError) -> str:
    """The message of cyclopts on one line, and the help to read."""
    command = " ".join(error.command_chain or ())
    text = " ".join(str(error).split())
    return f"{text} See: python -m bench {f'{command} ' if command else ''}--help"
