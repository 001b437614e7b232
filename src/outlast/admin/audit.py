"""Puts what operators do to a store into its journal: a store whose changing parts also add entries."""

from __future__ import annotations

import getpass
import logging
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, Final, NamedTuple

from msgspec import Struct

from outlast.core.errors import StoreError
from outlast.core.exchanges.values import Binding, Bindings, ExchangeEvent, Routed
from outlast.core.guards.record import GuardRecord, GuardsView
from outlast.core.history import Entry, entry
from outlast.core.moving import Adopt, Hold, Moved, Unhold
from outlast.core.schedule import (
    Amendment,
    EditSchedule,
    PauseSchedule,
    RemoveSchedule,
    RunSchedule,
    ScheduleAdvance,
    ScheduleEntry,
    ScheduleRecord,
)
from outlast.core.store.control import (
    Adjust,
    Answer,
    Cancel,
    Command,
    Control,
    Edit,
    Pause,
    Prune,
    Purge,
    Redrive,
    RunNow,
)
from outlast.core.store.exchanges import Exchanges
from outlast.core.store.guards import Guards
from outlast.core.store.history import History
from outlast.core.store.schedules import Schedules
from outlast.core.store.store import Store
from outlast.core.text import counted

__all__ = ["Audit", "AuditedChange", "audited", "change_of", "operator"]

_logger = logging.getLogger("outlast.audit")

EVERY: Final = 10.0
"""Seconds between two entries of one command that changes many jobs in many calls."""


class AuditedChange(NamedTuple):
    """A change in words. subject: of what. one: the job that it names, "" for none. detail: what else it says."""

    what: str
    subject: str = ""
    one: str = ""
    detail: str = ""


def change_of(command: Command) -> AuditedChange:
    """Return a command in words, without arguments of jobs, and without keys, which may name people."""
    match command:
        case Pause(queue, on):
            return AuditedChange("pause" if on else "resume", f"queue {queue}")
        case Adjust(queue, changes, reset):
            values = [f"{_setting(name)}={value}" for name, value in sorted(changes.items())]
            return AuditedChange(
                "set", f"queue {queue}", detail=", ".join([*values, *(f"{_setting(name)} reset" for name in reset)])
            )
        case Purge(id=None):
            states = f", {'/'.join(command.states)} only" if command.states else ""
            of_key = "the jobs of a key" if command.key is not None else "all jobs"
            return AuditedChange("purge", f"queue {command.queue}" if command.queue else "", detail=of_key + states)
        case Purge():
            return _of_job("purge", command.id or "")
        case Edit():
            named = ("args", "change", "priority", "run_at")
            given = [name for name in named if getattr(command, name) is not None]
            return _of_job("edit", command.id)._replace(detail=", ".join(given))
        case Cancel(id) | Redrive(id) | RunNow(id) | Hold(id) | Moved(id) | Unhold(id):
            return _of_job(_WORDS[type(command)], id)
        case Adopt(parcel):
            return _of_job("move in", parcel.message.id)
        case Prune():
            return AuditedChange("prune", detail="retention applied")


_WORDS: Final[dict[type, str]] = {
    Cancel: "cancel",
    Redrive: "redrive",
    RunNow: "run now",
    Hold: "hold for a move",
    Moved: "move out",
    Unhold: "put back",
}


def _setting(name: str) -> str:
    """Return the name of a setting without the key that `weights.KEY` names."""
    return "weights" if name.startswith("weights.") else name


def _of_job(what: str, id_: str) -> AuditedChange:
    return AuditedChange(what, f"queue {id_.partition('.')[0]}", id_)


def _of_schedule(change: Amendment) -> AuditedChange:
    match change:
        case EditSchedule(name, spec):
            return AuditedChange("edit", f"schedule {name}", detail="as declared" if spec is None else str(spec))
        case PauseSchedule(name, on):
            return AuditedChange("pause" if on else "resume", f"schedule {name}")
        case RunSchedule(name):
            return AuditedChange("run now", f"schedule {name}")
        case RemoveSchedule(name):
            return AuditedChange("remove", f"schedule {name}")


def operator() -> str:
    """Return who runs this process, as user@host; a user without a name is a number."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # in a container without a passwd file
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


class _Sum(Struct):
    """What one sort of change has done since its last entry."""

    changed: int = 0
    refused: int = 0
    first: str = ""


class Audit:
    """Adds up changes, and writes an entry for each sort of them: at its first call, every EVERY seconds, at `close`.

    So a command that changes a million jobs leaves some entries and not a million. An entry that cannot be written is
    logged: the change has been made, and is not undone.
    """

    def __init__(self, history: History, who: str) -> None:
        self._history = history
        self._who = who
        self._sums: dict[tuple[str, str, str], _Sum] = {}
        self._written: dict[tuple[str, str, str], float] = {}

    async def add(self, changes: Sequence[AuditedChange], answers: Sequence[tuple[bool, int]]) -> None:
        """Add changes, with whether each was made and how much it changed."""
        for change, (ok, changed) in zip(changes, answers, strict=True):
            key = (change.what, change.subject, change.detail)
            found = self._sums.setdefault(key, _Sum())
            found.first = found.first or change.one
            if ok:
                found.changed += changed
            else:
                found.refused += 1
        now = monotonic()
        await self._write([key for key in self._sums if now - self._written.get(key, -EVERY) >= EVERY])

    async def failed(self, changes: Sequence[AuditedChange], error: Exception) -> None:
        """Write entries for changes of which it is not known whether they were made."""
        unclear = list(dict.fromkeys(change._replace(one="") for change in changes))
        told = f"it may have been done: {type(error).__name__}"
        await self._enter([self._entry(each.what, each.subject, each.detail, told) for each in unclear])

    async def close(self) -> None:
        """Write the entries that are left."""
        await self._write(list(self._sums))

    async def _write(self, keys: Sequence[tuple[str, str, str]]) -> None:
        entries = []
        for key in keys:
            found = self._sums.pop(key)
            self._written[key] = monotonic()
            entries.append(self._entry(*key, _in_words(found)))
        await self._enter(entries)

    def _entry(self, what: str, subject: str, detail: str, done: str) -> Entry:
        return entry("audit", what, who=self._who, subject=subject, detail=", ".join(filter(None, (detail, done))))

    async def _enter(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        try:
            await self._history.add_entries(entries)
        except StoreError as error:
            for each in entries:
                _logger.warning("not in the journal: %s %s by %s: %s", each.what, each.subject, each.who, error)


def _in_words(found: _Sum) -> str:
    made = f"{found.changed:,} changed" if found.changed != 1 or found.refused else ""
    refused = f"{found.refused:,} refused" if found.refused else ""
    first = found.first and (f"first {found.first}" if found.changed + found.refused > 1 else found.first)
    return ", ".join(filter(None, (made, refused, first)))


class AuditedControl:
    """The part `Control` of a store, audited."""

    def __init__(self, control: Control, audit: Audit) -> None:
        self._control = control
        self._audit = audit

    async def apply(self, commands: Sequence[Command]) -> list[Answer]:
        """Apply the commands in order, and add them to the journal."""
        changes = [change_of(each) for each in commands]
        try:
            answers = await self._control.apply(commands)
        except StoreError as error:
            await self._audit.failed(changes, error)
            raise
        await self._audit.add(changes, [(each.ok, each.changed) for each in answers])
        return answers


class AuditedSchedules:
    """The part `Schedules` of a store; what operators change is audited."""

    def __init__(self, schedules: Schedules, audit: Audit) -> None:
        self._schedules = schedules
        self._audit = audit
        self.schedules = schedules.schedules
        self.amended = schedules.amended

    async def enlist(self, entries: Sequence[ScheduleEntry]) -> list[ScheduleRecord]:
        """Declare schedules."""
        return await self._schedules.enlist(entries)

    async def advance(self, moves: Sequence[ScheduleAdvance]) -> list[bool]:
        """Take ticks."""
        return await self._schedules.advance(moves)

    async def amend(self, changes: Sequence[Amendment]) -> list[Answer]:
        """Apply operators' changes in order, and add them to the journal."""
        answers = await self._schedules.amend(changes)
        await self._audit.add([_of_schedule(each) for each in changes], [(each.ok, each.changed) for each in answers])
        return answers


class AuditedGuards:
    """The part `Guards` of a store, for one who changes guards by hand only."""

    def __init__(self, guards: Guards, audit: Audit) -> None:
        self._guards = guards
        self._audit = audit
        self.guards_changed = guards.guards_changed

    async def guards(self) -> GuardsView:
        """Return all records by name."""
        return await self._guards.guards()

    async def swap(self, records: Sequence[GuardRecord]) -> list[bool]:
        """Store the records that follow on the stored revision, and add those to the journal."""
        stored = await self._guards.swap(records)
        made = [each for each, done in zip(records, stored, strict=True) if done]
        words = {"open": "hold open", "closed": "hold closed"}
        changes = [AuditedChange(words.get(each.held, "reset"), f"guard {each.name}") for each in made]
        await self._audit.add(changes, [(True, 1)] * len(changes))
        return stored


class AuditedExchanges:
    """The part `Exchanges` of a store; what is removed is audited."""

    def __init__(self, exchanges: Exchanges, audit: Audit) -> None:
        self._exchanges = exchanges
        self._audit = audit

    async def bindings(self) -> Bindings:
        """Return all exchanges and bindings."""
        return await self._exchanges.bindings()

    async def publish_events(self, events: Sequence[ExchangeEvent]) -> list[Routed]:
        """Keep the copies of events."""
        return await self._exchanges.publish_events(events)

    async def unbind(self, bindings: Sequence[Binding], exchanges: Sequence[str]) -> int:
        """Remove bindings and exchanges, and add that to the journal."""
        removed = await self._exchanges.unbind(bindings, exchanges)
        named = [counted(len(each), noun) for each, noun in ((bindings, "binding"), (exchanges, "exchange")) if each]
        await self._audit.add([AuditedChange("unbind", detail=", ".join(named))], [(True, removed)])
        return removed


@asynccontextmanager
async def audited(store: Store, who: str) -> AsyncIterator[Store]:
    """Give the store with its changing parts audited, where it keeps a journal; write what is left at the end."""
    if not store.keeps_history():
        yield store
        return
    audit = Audit(store.history, who)
    parts: dict[str, Any] = {"control": AuditedControl(store.control, audit)}
    if store.keeps_schedules():
        parts["schedules"] = AuditedSchedules(store.schedules, audit)
    if store.shares_guards():
        parts["guards"] = AuditedGuards(store.guards, audit)
    if store.keeps_exchanges():
        parts["exchanges"] = AuditedExchanges(store.exchanges, audit)
    try:
        yield store.having(**parts)
    finally:
        await audit.close()
