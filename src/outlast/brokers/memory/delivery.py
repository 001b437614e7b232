"""Deliveries of the memory store: claim, settle, extend, forfeit, save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from outlast.brokers.memory.loads import take_loads
from outlast.brokers.memory.rows import HolderRow, JobRow, QueueData
from outlast.brokers.memory.tables import Tables
from outlast.core.codec import encode_value
from outlast.core.limits import nanos
from outlast.core.message import Delivery, Fence, Holder, rank_of
from outlast.core.select import QueueState, select, wanted
from outlast.core.settlement import Finish, Lost, Note, Park, Release, Reschedule, Settlement

__all__ = ["claim", "extend", "forfeit", "next_event", "save", "settle"]

FORGET: Final = 3600.0
"""Seconds after the lease lapsed for which a holder without jobs and lost fences is kept."""


def claim(tables: Tables, demand: Mapping[str, int], *, limit: int, holder: Holder, lease: float) -> list[Delivery]:
    """Hand out jobs that may run now, after making lapsed and due ones ready."""
    row = _renew(tables, holder, lease)
    lapse(tables)
    row.queues = set(demand)
    if holder.loads is not None and row.loads is not holder.loads:
        take_loads(tables, row, holder.loads, wanted(demand))
    now = tables.clock.time()
    open_queues: dict[str, QueueState] = {}
    for name, data in _wanted(tables, demand).items():
        if data.room(nanos(now)) != 0:
            tables.promote_successors(name)
            tables.promote(data)
            open_queues[name] = data
    picked, tables.last = select(open_queues, tables.last, limit, demand, now)
    if picked:
        tables.token += 1
    return [_hand_out(tables, tables.jobs[ticket.id], row) for ticket in picked]


def _wanted(tables: Tables, demand: Mapping[str, int]) -> dict[str, QueueData]:
    """Return the queues that may give jobs to a claim, as far as its demand and pauses tell."""
    found = {name: tables.queues.get(name) for name in wanted(demand)}
    return {name: data for name, data in found.items() if data is not None and not data.paused}


def _hand_out(tables: Tables, job: JobRow, row: HolderRow) -> Delivery:
    tables.detach(job, superseded=True)  # from a holder whose lease lapsed
    job.state, job.token, job.open, job.reason = "running", tables.token, True, None
    job.settled = 0
    job.holder = row
    row.jobs[job.message.id] = job
    tables.free_key(job, when="start")
    return Delivery(job.message, job.fence, job.attempt, job.crashes, job.begun)


def _renew(tables: Tables, holder: Holder, lease: float) -> HolderRow:
    """Start the lease of the holder from now; it holds its lapsed jobs again, unless their slot was taken."""
    until = tables.clock.monotonic() + lease
    row = tables.holders.get(holder.id)
    if row is None:
        row = tables.holders[holder.id] = HolderRow(holder.id, until)
    row.until = until
    for job in sorted(row.jobs.values(), key=_order):
        data = tables.queue(job.message.queue)
        if job.lapsed and data.may_begin(job.message.key):  # not claimed since: the holder was alive, so no crash
            tables.unready(job)
            data.begin(job.message.key)
            job.state, job.lapsed = "running", False
            job.crashes -= 1
        elif job.lapsed:
            tables.detach(job, superseded=True)  # another job has its slot now
    return row


def lapse(tables: Tables) -> None:
    """Make the jobs of lapsed leases ready; remove holders that have no jobs and no lost fences."""
    now = tables.clock.monotonic()
    any_lapsed = False
    for row in sorted((each for each in tables.holders.values() if each.until <= now), key=_id):
        for job in sorted(row.jobs.values(), key=_order):
            if job.state == "running":
                _interrupt(tables, job, crashed=True, lapsed=True)
                any_lapsed = True
        if not row.jobs and not row.lost and row.until + FORGET <= now:
            del tables.holders[row.id]
    if any_lapsed:
        tables.promote_successors()


def _interrupt(tables: Tables, job: JobRow, *, crashed: bool, lapsed: bool) -> None:
    """Take a running job from its holder: make it ready, or end it when it is to be cancelled.

    lapsed: the holder may still come back for it, and is notified if it cannot.
    """
    data = tables.queue(job.message.queue)
    data.end(job.message.key)
    if job.cancelling:
        tables.detach(job, superseded=lapsed)
        tables.end(job, "cancelled", "cancelled")
    else:
        job.crashes += crashed
        job.lapsed = lapsed
        tables.put(job, min(job.at, tables.clock.time()), "scheduled")
    data.freed(job.message.key)


def next_event(tables: Tables, demand: Mapping[str, int]) -> float | None:
    """Return the seconds until one of these queues may have a job, or a lease with jobs lapses."""
    wall = tables.clock.time()
    queues = _wanted(tables, demand)
    with_room = {name: data for name, data in queues.items() if data.room(nanos(wall)) != 0}
    due = tables.next_due(with_room.values())
    lapse_of_key = tables.next_lapse_of_key(with_room)
    waits = [] if due is None else [due - wall]
    waits += [] if lapse_of_key is None else [lapse_of_key - wall]
    looks = [data.next_look(nanos(wall)) for data in queues.values()]
    waits += [(look - nanos(wall)) / 1e9 for look in looks if look is not None]
    now = tables.clock.monotonic()
    waits += [
        row.until - now for row in tables.holders.values() if any(job.state == "running" for job in row.jobs.values())
    ]
    return max(0.0, min(waits)) if waits else None


def settle(tables: Tables, settlements: Sequence[Settlement]) -> list[Lost]:
    """Apply the settlements whose fence counts, in order; return the other fences."""
    lost: list[Lost] = []
    touched: set[str] = set()
    stopped: list[JobRow] = []
    for settlement in settlements:
        fence = settlement.fence
        job = _held(tables, fence)
        if job is not None:
            if job.state == "running":
                tables.queue(fence.queue).end(job.message.key)
                stopped.append(job)
            _apply(tables, job, settlement)
            touched.add(fence.queue)
        elif not tables.was_settled(fence):
            lost.append(Lost(fence, "superseded"))
    for job in stopped:
        tables.queue(job.message.queue).freed(job.message.key)
    if tables.successors:
        for name in {settlement.fence.queue for settlement in settlements}:
            tables.promote_successors(name)
    for name in touched:
        tables.prune(tables.queue(name))
    return lost


def _order(job: JobRow) -> int:
    return job.order


def _id(row: HolderRow) -> str:
    return row.id


def _held(tables: Tables, fence: Fence) -> JobRow | None:
    job = tables.jobs.get(fence.id)
    return job if job is not None and job.open and job.token == fence.token else None


def _apply(tables: Tables, job: JobRow, settlement: Settlement) -> None:
    if job.lapsed and isinstance(settlement, Release | Park):
        job.crashes -= 1  # its holder was alive, so the lapse was no crash; the count of an ended job is not used
    tables.unready(job)
    tables.detach(job, superseded=False)
    job.state = "running"
    job.settled = job.token
    match settlement:
        case Finish():
            job.add_failure(settlement.error)
            if settlement.usage is not None:
                job.notes["usage"] = encode_value(settlement.usage)
            if settlement.result is not None and settlement.result_ttl > 0 and settlement.state == "succeeded":
                job.result = settlement.result
                job.result_until = tables.clock.time() + settlement.result_ttl
            tables.end(job, settlement.state, settlement.reason)
            tables.follow(settlement.then)
        case Reschedule():
            job.add_failure(settlement.error)
            if not job.cancelling:  # else the job ends here, and there is no next attempt
                job.attempt, job.crashes = settlement.attempt, settlement.crashes
                job.ran = job.ran or settlement.begun
                job.rank = rank_of(settlement.at, job.message.priority)
            cancelling = job.cancelling
            _wait(tables, job, settlement.at, parked=False)
            if not cancelling:
                tables.follow(settlement.then)
        case Release():
            job.ran = job.ran or settlement.begun
            at = min(job.at, tables.clock.time()) if settlement.at is None else settlement.at
            job.reason = settlement.waits_for
            _wait(tables, job, at, parked=False)
        case Park():
            _wait(tables, job, settlement.at, parked=True)


def _wait(tables: Tables, job: JobRow, at: float, *, parked: bool) -> None:
    """Make the job wait again, or end it if it was cancelled while it ran."""
    if job.cancelling:
        tables.end(job, "cancelled", "cancelled")
    else:
        tables.put(job, at, "parked" if parked else "scheduled")


def extend(tables: Tables, holder: Holder, *, lease: float) -> list[Lost]:
    """Renew the lease; return the fences that were lost and those to cancel."""
    row = _renew(tables, holder, lease)
    lost = [Lost(fence, "superseded") for fence in row.lost]
    row.lost.clear()
    lost += [Lost(job.fence, "cancelled") for job in row.jobs.values() if job.cancelling]
    return lost


def save(tables: Tables, notes: Sequence[Note]) -> list[Lost]:
    """Keep the notes whose fence counts; return the other fences."""
    lost: list[Lost] = []
    for note in notes:
        job = _held(tables, note.fence)
        if job is None:
            lost.append(Lost(note.fence, "superseded"))
        else:
            job.notes[note.name] = note.value
    return lost


def forfeit(tables: Tables, holder: Holder, *, crashed: bool) -> int:
    """Make all running jobs of a dead holder ready; return how many it held."""
    row = tables.holders.pop(holder.id, None)
    if row is None:
        return 0
    count = 0
    for job in sorted(row.jobs.values(), key=_order):
        job.holder = None  # the fence stays open: a settlement that was sent before still counts
        if job.state != "running":
            job.lapsed = False
            continue
        count += 1
        _interrupt(tables, job, crashed=crashed, lapsed=False)
    tables.promote_successors()
    return count
