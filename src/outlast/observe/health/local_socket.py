"""The local socket on which a supervisor answers `outlast health`: one word in, one line out."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

from outlast.core.text import short
from outlast.observe.health.places import folders, found_sockets, made_folder, name_of
from outlast.observe.health.views import HealthAnswer

__all__ = ["answering"]

_logger = logging.getLogger("outlast.supervisor")
_PATIENCE: Final = 5.0
"""Seconds that a client has for its question, and to read the answer."""
_LONGEST: Final = 64
_LONGEST_LINE: Final = 1000
_LONGEST_PATH: Final = 96
"""Bytes of a path; with what `_bound` adds to it, the systems allow 103 or 107."""

Answers = Callable[[str], HealthAnswer | None]


@asynccontextmanager
async def answering(answers: Answers, path: str | None = None) -> AsyncIterator[str | None]:
    """Answer on a socket within the block; yield its path, None when there can be none, which the log says.

    answers: the answer to one of probe.QUESTIONS; None for a word that is none. path: None for a place in which
    `outlast health` looks.
    """

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_PATIENCE):
                question = (await reader.readuntil(b"\n")).decode(errors="replace").strip()
                writer.write(_line(answers(question)))
                await writer.drain()
        writer.close()

    server, place = None, ""
    try:
        place = path or _free_place()
        sock = _bound(place)
        server = await asyncio.start_unix_server(handle, sock=sock, limit=_LONGEST)
    except OSError as error:
        _logger.warning(
            "there is no socket for `outlast health`, which will fail; jobs run all the same: %s (%s): make one of "
            "these folders writable, or name a socket with --health-socket",
            place or " and ".join(folders()),
            error.strerror or error,
        )
    try:
        yield place if server is not None else None
    finally:
        if server is not None:
            server.close()
            _remove(place)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        Path(path).unlink()


def _line(answer: HealthAnswer | None) -> bytes:
    if answer is None:
        return b"bad the question is none of live, ready, started\n"
    return f"{'ok' if answer.ok else 'bad'} {answer.state}: {short(answer.text, _LONGEST_LINE)}\n".encode()


def _bound(path: str) -> socket.socket:
    """Return a listening socket at this path; take the place of one on which nothing listens any more."""
    if Path(path).exists() and not _is_left(path):
        raise FileExistsError(errno.EADDRINUSE, "another supervisor listens there")
    # Under its name only when it listens: another supervisor that starts would take it for one that was left.
    new = Path(f"{path}.new")
    new.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(new))
        new.chmod(0o600)
        sock.listen(64)
        sock.setblocking(False)
        new.rename(path)
    except OSError:
        sock.close()
        raise
    return sock


def _free_place() -> str:
    """Return a path in the first folder that can be used; remove the sockets of supervisors that were killed."""
    for path in found_sockets():
        if _is_left(path):
            Path(path).unlink(missing_ok=True)
    reason = OSError("no folder")
    for folder in folders():
        try:
            path = f"{folder}/{name_of(os.getpid(), uuid4().hex[:8])}"
            if len(os.fsencode(path)) > _LONGEST_PATH:
                reason = OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
                continue
            if made_folder(folder) and os.access(folder, os.W_OK):
                return path
            reason = PermissionError(f"{folder} is not this user's own, or others may write it")
        except OSError as error:
            reason = error
    raise reason


def _is_left(path: str) -> bool:
    """Whether nothing listens on the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
