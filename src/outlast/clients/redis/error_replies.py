"""Turns a server's error replies into Outlast's errors, each with its fix."""

from __future__ import annotations

import re
from typing import Final

from outlast.core.errors import StoreError, StoreFull, StoreRefused, StoreUnavailable

__all__ = ["ErrorReply", "meaning"]

_WRAPPED: Final = re.compile(r"-(OOM|READONLY|MISCONF|NOREPLICAS|BUSY|NOPERM)\b")
"""Redis 6.2 puts the code of the refused command inside the script's error."""


class ErrorReply(StoreError):
    """An error reply of the server; nothing was done. code: its first word, such as "NOSCRIPT"."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        found = _WRAPPED.search(text)
        self.code = found[1] if found else text.partition(" ")[0]


_UNAVAILABLE: Final = {
    "READONLY": "is a replica: name the master, or use 'redis+sentinel://', which follows it",
    "MASTERDOWN": "is a replica that lost its master: name the master, or wait for the failover",
    "LOADING": "is starting and loads its data: wait until it has loaded all",
    "CLUSTERDOWN": "belongs to a Cluster without some of its slots: see redis-cli --cluster check",
    "TRYAGAIN": "is moving its slots to another node: try again",
    "BUSY": "is busy with a long script: see redis-cli SCRIPT KILL",
    "NOREPLICAS": "has fewer replicas than its min-replicas-to-write and refuses writes: start the replicas again",
    "MAXCLIENTS": "has as many connections as its maxclients allows: raise it, or run fewer processes",
}
_REFUSED: Final = {
    "NOAUTH": "requires a password: give it in the url, 'redis://user:password@host'",
    "WRONGPASS": "rejects this user and password: correct them in the url",
    "NOPERM": "denies this command to the user of the url: give it the ACL of docs/redis.md",
}


def meaning(refusal: ErrorReply, shown: str) -> StoreError:
    """Return the error to raise for an error reply of the server `shown`: the reply itself if it has no own meaning."""
    code, text = refusal.code, str(refusal)
    if code == "ERR" and "max number of clients" in text:
        code = "MAXCLIENTS"
    if code == "ERR" and "DB index" in text:
        return StoreError(f"{shown} has no database of this number: correct it in the url, or use ?namespace= ({text})")
    if code == "OOM":
        return StoreFull(
            f"{shown} is at its maxmemory: raise it, or remove data; with noeviction nothing was lost ({text})"
        )
    if code == "MISCONF":
        return StoreFull(f"{shown} cannot write to its disk and refuses writes until it can: see its log ({text})")
    if code in _UNAVAILABLE:
        return StoreUnavailable(f"{shown} {_UNAVAILABLE[code]} ({text})")
    if code in _REFUSED:
        return (StoreError if code == "NOPERM" else StoreRefused)(f"{shown} {_REFUSED[code]} ({text})")
    return refusal
