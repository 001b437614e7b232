"""Settles jobs: applies what holders report, where their fence still counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from outlast.brokers.sqlite.bounds import weigh_ends
from outlast.brokers.sqlite.key_states import ending_keys, freed, put
from outlast.brokers.sqlite.publish import publish
from outlast.brokers.sqlite.retention import keep_within
from outlast.brokers.sqlite.succession import promote_successors
from outlast.brokers.sqlite.transaction import (
    DEAD,
    PARKED,
    PRIORITIES,
    READY,
    RUNNING,
    SCHEDULED,
    STATE_NUMBER,
    Transaction,
    array_of,
    json_of,
)
from outlast.core.message import Failure, Fence, Message, rank_of
from outlast.core.policy import DEFAULTS
from outlast.core.settlement import Exists, Finish, Lost, Note, Park, Release, Reschedule, Settlement

__all__ = ["save", "settle"]

_kinds: Final = msgspec.json.Decoder(list[tuple[str, int]]).decode


def settle(tx: Transaction, settlements: Sequence[Settlement]) -> list[Lost]:
    """Apply the settlements; return the superseded ones, in the order of the input."""
    plain: dict[tuple[str, int], list[Finish]] = defaultdict(list)
    lost: list[Lost] = []
    names = {settlement.fence.queue for settlement in settlements}
    ending = ending_keys(tx, names, settlements)
    for settlement in settlements:
        match settlement:
            case Finish(fence, "succeeded", None, None, None, then, _, None) if not then:
                plain[fence.queue, fence.token].append(settlement)
            case Finish():
                lost += _finish(tx, settlement)
            case Reschedule():
                lost += _retry(tx, settlement)
            case Release() | Park():
                lost += _give_back(tx, settlement)
    for (queue, token), some in plain.items():
        lost += _finish_plain(tx, queue, token, some)
    for ended_in, key_rows in ending:
        freed(tx, ended_in, key_rows)
    promote_successors(tx, [tx.queue(name) for name in names])
    for name in names:
        keep_within(tx, tx.queue(name))
    superseded = {each.fence for each in lost}
    return [Lost(item.fence, "superseded") for item in settlements if item.fence in superseded]


def _finish_plain(tx: Transaction, name: str, token: int, finishes: list[Finish]) -> list[Lost]:
    """End jobs of one hand-out that succeeded without a result, in one step."""
    queue = tx.queue(name)
    rows = [finish.fence.row for finish in finishes]
    seqs = array_of(rows)
    weigh_ends(tx, queue, rows, token)
    kinds = {finish.kind for finish in finishes}
    kind = kinds.pop() if len(kinds) == 1 else ""
    if not kind:  # which of them end now, and not before, is known only before they do
        for text, jobs in _kinds(tx.one("kinds_ending", (seqs, token))):
            tx.end(queue.number, bytes.fromhex(text), "succeeded", jobs)
    ended = tx.run("finish_plain", (seqs, token, tx.now + queue.record_ttl, tx.now))
    if queue.uniques:
        tx.run("free_ended", (seqs, token))
    counts = tx.count(queue.number)
    counts.depth -= ended
    counts.records += ended
    counts.drained += ended
    if ended:
        tx.changes.add("ended")
        if kind:
            tx.end(queue.number, kind, "succeeded", ended)
    if ended == len(rows):
        return []
    return [Lost(finish.fence, "superseded") for finish in finishes if not tx.fence_counts(finish.fence)]


def _finish(tx: Transaction, finish: Finish) -> list[Lost]:
    fence = finish.fence
    queue = tx.queue(fence.queue)
    state = STATE_NUMBER[finish.state]
    result = None
    if finish.result is not None and finish.result_ttl > 0 and finish.state == "succeeded":
        result = bytes(finish.result).decode()
    ttl = queue.record_ttl if result is None else finish.result_ttl
    keep = queue.dead_ttl if state == DEAD else ttl
    weigh_ends(tx, queue, (fence.row,), fence.token)
    kind = tx.one("finish", (state, tx.now + keep, tx.now, finish.reason, result, fence.row, fence.token))
    if kind is None:
        return _lost(tx, fence)
    tx.end(queue.number, kind, finish.state)
    if queue.uniques:
        tx.run("free_ended", (array_of([fence.row]), fence.token))
    counts = tx.count(queue.number)
    counts.depth -= 1
    counts.drained += 1
    if state == DEAD:
        counts.dead += 1
    elif result is None:
        counts.records += 1
    else:
        tx.new_results[queue.number] = tx.new_results.get(queue.number, 0) + 1
    tx.changes.add("ended")
    _keep_failure(tx, fence, finish.error)
    if finish.usage is not None:
        tx.run("usage_keep", (fence.row, json_of(finish.usage)))
        tx.run("note_mark", (fence.row,))
    _follow(tx, finish.then)
    return []


def _retry(tx: Transaction, retry: Reschedule) -> list[Lost]:
    fence = retry.fence
    row = tx.row("fence_row", (fence.row,))
    if row is None or row[0] != fence.token or row[3] not in {READY, RUNNING, SCHEDULED}:
        return _lost(tx, fence)
    if row[2]:
        return _finish(tx, Finish(fence, "cancelled", "cancelled", error=retry.error))
    due = retry.at <= tx.now
    rank = rank_of(retry.at, PRIORITIES[row[1]])
    state = READY if due else SCHEDULED
    begun = int(retry.begun)
    if not tx.run("retry", (state, retry.at, retry.attempt, retry.crashes, rank, fence.row, fence.token, begun)):
        return _lost(tx, fence)
    tx.changes.add("work")
    if due:
        put(tx, tx.queue(fence.queue), row[4])
    _keep_failure(tx, fence, retry.error)
    _follow(tx, retry.then)
    return []


def _give_back(tx: Transaction, settlement: Release | Park) -> list[Lost]:
    fence = settlement.fence
    row = tx.row("fence_row", (fence.row,))
    if row is not None and row[2]:
        return _finish(tx, Finish(fence, "cancelled", "cancelled"))
    begun, waits = False, None
    if isinstance(settlement, Release):
        begun, waits = settlement.begun, settlement.waits_for
    at = settlement.at
    due = at is None or at <= tx.now
    state = READY if due else PARKED if isinstance(settlement, Park) else SCHEDULED
    if not tx.run("give_back", (state, at, fence.row, fence.token, int(begun), waits)):
        return _lost(tx, fence)
    tx.changes.add("work")
    if due and row is not None:
        put(tx, tx.queue(fence.queue), row[4])
    return []


def _lost(tx: Transaction, fence: Fence) -> list[Lost]:
    return [] if tx.fence_counts(fence) else [Lost(fence, "superseded")]


def _keep_failure(tx: Transaction, fence: Fence, failure: Failure | None) -> None:
    if failure is not None:
        tx.run("failure_add", (fence.row, json_of(failure)))
        tx.run("failure_trim", (fence.row, DEFAULTS.failures_kept))
        tx.run("failure_mark", (fence.row,))


def _follow(tx: Transaction, then: Sequence[object]) -> None:
    """Publish the follow-ups in this same transaction, which serves as the outbox.

    The id of one whose unique key is held leads to the job that holds it.
    """
    messages = [message for message in then if isinstance(message, Message)]
    if not messages:
        return
    for message, answer in zip(messages, publish(tx, messages, forced=True), strict=True):
        if isinstance(answer, Exists) and answer.by == "unique":
            queue, begun = tx.queue(message.queue), message.enqueued_at
            until = max(tx.now, begun) + queue.id_memory
            tx.run("link_add", (message.id, queue.number, until, message.kind, begun, tx.now, answer.id))


def save(tx: Transaction, notes: Sequence[Note]) -> list[Lost]:
    """Keep notes of running jobs; return those whose fence no longer holds its job."""
    lost = []
    for note in notes:
        fence = note.fence
        if tx.run("note_put", (fence.row, note.name, bytes(note.value).decode(), fence.token)):
            tx.run("note_mark", (fence.row,))
        else:
            lost.append(Lost(fence, "superseded"))
    return lost
