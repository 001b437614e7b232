"""Hand-outs of the memory store: claim, settle, extend, forfeit, save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from outlast.brokers.memory.rows import HolderRow, JobRow
from outlast.brokers.memory.tables import Tables, add_failure
from outlast.core.codec import encode_value
from outlast.core.limits import nanos
from outlast.core.message import Delivery, Fence, Holder, rank_of
from outlast.core.select import QueueState as Turns
from outlast.core.select import select
from outlast.core.settlement import Finish, Lost, Note, Park, Release, Reschedule, Settlement

__all__ = ["claim", "extend", "forfeit", "next_event", "save", "settle"]

FORGET: Final = 3600.0
"""Seconds after its lease that a holder which has nothing left to be told may still come back as who it was."""


def claim(tables: Tables, demand: Mapping[str, int], *, limit: int, holder: Holder, lease: float) -> list[Delivery]:
    """Hand out what may run now, after what lapsed or became due is ready again."""
    held_by = _renew(tables, holder, lease)
    lapse(tables)
    held_by.asked = set(demand)
    now = tables.clock.time()
    open_lines: dict[str, Turns] = {}
    for name in demand:
        line = tables.lines.get(name)
        if line is not None and not line.paused and demand[name] > 0 and line.room(nanos(now)) != 0:
            tables.promote(line)
            open_lines[name] = line
    picked, tables.last = select(open_lines, tables.last, limit, demand, now)
    if picked:
        tables.token += 1
    return [_hand_out(tables, tables.jobs[place.id], held_by) for place in picked]


def _hand_out(tables: Tables, job: JobRow, held_by: HolderRow) -> Delivery:
    tables.let_go(job, superseded=True)  # from a holder whose lease had lapsed
    job.state, job.token, job.open, job.lapsed = "running", tables.token, True, False
    job.settled = 0
    job.holder = held_by
    held_by.jobs[job.message.id] = job
    tables.free_key(job, when="start")
    return Delivery(job.message, job.fence, job.attempt, job.crashes)


def _renew(tables: Tables, holder: Holder, lease: float) -> HolderRow:
    """Let the holder's one lease run from now, and hold again what had lapsed."""
    until = tables.clock.monotonic() + lease
    held_by = tables.holders.get(holder.id)
    if held_by is None:
        held_by = tables.holders[holder.id] = HolderRow(holder.id, until)
    held_by.until = until
    for job in sorted(held_by.jobs.values(), key=_order):
        line = tables.line(job.message.queue)
        if job.lapsed and line.may_begin(job.message.key):  # nobody took it since: its holder was alive after all
            tables.lift(job)
            line.begin(job.message.key)
            job.state, job.lapsed = "running", False
            job.crashes -= 1
        elif job.lapsed:
            tables.let_go(job, superseded=True)  # its slot is somebody else's now
    return held_by


def lapse(tables: Tables) -> None:
    """Make ready what lapsed leases held; forget holders that have nothing left to be told."""
    now = tables.clock.monotonic()
    for held_by in sorted((each for each in tables.holders.values() if each.until <= now), key=_id):
        for job in sorted(held_by.jobs.values(), key=_order):
            if job.state != "running":
                continue
            line = tables.line(job.message.queue)
            line.end(job.message.key)
            if job.cancelling:
                tables.let_go(job, superseded=True)
                tables.end(job, "cancelled", "cancelled")
            else:
                job.crashes += 1
                job.lapsed = True
                tables.put(job, min(job.at, tables.clock.time()), "scheduled")
            line.freed(job.message.key)
        if not held_by.jobs and not held_by.lost and held_by.until + FORGET <= now:
            del tables.holders[held_by.id]


def next_event(tables: Tables) -> float | None:
    """Return the seconds until a job becomes due, a limit lets one begin, or a lease with jobs under it lapses."""
    due = tables.next_due()
    wall = tables.clock.time()
    waits = [] if due is None else [due - wall]
    looks = [line.next_look(nanos(wall)) for line in tables.lines.values() if not line.paused]
    waits += [(look - nanos(wall)) / 1e9 for look in looks if look is not None]
    now = tables.clock.monotonic()
    waits += [
        held_by.until - now
        for held_by in tables.holders.values()
        if any(job.state == "running" for job in held_by.jobs.values())
    ]
    return max(0.0, min(waits)) if waits else None


def settle(tables: Tables, settlements: Sequence[Settlement]) -> list[Lost]:
    """Apply what still counts, in order; return the rest."""
    lost: list[Lost] = []
    touched: set[str] = set()
    rested: list[JobRow] = []
    for settlement in settlements:
        fence = settlement.fence
        job = _held(tables, fence)
        if job is not None:
            if job.state == "running":
                tables.line(fence.queue).end(job.message.key)
                rested.append(job)
            _apply(tables, job, settlement)
            touched.add(fence.queue)
        elif not tables.was_settled(fence):
            lost.append(Lost(fence, "superseded"))
    for job in rested:
        tables.line(job.message.queue).freed(job.message.key)
    for name in touched:
        tables.prune(tables.line(name))
    return lost


def _order(job: JobRow) -> int:
    return job.order


def _id(held_by: HolderRow) -> str:
    return held_by.id


def _held(tables: Tables, fence: Fence) -> JobRow | None:
    job = tables.jobs.get(fence.id)
    return job if job is not None and job.open and job.token == fence.token else None


def _apply(tables: Tables, job: JobRow, settlement: Settlement) -> None:
    if job.lapsed and isinstance(settlement, Release | Park):
        job.crashes -= 1  # its holder was alive after all; for one that ended it no longer matters
    tables.lift(job)
    tables.let_go(job, superseded=False)
    job.state = "running"
    job.settled = job.token
    match settlement:
        case Finish():
            add_failure(job, settlement.error)
            if settlement.usage is not None:
                job.notes["usage"] = encode_value(settlement.usage)
            if settlement.result is not None and settlement.result_ttl > 0 and settlement.state == "succeeded":
                job.result = settlement.result
                job.result_until = tables.clock.time() + settlement.result_ttl
            tables.end(job, settlement.state, settlement.reason)
            tables.publish(settlement.then, bounded=False)
        case Reschedule():
            add_failure(job, settlement.error)
            if not job.cancelling:  # else it ends here, and there is no other attempt
                job.attempt, job.crashes = settlement.attempt, settlement.crashes
                job.rank = rank_of(settlement.at, job.message.priority)
            cancelling = job.cancelling
            _wait(tables, job, settlement.at, parked=False)
            if not cancelling:
                tables.publish(settlement.then, bounded=False)
        case Release():
            at = min(job.at, tables.clock.time()) if settlement.at is None else settlement.at
            _wait(tables, job, at, parked=False)
        case Park():
            _wait(tables, job, settlement.at, parked=True)


def _wait(tables: Tables, job: JobRow, at: float, *, parked: bool) -> None:
    """Let the job wait again, unless it was cancelled while it ran."""
    if job.cancelling:
        tables.end(job, "cancelled", "cancelled")
    else:
        tables.put(job, at, "parked" if parked else "scheduled")


def extend(tables: Tables, holder: Holder, *, lease: float) -> list[Lost]:
    """Renew the lease; tell what is lost or to be cancelled."""
    held_by = _renew(tables, holder, lease)
    lost = [Lost(fence, "superseded") for fence in held_by.lost]
    held_by.lost.clear()
    lost += [Lost(job.fence, "cancelled") for job in held_by.jobs.values() if job.cancelling]
    return lost


def save(tables: Tables, notes: Sequence[Note]) -> list[Lost]:
    """Keep notes of the fences that count."""
    lost: list[Lost] = []
    for note in notes:
        job = _held(tables, note.fence)
        if job is None:
            lost.append(Lost(note.fence, "superseded"))
        else:
            job.notes[note.name] = note.value
    return lost


def forfeit(tables: Tables, holder: Holder, *, crashed: bool) -> int:
    """Make ready all that a dead holder held; return how many jobs it held."""
    held_by = tables.holders.pop(holder.id, None)
    if held_by is None:
        return 0
    count = 0
    for job in sorted(held_by.jobs.values(), key=_order):
        job.holder = None  # the fence stays open: a settlement on its way still counts
        if job.state != "running":
            job.lapsed = False
            continue
        count += 1
        line = tables.line(job.message.queue)
        line.end(job.message.key)
        if job.cancelling:
            tables.let_go(job, superseded=False)
            tables.end(job, "cancelled", "cancelled")
        else:
            job.crashes += crashed
            tables.put(job, min(job.at, tables.clock.time()), "scheduled")
        line.freed(job.message.key)
    return count
