"""What a change makes of a session: the same words for memory and file; on a server `lua/save.lua` has them."""

from __future__ import annotations

from msgspec import structs

from outlast.toolkit.sessions.rule import SessionRule
from outlast.toolkit.sessions.store import SessionChange, SessionRecord, SessionSaved

__all__ = ["changed", "is_live"]


def is_live(record: SessionRecord | None, now: float) -> bool:
    """Return whether there is a session."""
    return record is not None and not record.moved and record.until > now


def changed(record: SessionRecord | None, change: SessionChange, now: float) -> SessionSaved:
    """Return what a change of `record` at `now` comes to. Nothing is changed in place."""
    rule = change.rule
    if change.create:
        begun = SessionRecord(None, now, now, now + rule.absolute, now, {})
    elif record is not None and is_live(record, now):
        begun = record
    else:
        return SessionSaved("ended")
    had: dict[str, bytes] = {} if change.clear else begun.fields
    if not change.clear and any(each.checked and had.get(each.name) != each.expected for each in change.writes):
        return SessionSaved("conflict", begun)
    fields = dict(had)
    for write in change.writes:
        if write.value is None:
            fields.pop(write.name, None)
        else:
            fields[write.name] = write.value
    if _is_over(fields, rule) and (len(fields) > len(had) or size_of(fields) > size_of(had)):
        return SessionSaved("full")
    ends = begun.ends
    user, since = begun.user, begun.since
    if change.user is not None:
        user, since, ends = change.user, now, now + rule.absolute
    made = structs.replace(
        begun, user=user, since=since, seen=now, ends=ends, until=rule.until(now, ends), fields=fields
    )
    return SessionSaved("saved", made)


def size_of(fields: dict[str, bytes]) -> int:
    """Return the bytes of names and values."""
    return sum(len(name.encode()) + len(value) for name, value in fields.items())


def _is_over(fields: dict[str, bytes], rule: SessionRule) -> bool:
    return len(fields) > rule.max_fields or size_of(fields) > rule.max_bytes
