"""The front of one queue's line, read from the file as far as a claim goes into it, by the rules of core.select."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import apsw
import msgspec
from msgspec import Struct

from outlast.brokers.sqlite import key_states
from outlast.brokers.sqlite.transaction import QueueRow, Transaction
from outlast.core.limits import nanos
from outlast.core.select import RECHECK, QueueState

if TYPE_CHECKING:
    from outlast.core.select import Ticket

__all__ = ["ClaimWindow", "room_of"]

OUT, RING, SLOT, RATE = key_states.OUT, key_states.RING, key_states.SLOT, key_states.RATE


class KeyHead(Struct, array_like=True):
    """A lane of which only the first jobs were read, as the statement `ring` gives it, and what becomes of it."""

    number: int
    key: str
    turn: int
    given: int
    tat: int
    running: int
    ready: list[int]
    next: int = 0
    """Where in `ready` the next one is."""
    whole: bool = False
    """`ready` is all it has."""
    place: int = RING
    wake: int = 0
    seen: bool = False


_ring: Final = msgspec.json.Decoder(list[KeyHead]).decode
_heads: Final = msgspec.json.Decoder(list[list[int]]).decode
_seqs: Final = msgspec.json.Decoder(list[int]).decode
_encode: Final = msgspec.json.Encoder().encode


def room_of(tx: Transaction, queue: QueueRow) -> int | None:
    """Return how many jobs the queue's own limits let begin now; None: any number."""
    if queue.limits is None:
        return None
    rules = queue.rules
    if rules.concurrency is None and rules.rate is None:
        return None
    running = tx.one("running_count", (queue.number,)) if rules.concurrency is not None else 0
    return QueueState(rules, running=running, tat=tx.ring(queue).tat).room(nanos(tx.now))


@dataclass(slots=True, eq=False)
class ClaimWindow(QueueState):
    """A line whose places are the numbers of rows. `most`: as many as will be asked for.

    It keeps the rules of `QueueState` in the order of the ring as it was read: first what was read,
    then what stood at the back again. That both pick the same is what tests/model/test_long_histories.py is there for.
    """

    tx: Transaction = field(kw_only=True)
    row: QueueRow = field(kw_only=True)
    most: int = field(kw_only=True)
    whole: bool = False
    """The ring was read to its end."""
    upto: int = -1
    """The turn up to which it was read."""
    share: int = 2
    """Jobs that are read of each lane at first."""
    fronts: list[KeyHead] = field(default_factory=list)
    """All that was read."""
    standing: deque[KeyHead] = field(default_factory=deque)
    """The ring from its first on."""
    again: deque[KeyHead] = field(default_factory=deque)
    """Who joined again, behind those not yet read."""

    @classmethod
    def of(cls, tx: Transaction, row: QueueRow, most: int) -> ClaimWindow:
        """Return a queue's line."""
        rules, ring = row.rules, tx.ring(row)
        window = cls(rules, running=0, tat=ring.tat, back=ring.back, turn=ring.turn, tx=tx, row=row, most=most)
        if rules.concurrency is not None:
            window.running = tx.one("running_count", (row.number,))
        window.ready = _seqs(tx.one("pick", (row.number, most)))  # type: ignore[assignment]
        window.whole = not ring.back
        window.share = most // tx.lanes_seen.get(row.number, most) + 2
        return window

    def wake(self, now: int) -> None:
        """Let the keys whose time has come join the ring."""
        if self.queue.per_key.concurrency is not None or self.queue.per_key.rate is not None:
            key_states.wake(self.tx, self.row)
            self.back = self.tx.ring(self.row).back

    def picks(self, now: int) -> Iterator[Ticket]:
        """Give one place after the other, as `QueueState.picks` does."""
        own, slots, rate = self.queue.gcra, self.queue.per_key.concurrency, self.queue.per_key.gcra
        weights = self.queue.weights
        limited = slots is not None or rate is not None
        plain: list[Any] = self.ready
        taken, last = 0, len(plain)
        while True:
            lane = self._next()
            if taken < last and (lane is None or self.turn < lane.turn):
                place = plain[taken]
                taken += 1
                self.back += 1
                self.turn = self.back
            elif lane is None:
                return
            else:
                lane.seen = True
                if not lane.whole and lane.next + 1 >= len(lane.ready):
                    self._refill()
                if lane.next == len(lane.ready):
                    lane.place, lane.given = OUT, 0
                    self.standing.popleft()
                    continue
                if limited and self._parked_lane(lane, now):
                    continue
                place = lane.ready[lane.next]
                lane.next += 1
                lane.running += 1
                lane.given += 1
                if rate is not None:
                    lane.tat = rate.taken(lane.tat, now, 1)
                if lane.next == len(lane.ready):
                    lane.place, lane.given = OUT, 0
                    self.standing.popleft()
                elif limited and self._parked_lane(lane, now):
                    pass
                elif lane.given >= (weights.get(lane.key, 1) if weights else 1):
                    self.back += 1
                    lane.turn, lane.given = self.back, 0
                    self.again.append(self.standing.popleft())
            self.running += 1
            if own is not None:
                self.tat = own.taken(self.tat, now, 1)
            yield place

    def _next(self) -> KeyHead | None:
        """Return who stands first."""
        while not self.standing:
            if not self.whole:
                self._read()
            elif self.again:
                self.standing, self.again = self.again, self.standing
            else:
                return None
        return self.standing[0]

    def _parked_lane(self, lane: KeyHead, now: int) -> bool:
        """Park the first lane when its limits keep it from giving; tell whether they do."""
        each = self.queue.per_key
        if each.concurrency is not None and lane.running >= each.concurrency:
            lane.place, lane.wake = SLOT, now + RECHECK
        elif each.gcra is not None and each.gcra.room(lane.tat, now) < 1:
            lane.place, lane.wake = RATE, each.gcra.next_at(lane.tat, now)
        else:
            return False
        lane.given = 0
        self.standing.popleft()
        return True

    def _read(self) -> None:
        """Read the next lanes of the ring."""
        count = 1 if self.queue.per_key.concurrency is not None else 0
        read = _ring(self.tx.one("ring", (self.row.number, self.upto, self.most, self.share, count)))
        for lane in read:
            lane.whole = len(lane.ready) < self.share
        self.fronts += read
        self.standing.extend(read)
        self.whole = len(read) < self.most
        if read:
            self.upto = read[-1].turn
        self.tx.lanes_seen[self.row.number] = max(1, min(self.most, len(self.fronts)))

    def _refill(self) -> None:
        """Read more of the jobs of all lanes that may be short of them."""
        short = [lane for lane in self.fronts if not lane.whole and lane.next + 1 >= len(lane.ready)]
        more = max(2, self.most // len(short) + 1)
        wanted = _encode([(lane.number, lane.ready[-1]) for lane in short]).decode()
        for lane, seqs in zip(short, _heads(self.tx.one("heads", (wanted, more))), strict=True):
            lane.whole = len(seqs) < more
            lane.ready += seqs

    def save(self) -> None:
        """Write back what has changed: most lanes have left the ring, or stand at its back with a turn before them."""
        ring = self.tx.ring(self.row)
        if ring.back:
            if (self.back, self.turn) != (ring.back, ring.turn):
                ring.back, ring.turn, ring.changed = self.back, self.turn, True
            gone, turned, moved = [], [], []
            rated = self.queue.per_key.rate is not None
            for lane in self.fronts:
                if not lane.seen:
                    continue
                if rated or lane.place > RING or lane.given:
                    moved.append((lane.number, lane.place, lane.turn, lane.given, lane.wake, lane.tat))
                elif lane.place == OUT:
                    gone.append(lane.number)
                else:
                    turned.append((lane.number, lane.turn))
            if gone:
                self.tx.run("lanes_gone", (apsw.carray(array("q", gone)),))
            if turned:
                self.tx.run("lanes_turned", (_encode(turned).decode(),))
            if moved:
                self.tx.run("lanes_moved", (_encode(moved).decode(),))
        if self.tat != ring.tat:
            ring.tat, ring.changed = self.tat, True
