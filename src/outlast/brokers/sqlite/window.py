"""The front of one queue's line, read from the file as far as a claim goes into it; the rules are core.select's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from outlast.brokers.sqlite import lanes
from outlast.brokers.sqlite.transaction import QueueRow, Transaction
from outlast.core.limits import nanos
from outlast.core.select import Lane, Line

if TYPE_CHECKING:
    from outlast.core.select import Place

__all__ = ["Window", "room_of"]

PLACES: Final = {"out": lanes.OUT, "ring": lanes.RING, "slot": lanes.SLOT, "rate": lanes.RATE}
_ring: Final = msgspec.json.Decoder(list[tuple[int, str, int, int, int, int, list[int]]]).decode
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
    return Line(rules, running=running, tat=tx.ring(queue).tat).room(nanos(tx.now))


@dataclass(slots=True, eq=False)
class Front(Lane):
    """A lane of which only the first jobs were read. whole: those are all it has."""

    number: int = 0
    whole: bool = False
    last: int = 0
    """The last one that was read."""
    before: tuple[int, int] = (0, 0)


@dataclass(slots=True, eq=False)
class Window(Line):
    """A line whose places are the numbers of rows. `most`: as many as will be asked for."""

    tx: Transaction = field(kw_only=True)
    row: QueueRow = field(kw_only=True)
    most: int = field(kw_only=True)
    whole: bool = False
    """The ring was read to its end."""
    upto: int = -1
    """The turn up to which it was read."""
    share: int = 2
    """Jobs that are read of each lane at first."""

    @classmethod
    def of(cls, tx: Transaction, row: QueueRow, most: int) -> Window:
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
            lanes.wake(self.tx, self.row)
            self.back = self.tx.ring(self.row).back

    def _first(self, taken: int) -> Lane | None:
        lane = Line._first(self, taken)
        while not self.whole and (not self._ring or self._ring[0][0] > self.upto):
            self._read()  # somebody not yet read stands before whoever joined again
            lane = Line._first(self, taken)
        return lane

    def _read(self) -> None:
        """Read the next lanes of the ring."""
        count = 1 if self.queue.per_key.concurrency is not None else 0
        most = self.most
        rows = _ring(self.tx.one("ring", (self.row.number, self.upto, most, self.share, count)))
        for number, key, turn, given, tat, running, seqs in rows:
            lane = Front(key, seqs, running, tat, given, turn, "ring", number=number)  # type: ignore[arg-type]
            lane.whole = len(seqs) < self.share
            lane.last = seqs[-1] if seqs else 0
            lane.before = (turn, given)
            self.lanes[key] = lane
            self._ring.append((turn, key))
        self._ring.sort()
        self.whole = len(rows) < most
        if rows:
            self.upto = rows[-1][2]
        self.tx.lanes_seen[self.row.number] = max(1, min(most, len(self.lanes)))

    def _give(self, lane: Lane, now: int) -> Place:
        assert isinstance(lane, Front)
        if len(lane.ready) < 2 and not lane.whole:
            self._refill()
        return Line._give(self, lane, now)

    def _refill(self) -> None:
        """Read more of the jobs of all lanes that may be short of them."""
        short = [
            lane for lane in self.lanes.values() if isinstance(lane, Front) and not lane.whole and len(lane.ready) < 2
        ]
        more = max(2, self.most // len(short) + 1)
        wanted = _encode([(lane.number, lane.last) for lane in short]).decode()
        for lane, seqs in zip(short, _heads(self.tx.one("heads", (wanted, more))), strict=True):
            lane.whole = len(seqs) < more
            lane.ready += seqs  # type: ignore[arg-type]
            lane.last = seqs[-1] if seqs else lane.last

    def save(self) -> None:
        """Write back what has changed."""
        ring = self.tx.ring(self.row)
        if ring.back:
            if (self.back, self.turn) != (ring.back, ring.turn):
                ring.back, ring.turn, ring.changed = self.back, self.turn, True
            moved = [
                (lane.number, PLACES[lane.where], lane.turn, lane.given, lane.wake, lane.tat)
                for lane in self.lanes.values()
                if isinstance(lane, Front) and (lane.where != "ring" or (lane.turn, lane.given) != lane.before)
            ]
            if moved:
                self.tx.run("lanes_moved", (_encode(moved).decode(),))
        if self.tat != ring.tat:
            ring.tat, ring.changed = self.tat, True
