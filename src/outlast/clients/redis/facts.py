"""The facts that a server reports, and the durability of an accepted write by them: never more than is known."""

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
"""The commands that read the facts, each separate: an ACL may deny one and permit another."""

OLDEST: Final = (6, 2)
"""The oldest supported Redis. Each Valkey is newer."""
HAS_WAITAOF: Final = (7, 2)
EVERY_SECOND: Final = 2.0
"""Seconds of writes that appendfsync everysec may lose in a power cut: one, and one more if the disk is slow.

If a sync takes longer than a second, a kill of the server alone may lose them too: the server continues to answer, for
up to 2 s, while the running sync blocks its writes to the file.
"""


class Facts(Struct, frozen=True, kw_only=True):
    """The facts of one server. None: it does not report this."""

    version: tuple[int, ...] = ()
    valkey: bool = False
    role: str | None = None
    replicas: int | None = None
    """Replicas that are connected and in sync."""
    append_only: bool | None = None
    fsync: str | None = None
    save: str | None = None
    policy: str | None = None
    """The maxmemory-policy."""
    maxmemory: int | None = None
    used_memory: int | None = None
    write_error: bool = False
    """Whether the last write of its append-only file, or its last snapshot, failed."""

    @property
    def version_shown(self) -> str:
        """The version with dots; "" if it is unknown."""
        return ".".join(map(str, self.version))


def facts_of(replies: Sequence[Any]) -> Facts:
    """Return the facts in the replies to PROBES; the reply of a denied command is its ErrorReply."""
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
    """Return why this server cannot keep data safely, with the fix; "" if it can, or does not report the reason.

    fsync: each write must be on its disk, and on the disks of its replicas, before it is accepted.
    """
    known = bool(facts.version) and not facts.valkey
    if known and facts.version < OLDEST:
        return f"is Redis {facts.version_shown}, which is too old: upgrade it to Redis 6.2 or newer, or to Valkey"
    if fsync and known and facts.version < HAS_WAITAOF:
        return f"is Redis {facts.version_shown}, and ?fsync=yes needs 7.2 (WAITAOF): upgrade it, or remove ?fsync=yes"
    if fsync and facts.append_only is False:
        return "has appendonly no, and ?fsync=yes needs it: CONFIG SET appendonly yes, on its replicas too"
    return ""


def durability_of(facts: Facts, replicas: int) -> tuple[Durability, float]:
    """Return the durability of an accepted write, and the seconds of writes that a crash beyond it may lose.

    replicas: the number of replicas that must have a write before it is accepted; 0 for none.
    """
    if replicas:
        return "replicated", 0.0  # else the write raised
    if facts.append_only is None or facts.policy is None:
        return "unknown", 0.0
    if facts.policy.startswith("allkeys") and facts.maxmemory != 0:
        return "memory", 0.0  # at its maxmemory the server removes accepted data
    if not facts.append_only:
        return "memory", 0.0  # snapshots, if any, lose all writes since the last one
    if facts.fsync == "always":
        return "os-crash", 0.0
    # The server writes to the operating system before it replies, so the end of its process loses nothing; with
    # everysec this holds only while the disk is fast enough.
    return "process-crash", EVERY_SECOND if facts.fsync == "everysec" else 30.0


_ORDER: Final[tuple[Durability, ...]] = ("unknown", "memory", "process-crash", "os-crash", "replicated")


def weakest(found: Iterable[tuple[Durability, float]]) -> tuple[Durability, float]:
    """Return the durability that all servers of a Cluster reach: the lowest level, with its widest window."""
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
