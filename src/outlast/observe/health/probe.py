"""Asks the supervisors of this user over their local sockets, for `outlast health`. Standard library only.

It runs every few seconds for as long as a service lives, beside jobs that need the CPU.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from typing import NamedTuple

from outlast.observe.health.places import found_sockets

__all__ = ["QUESTIONS", "Asked", "ask", "main", "parsed"]

QUESTIONS = ("live", "ready", "started")
_LONGEST = 65536


class Asked(NamedTuple):
    """The options of `outlast health`. path: of one socket; None for all of this user's."""

    question: str = "live"
    path: str | None = None
    timeout: float = 5.0


def parsed(words: Sequence[str]) -> Asked | None:
    """Return the options of a plain command line; None for one that needs the parser of the other commands."""
    values = {"question": "live", "path": None, "timeout": 5.0}
    rest = iter(words)
    for word in rest:
        name, given, value = word.partition("=")
        if name in ("--ready", "--started") and not given:
            if values["question"] not in ("live", name[2:]):
                return None  # the parser refuses both together
            values["question"] = name[2:]
            continue
        if name not in ("--socket", "--timeout"):
            return None
        if not given:
            value = next(rest, "")
        if name == "--socket" and value:
            values["path"] = value
            continue
        try:
            values["timeout"] = float(value)
        except ValueError:
            return None
        if not 0 < values["timeout"] < 3600:  # type: ignore[operator]
            return None
    return Asked(**values)  # type: ignore[arg-type]


def main(asked: Asked) -> int:
    """Ask, print one line for each answer, and return the exit code: 0 when all answers are good, else 1."""
    paths = found_sockets() if asked.path is None else [asked.path]
    answers = [(path, *ask(path, asked.question, asked.timeout)) for path in paths]
    # A supervisor that was killed leaves its socket: it counts only where no other one answers.
    heard = [each for each in answers if each[1] is not None]
    if not heard:
        why = answers[-1][2] if answers else "no supervisor of this user is running"
        return _tell(f"outlast health: {why}: start `outlast worker`, or name its socket with --socket\n", good=False)
    good = all(fine for _, fine, _ in heard)
    _tell("".join(f"{text}\n" for _, _, text in heard), good=good)
    return 0 if good else 1


def ask(path: str, question: str, timeout: float) -> tuple[bool | None, str]:
    """Return whether the answer is good, and its text; None when there is no supervisor any more."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            try:
                connection.connect(path)
            except (ConnectionRefusedError, FileNotFoundError):
                return None, f"no supervisor listens on {path}"
            connection.sendall(f"{question}\n".encode())
            answer = _read(connection)
    except TimeoutError:
        return False, f"the supervisor has not answered within {timeout:g} s"
    except OSError as error:
        return False, f"the supervisor cannot be asked on {path}: {error.strerror or error}"
    good, _, text = answer.partition(" ")
    return good == "ok", text.rstrip("\n") or "the supervisor ended the connection without an answer"


def _read(connection: socket.socket) -> str:
    parts, size = [], 0
    while size < _LONGEST and (part := connection.recv(4096)):
        parts.append(part)
        size += len(part)
    return b"".join(parts).decode(errors="replace")


def _tell(text: str, *, good: bool) -> int:
    """Print what was heard; a stream that is closed changes no answer."""
    stream = sys.stdout if good else sys.stderr
    try:
        if stream is not None:
            stream.write(text)
            stream.flush()
    except (OSError, ValueError):
        return 0 if good else 1
    return 0 if good else 1
