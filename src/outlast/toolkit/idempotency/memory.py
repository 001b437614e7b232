"""The idempotency keys of one process, in memory."""

from __future__ import annotations

import heapq
from typing import Final

from msgspec import Struct

from outlast.core.clock import Clock
from outlast.core.errors import StoreFull
from outlast.toolkit.idempotency.records import GRACE, KeyFound
from outlast.toolkit.memory import ToolkitMemory

__all__ = ["MOST_BYTES", "MemoryKeys"]

MOST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of all answers that are kept. Beyond them new keys are refused: an answer that is forgotten early would let a
request run twice."""
_OVERHEAD: Final = 512


class _Record(Struct):
    payload: bytes
    token: str
    ends: float
    """Monotonic seconds at which the lease ends; once there is an answer, wall time at which that expires."""
    answer: bytes | None = None


class _KeySection:
    """The records of a toolkit, and when each of them is to be removed: by wall time those with an answer."""

    def __init__(self) -> None:
        self.records: dict[str, _Record] = {}
        self.bytes = 0
        self._held: list[tuple[float, str]] = []
        self._answered: list[tuple[float, str]] = []

    def expire(self, clock: Clock) -> None:
        """Remove what has expired."""
        self._expire(self._held, clock.monotonic() - GRACE, answered=False)
        self._expire(self._answered, clock.time(), answered=True)

    def _expire(self, queue: list[tuple[float, str]], now: float, *, answered: bool) -> None:
        while queue and queue[0][0] <= now:
            _, id_ = heapq.heappop(queue)
            record = self.records.get(id_)
            if record is None or (record.answer is not None) is not answered:
                continue
            if record.ends <= now:
                self.remove(id_)
            else:
                heapq.heappush(queue, (record.ends, id_))  # it was renewed since

    def put(self, id_: str, record: _Record) -> None:
        self.remove(id_)
        self.records[id_] = record
        self.bytes += _size(record)
        heapq.heappush(self._held if record.answer is None else self._answered, (record.ends, id_))

    def remove(self, id_: str) -> None:
        record = self.records.pop(id_, None)
        if record is not None:
            self.bytes -= _size(record)


def _size(record: _Record) -> int:
    return _OVERHEAD + len(record.answer or b"")


class MemoryKeys:
    """The records of a `ToolkitMemory`."""

    def __init__(self, store: ToolkitMemory) -> None:
        self._store = store
        self._section = store.section("idempotency", _KeySection)

    async def begin(self, id: str, payload: bytes, token: str, lease: float) -> KeyFound:  # noqa: A002
        """See `KeyRecords`. Raise StoreFull while the answers that are kept have MOST_BYTES."""
        clock, section = self._store.clock, self._section
        with self._store.lock:
            section.expire(clock)
            record = section.records.get(id)
            if record is not None and record.answer is not None:
                if record.payload != payload:
                    return KeyFound("other-payload")
                return KeyFound("answered", answer=record.answer)
            if record is not None and record.token != token and record.ends > clock.monotonic():
                same = record.payload == payload
                return KeyFound("in-flight" if same else "other-payload", left=record.ends - clock.monotonic())
            if record is None and section.bytes >= MOST_BYTES:
                raise StoreFull(
                    f"the answers of idempotency keys in memory have {MOST_BYTES:,} bytes: "
                    "give toolkit_url='sqlite:PATH' or 'redis://HOST', or a shorter ttl"
                )
            section.put(id, _Record(payload, token, clock.monotonic() + lease))
            return KeyFound("begun")

    async def renew(self, id: str, token: str, lease: float) -> bool:  # noqa: A002
        """See `KeyRecords`."""
        clock = self._store.clock
        with self._store.lock:
            self._section.expire(clock)
            record = self._section.records.get(id)
            if record is None or record.token != token or record.answer is not None:
                return False
            record.ends = clock.monotonic() + lease
            return True

    async def finish(self, id: str, payload: bytes, token: str, answer: bytes, ttl: float) -> bool:  # noqa: A002
        """See `KeyRecords`."""
        with self._store.lock:
            self._section.expire(self._store.clock)
            record = self._section.records.get(id)
            if record is not None and record.token != token:
                return False
            if record is None or record.answer is None:
                self._section.put(id, _Record(payload, token, self._store.clock.time() + ttl, answer))
        return True

    async def free(self, id: str, token: str) -> None:  # noqa: A002
        """See `KeyRecords`."""
        with self._store.lock:
            self._section.expire(self._store.clock)
            record = self._section.records.get(id)
            if record is None or record.token != token or record.answer is not None:
                return
            self._section.remove(id)
