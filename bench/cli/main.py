"""The command line: carries out what was typed, and turns what went wrong into one line and a code.

Standard output carries the result only; progress and notes go to standard error. Exit codes: 0 every run asked for
has a result; 1 some run failed; 2 the request was wrong, and nothing was run or written; 130 and 143 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from cyclopts.exceptions import CycloptsError

from bench.cli.app import app
from bench.system.errors import UsageError

EXIT_SOME_FAILED = 1
EXIT_WRONG_REQUEST = 2
EXIT_INTERRUPTED = 130
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})
"""What keeps a file from being written through no fault of ours."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line; returns the exit code. Errors that a user can mend are one or two lines."""
    try:
        code = app(arguments, print_error=False, exit_on_error=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        return _wrong(_in_words(error))
    except UsageError as error:
        return _wrong(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has seen enough; keep the interpreter from flushing into the closed pipe again
        _forget_output()
        return 0
    except Exception as error:
        if _is_data_error(error):
            return _wrong(str(error))
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            _forget_output()
            where = error.filename or "standard output"
            sys.stderr.write(f"error: {where}: {error.strerror}. What was finished before is safe\n")
            return EXIT_SOME_FAILED
        raise


def _forget_output() -> None:
    """Keep the interpreter from flushing, at its end, what standard output couldn't take."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _wrong(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return EXIT_WRONG_REQUEST


def _is_data_error(error: Exception) -> bool:
    """Whether this is a DataError, asked without importing `datasets` (and NumPy) for every mistake."""
    interface: Any = sys.modules.get("datasets.interface")
    return interface is not None and isinstance(error, interface.DataError)


def _in_words(error: CycloptsError) -> str:
    """cyclopts' own message on one line, and where to read on."""
    command = " ".join(error.command_chain or ())
    text = " ".join(str(error).split())
    return f"{text} See: python -m bench {f'{command} ' if command else ''}--help"
