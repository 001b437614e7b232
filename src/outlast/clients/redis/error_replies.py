"""What a server's error replies mean: each becomes one of Outlast's errors, with its fix."""

from __future__ import annotations

import re
from typing import Final

from outlast.core.errors import StoreError, StoreFull, StoreUnavailable

__all__ = ["MOVING", "ErrorReply", "meaning"]

_WRAPPED: Final = re.compile(r"-(OOM|READONLY|MISCONF|NOREPLICAS|BUSY|NOPERM)\b")
"""How Redis 6.2 tells inside a script's own error what stopped it."""

MOVING: Final = frozenset({"READONLY", "MASTERDOWN", "LOADING", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK"})
"""Replies of a server that is not, or not yet, the one to ask; nothing was done."""


class ErrorReply(StoreError):
    """The server answered with an error; nothing was done. code: its first word, such as "NOSCRIPT"."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        found = _WRAPPED.search(text)
        self.code = found[1] if found else text.partition(" ")[0]


_UNAVAILABLE: Final = {
    "READONLY": "is a replica: name the master, or use 'redis+sentinel://', which follows it",
    "MASTERDOWN": "is a replica that has lost its master: name the master, or wait for the failover",
    "LOADING": "is starting and reads its file: it answers when it has read all of it",
    "CLUSTERDOWN": "belongs to a Cluster that misses some of its slots: see redis-cli --cluster check",
    "TRYAGAIN": "is handing its slots over: try again",
    "BUSY": "is busy with a script of somebody: see redis-cli SCRIPT KILL",
    "NOREPLICAS": "has too few replicas for its min-replicas-to-write, and takes no writes: bring them back",
    "MAXCLIENTS": "has as many connections as its maxclients allows: raise it, or run fewer processes",
}
_REFUSED: Final = {
    "NOAUTH": "asks for a password: give it in the url, 'redis://user:password@host'",
    "WRONGPASS": "does not know this user and password: correct them in the url",
    "NOPERM": "does not permit this to our user: give it the ACL of docs/redis.md",
}


def meaning(refusal: ErrorReply, shown: str) -> StoreError:
    """Return the error to raise for a refusal of the server `shown`; the refusal itself when it means nothing else."""
    code, text = refusal.code, str(refusal)
    if code == "ERR" and "max number of clients" in text:
        code = "MAXCLIENTS"
    if code == "ERR" and "DB index" in text:
        return StoreError(f"{shown} has no database of that number: correct it in the url, or use ?namespace= ({text})")
    if code == "OOM":
        return StoreFull(
            f"{shown} is at its maxmemory: raise it, or remove data; with noeviction nothing was lost ({text})"
        )
    if code == "MISCONF":
        return StoreFull(f"{shown} cannot write to its disk and takes no writes until it can: see its log ({text})")
    if code in _UNAVAILABLE:
        return StoreUnavailable(f"{shown} {_UNAVAILABLE[code]} ({text})")
    if code in _REFUSED:
        return StoreError(f"{shown} {_REFUSED[code]} ({text})")
    return refusal
