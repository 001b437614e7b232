"""What a server says of itself, and what an accepted write survives there: never more than is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from outlast.clients.redis.error_replies import ErrorReply
from outlast.core.durability import Durability

__all__ = ["PROBES", "Facts", "durability_of", "facts_of", "fault_of", "weakest"]

PROBES: Final[Sequence[Sequence[str]]] = (
    ("INFO", "server"),
    ("INFO", "replication"),
    ("INFO", "memory"),
    ("INFO", "persistence"),
    ("CONFIG", "GET", "appendonly"),
    ("CONFIG", "GET", "appendfsync"),
    ("CONFIG", "GET", "save"),
)
"""What is asked, each on its own: an ACL may deny one and permit another."""

OLDEST: Final = (6, 2)
"""The oldest Redis that is served. Each Valkey is newer."""
HAS_WAITAOF: Final = (7, 2)
EVERY_SECOND: Final = 2.0
"""Seconds of work that appendfsync everysec may lose in a power cut: one, and one more behind a slow disk.

Behind one that takes longer than a second, a kill of the server alone may lose them too: it goes on answering, for up
to 2 s, while a sync under way keeps it from writing.
"""


class Facts(Struct, frozen=True, kw_only=True):
    """One server. None: it does not tell."""

    version: tuple[int, ...] = ()
    valkey: bool = False
    role: str | None = None
    replicas: int | None = None
    """Replicas that are connected and keep up."""
    append_only: bool | None = None
    fsync: str | None = None
    save: str | None = None
    policy: str | None = None
    """maxmemory-policy."""
    maxmemory: int | None = None
    used_memory: int | None = None
    write_error: bool = False
    """The last write of its append-only file, or its last snapshot, has failed."""

    @property
    def version_shown(self) -> str:
        """The version as people write it; "" when it is not told."""
        return ".".join(map(str, self.version))


def facts_of(replies: Sequence[Any]) -> Facts:
    """Return the facts in the replies to PROBES, where a refused one is the ErrorReply itself."""
    info: dict[str, str] = {}
    for reply in replies[:4]:
        if not isinstance(reply, ErrorReply):
            info |= _pairs(reply.decode(errors="replace").splitlines())
    config: dict[str, str] = {}
    for reply in replies[4:]:
        if not isinstance(reply, ErrorReply):
            texts = [each.decode() for each in reply]
            config |= dict(zip(texts[::2], texts[1::2], strict=True))
    version = info.get("valkey_version") or info.get("redis_version", "")
    return Facts(
        version=tuple(int(part) for part in version.split(".") if part.isdecimal()),
        valkey="valkey_version" in info,
        role=info.get("role"),
        replicas=_replicas(info) if "role" in info else None,
        append_only=config["appendonly"] == "yes" if "appendonly" in config else None,
        fsync=config.get("appendfsync"),
        save=config.get("save"),
        policy=info.get("maxmemory_policy"),
        maxmemory=_number(info, "maxmemory"),
        used_memory=_number(info, "used_memory"),
        write_error="err" in (info.get("aof_last_write_status"), info.get("rdb_last_bgsave_status")),
    )


def fault_of(facts: Facts, *, fsync: bool = False) -> str:
    """Return why this server cannot keep data safely, with the fix; "" when it can, or does not tell what is missing.

    fsync: each write is to be on its disk, and on its replicas', before it is accepted.
    """
    known = bool(facts.version) and not facts.valkey
    if known and facts.version < OLDEST:
        return f"is Redis {facts.version_shown}, which is too old: upgrade it to Redis 6.2 or newer, or to Valkey"
    if fsync and known and facts.version < HAS_WAITAOF:
        return f"is Redis {facts.version_shown}, and ?fsync=yes needs 7.2 (WAITAOF): upgrade it, or leave that out"
    if fsync and facts.append_only is False:
        return "has appendonly no, and ?fsync=yes needs it: CONFIG SET appendonly yes, on its replicas too"
    return ""


def durability_of(facts: Facts, replicas: int) -> tuple[Durability, float]:
    """Return what an accepted write survives, and how many seconds of writes a crash beyond that may lose.

    replicas: how many are waited for before a write is said to be accepted; 0 for none.
    """
    if replicas:
        return "replicated", 0.0  # or the call has raised
    if facts.append_only is None or facts.policy is None:
        return "unknown", 0.0
    if facts.policy.startswith("allkeys") and facts.maxmemory != 0:
        return "memory", 0.0  # at its maxmemory the server removes what was accepted
    if not facts.append_only:
        return "memory", 0.0  # snapshots, if any, lose all since the last one
    if facts.fsync == "always":
        return "os-crash", 0.0
    # Written to the system before the answer, so that the end of the server's process loses nothing: with everysec
    # as long as the disk keeps up.
    return "process-crash", EVERY_SECOND if facts.fsync == "everysec" else 30.0


_ORDER: Final[tuple[Durability, ...]] = ("unknown", "memory", "process-crash", "os-crash", "replicated")


def weakest(found: Iterable[tuple[Durability, float]]) -> tuple[Durability, float]:
    """Return what holds for all servers of a Cluster: the least of them, with the widest window."""
    levels = list(found) or [("unknown", 0.0)]
    least = min(levels, key=lambda each: _ORDER.index(each[0]))[0]
    return least, max(window for level, window in levels if level == least)


def _pairs(lines: Iterable[str]) -> dict[str, str]:
    return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}


def _replicas(info: Mapping[str, str]) -> int:
    return sum(
        "state=online" in value for name, value in info.items() if name.startswith("slave") and name[5:].isdecimal()
    )


def _number(info: Mapping[str, str], name: str) -> int | None:
    return int(info[name]) if info.get(name, "").isdecimal() else None
