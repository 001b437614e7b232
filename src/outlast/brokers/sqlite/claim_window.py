"""Reads the first keys and jobs of one queue from the file, as many as a claim needs, for core.select."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import msgspec

from outlast.brokers.sqlite import key_states
from outlast.brokers.sqlite.transaction import QueueRow, Transaction, array_of, json_of
from outlast.core.limits import nanos
from outlast.core.select import KeyState, QueueState, RoundRobin

__all__ = ["ClaimWindow", "is_limited", "room_of"]


class KeyHead(KeyState[int], array_like=True, kw_only=True):
    """A key with the rows of its first jobs, as the statement `ring` returns it."""

    number: int
    """Of its row."""
    whole: bool = False
    """`ready` has all its jobs."""
    moved: bool = False
    """It was removed from the front of the ring: it left, was parked or joined again."""


_ring: Final = msgspec.json.Decoder(list[KeyHead]).decode
_more: Final = msgspec.json.Decoder(list[list[int]]).decode
_seqs: Final = msgspec.json.Decoder(list[int]).decode


def is_limited(queue: QueueRow) -> bool:
    """Return whether the queue itself, not its keys, has a concurrency or a rate."""
    return queue.limits is not None and (queue.rules.concurrency is not None or queue.rules.rate is not None)


def room_of(tx: Transaction, queue: QueueRow) -> int | None:
    """Return how many jobs the queue's own limits let begin now; None: any number."""
    if not is_limited(queue):
        return None
    rules = queue.rules
    running = tx.one("running_count", (queue.number,)) if rules.concurrency is not None else 0
    return QueueState(rules, running=running, tat=tx.ring(queue).tat).room(nanos(tx.now))


@dataclass(slots=True, eq=False)
class ClaimWindow(RoundRobin[int, KeyHead]):
    """The part of one queue that was read; a job is the number of its row. `most`: the most jobs of this claim.

    The ring consists of the keys that were read, then those not read yet, then those that joined again.
    """

    tx: Transaction = field(kw_only=True)
    row: QueueRow = field(kw_only=True)
    most: int = field(kw_only=True)
    whole: bool = False
    """The ring was read to its end."""
    upto: int = -1
    """The turn up to which it was read."""
    share: int = 2
    """Jobs that are read of each key at first: from 2 on, a key that gives a job is known to have another or not."""
    heads: list[KeyHead] = field(default_factory=list)
    """All keys that were read."""
    ahead: deque[KeyHead] = field(default_factory=deque)
    """The ring from its first key on, as far as it was read."""
    joined: deque[KeyHead] = field(default_factory=deque)
    """Keys that joined again, behind those not yet read."""

    @classmethod
    def of(cls, tx: Transaction, row: QueueRow, most: int) -> ClaimWindow:
        """Return the window of a queue."""
        rules, ring = row.rules, tx.ring(row)
        return cls(
            rules,
            _seqs(tx.one("pick", (row.number, most))),
            running=0 if rules.concurrency is None else tx.one("running_count", (row.number,)),
            tat=ring.tat,
            back=ring.back,
            turn=ring.turn,
            tx=tx,
            row=row,
            most=most,
            whole=not ring.back,
            share=most // tx.keys_seen.get(row.number, most) + 2,
        )

    def wake(self, now: int) -> None:
        """Add the parked keys whose `wake` has come to the ring."""
        if self.queue.per_key.concurrency is not None or self.queue.per_key.rate is not None:
            key_states.wake(self.tx, self.row)
            self.back = self.tx.ring(self.row).back

    def _first(self) -> KeyHead | None:
        while not self.ahead:
            if not self.whole:
                self._read()
            elif self.joined:
                self.ahead, self.joined = self.joined, self.ahead
            else:
                return None
        head = self.ahead[0]
        if not head.whole and len(head.ready) < 2:
            self._read_more()
        return head

    def _pop(self) -> None:
        self.ahead.popleft().moved = True

    def _push(self, state: KeyHead) -> None:
        self.joined.append(state)

    def _wake_at(self, state: KeyHead) -> None:
        """Do nothing: `save` writes it."""

    def _read(self) -> None:
        """Read the next keys of the ring."""
        count = 1 if self.queue.per_key.concurrency is not None else 0
        read = _ring(self.tx.one("ring", (self.row.number, self.upto, self.most, self.share, count)))
        for head in read:
            head.whole = len(head.ready) < self.share
        self.heads += read
        self.ahead.extend(read)
        self.whole = len(read) < self.most
        if read:
            self.upto = read[-1].turn
        self.tx.keys_seen[self.row.number] = max(1, min(self.most, len(self.heads)))

    def _read_more(self) -> None:
        """Read more jobs of all keys that have fewer than two left here."""
        short = [head for head in self.heads if not head.whole and len(head.ready) < 2]
        more = max(2, self.most // len(short) + 1)
        wanted = json_of([(head.number, head.ready[-1]) for head in short])
        for head, seqs in zip(short, _more(self.tx.one("heads", (wanted, more))), strict=True):
            head.whole = len(seqs) < more
            head.ready += seqs

    def save(self) -> None:
        """Write the keys that changed. Most left the ring or are at its back: short statements serve these."""
        ring = self.tx.ring(self.row)
        if ring.back:
            if (self.back, self.turn) != (ring.back, ring.turn):
                ring.back, ring.turn, ring.changed = self.back, self.turn, True
            gone, turned, moved = [], [], []
            rated = self.queue.per_key.rate is not None
            for head in self.heads:
                if not (head.moved or head.given):
                    continue
                where = head.where
                if rated or head.given or head.parked:
                    moved.append((head.number, key_states.WHERE[where], head.turn, head.given, head.wake, head.tat))
                elif where == "out":
                    gone.append(head.number)
                else:
                    turned.append((head.number, head.turn))
            if gone:
                self.tx.run("lanes_gone", (array_of(gone),))
            if turned:
                self.tx.run("lanes_turned", (json_of(turned),))
            if moved:
                self.tx.run("lanes_moved", (json_of(moved),))
        if self.tat != ring.tat:
            ring.tat, ring.changed = self.tat, True
