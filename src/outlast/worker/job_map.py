"""The map of claimed jobs that a worker process shares with its supervisor; it outlives the worker."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from contextlib import suppress
from typing import Final

from msgspec import Struct

from outlast.core.errors import InvalidArguments
from outlast.core.ids import queue_of
from outlast.core.message import Delivery, Fence
from outlast.worker.claim_signs import SIGNS_SIZE, ClaimSigns, pack_signs, unpack_signs

__all__ = ["CLAIMED", "ENDED", "STARTED", "JobEntry", "SharedJobMap"]

CLAIMED: Final = 1
STARTED: Final = 2
ENDED: Final = 3

_HEAD: Final = struct.Struct("=dQQ")  # beat of the event loop (monotonic seconds), finished runs, ready
_LEFT: Final = 32  # a byte of the head: the worker has left in peace
_OPENS: Final = 33  # a byte of the head: the worker has imported the app, and opens the store
_SIGNS: Final = 64
_BODY: Final = struct.Struct("=dqqdIIH206s")  # deadline, token, row, run_at, attempt, crashes, length of the id, id
_DEADLINE: Final = struct.Struct("=d")
_HEAD_SIZE: Final = _SIGNS + SIGNS_SIZE
_SIZE: Final = 256
_pack: Final = _BODY.pack_into


class JobEntry(Struct, frozen=True):
    """One claimed job in the map. deadline: monotonic seconds, its process is killed after it; 0 for none."""

    state: int
    fence: Fence
    run_at: float
    attempt: int
    crashes: int
    deadline: float


class SharedJobMap:
    """Fixed records in shared memory, with one writer (the worker) and one reader (the supervisor).

    The state byte of a record is written last and cleared first: a writer that dies at any point leaves records that
    can be read. One change takes about a microsecond.
    """

    def __init__(self, fd: int, size: int) -> None:
        """Map the file `fd` with room for `size` records. The caller keeps the descriptor."""
        self._map = mmap.mmap(fd, _HEAD_SIZE + size * _SIZE)
        self._size = size
        self._free = list(range(size - 1, -1, -1))

    @staticmethod
    def create(size: int) -> int:
        """Return the descriptor of a new empty map that no other program can open by name."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("outlast-jobs")
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        SharedJobMap.grow(fd, size)
        return fd

    @staticmethod
    def grow(fd: int, size: int) -> None:
        """Give the file room for `size` records. Call it before the file is mapped."""
        os.ftruncate(fd, _HEAD_SIZE + size * _SIZE)

    # The worker's side

    def take(self, delivery: Delivery, state: int = CLAIMED, deadline: float = 0.0) -> int:
        """Record a job that was claimed, or that starts at once; return its index. At most `size` jobs fit.

        deadline: monotonic seconds, 0 for none.
        """
        index = self._free.pop()
        fence = delivery.fence
        id_ = fence.id.encode()
        at = _HEAD_SIZE + index * _SIZE
        _pack(
            self._map,
            at + 8,
            deadline,
            fence.token,
            fence.row,
            delivery.message.run_at,
            delivery.attempt,
            delivery.crashes,
            len(id_),
            id_,
        )
        self._map[at] = state
        return index

    def start(self, index: int, deadline: float) -> None:
        """Record that the run began. deadline: monotonic seconds, 0 for none."""
        at = _HEAD_SIZE + index * _SIZE
        _DEADLINE.pack_into(self._map, at + 8, deadline)
        self._map[at] = STARTED

    def end(self, index: int) -> None:
        """Record that a run that had started ended, and waits to be settled."""
        at = _HEAD_SIZE + index * _SIZE
        if self._map[at] == STARTED:
            self._map[at] = ENDED

    def clear(self, index: int) -> None:
        """Remove the record: the store has the settlement."""
        self._map[_HEAD_SIZE + index * _SIZE] = 0
        self._free.append(index)

    def beat(self, now: float, finished: int, *, ready: bool) -> None:
        """Record that the event loop of the worker runs. now: monotonic seconds; finished: number of runs."""
        _HEAD.pack_into(self._map, 0, now, finished, ready)

    def tell_claims(self, signs: ClaimSigns) -> None:
        """Record what of the claims is due."""
        pack_signs(signs, self._map, _SIGNS)

    def opens(self) -> None:
        """Record that the app is imported, and that the store is being opened."""
        self._map[_OPENS] = 1

    def leave(self) -> None:
        """Record that the worker ends by an order, or by its own verdict on the store: no job is to blame for it."""
        self._map[_LEFT] = 1

    def close(self) -> None:
        """Unmap the file."""
        self._map.close()

    # The supervisor's side

    @property
    def last_beat(self) -> float:
        """Monotonic seconds of the last beat, 0 before the first."""
        return float(_HEAD.unpack_from(self._map, 0)[0])

    @property
    def finished(self) -> int:
        """Number of ended runs."""
        return int(_HEAD.unpack_from(self._map, 0)[1])

    @property
    def ready(self) -> bool:
        """Whether the worker has begun to consume."""
        return bool(_HEAD.unpack_from(self._map, 0)[2])

    @property
    def opening(self) -> bool:
        """Whether the worker has imported the app."""
        return bool(self._map[_OPENS])

    @property
    def claims(self) -> ClaimSigns:
        """What of its claims is due. A writer that changes it meanwhile may leave two moments in one answer."""
        return unpack_signs(self._map, _SIGNS)

    @property
    def left(self) -> bool:
        """Whether the worker has left in peace."""
        return bool(self._map[_LEFT])

    def read(self) -> list[JobEntry]:
        """Return the records in use. A record that the living writer changes during the call may be inconsistent.

        One whose id is no id because of that is left out.
        """
        found: list[JobEntry] = []
        for index in range(self._size):
            at = _HEAD_SIZE + index * _SIZE
            state = self._map[at]
            if not state:
                continue
            deadline, token, row, run_at, attempt, crashes, length, id_ = _BODY.unpack_from(self._map, at + 8)
            name = id_[:length].decode(errors="replace")
            with suppress(InvalidArguments):
                fence = Fence(name, queue_of(name), token, row)
                found.append(JobEntry(state, fence, run_at, attempt, crashes, deadline))
        return found

    def running(self) -> bool:
        """Return whether a job runs."""
        return any(self._map[_HEAD_SIZE + index * _SIZE] == STARTED for index in range(self._size))
