"""The standard streams of a command: closed ones, narrow encodings, and readers that have gone."""

from __future__ import annotations

import os
import sys
from typing import Final

__all__ = ["finish", "open_closed"]

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_closed() -> None:
    """Put /dev/null where a standard stream is closed, and escape what the encoding of stdout lacks.

    Call it before any file is opened: a file that gets the number of a closed stream would be written by each print,
    also by those of child processes.
    """
    for number, (name, mode) in enumerate(_STREAMS):
        if _is_closed(number):
            null = os.open(os.devnull, os.O_RDWR)  # it gets this number, the lowest that is free
            os.set_inheritable(null, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - as long as the process
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def _is_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False


def finish(code: int) -> int:
    """Write what is buffered, and return the exit code: 1 in place of 0 where stdout could not be written.

    A reader that has gone, as in `outlast jobs | head`, is no error.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout.fileno())
    except OSError as error:
        _discard(sys.stdout.fileno())
        sys.stderr.write(f"outlast: stdout cannot be written ({error.strerror}): the output is not complete\n")
        code = code or 1
    try:
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr.fileno())
    return code


def _discard(number: int) -> None:
    """Let what is still buffered go to /dev/null: else Python prints an error at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)
