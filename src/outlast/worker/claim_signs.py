"""What a worker process tells its supervisor of its claims, once a second, as bytes in the memory that both share."""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    import mmap

__all__ = ["SIGNS_SIZE", "ClaimSigns", "named", "pack_signs", "unpack_signs"]

_MOST: Final = 1024
"""Queues of a worker that are told; of those beyond, no claim counts as due."""
_MASK: Final = _MOST // 8
_HEAD: Final = struct.Struct("=dQ")
SIGNS_SIZE: Final = _HEAD.size + 2 * _MASK


class ClaimSigns(Struct, frozen=True):
    """What of the claims is due.

    due_since: monotonic seconds since when a claim should have come back; 0 when none is due. away: whether the store
    fails. asked: the numbers, in `WorkerHello.queues`, of those queues that a claim would ask for a job now. shut: of
    those that guards hold.
    """

    due_since: float = 0.0
    away: bool = False
    asked: tuple[int, ...] = ()
    shut: tuple[int, ...] = ()


def named(numbers: Sequence[int], queues: Sequence[str]) -> tuple[str, ...]:
    """Return the names of numbered queues."""
    return tuple(queues[each] for each in numbers if each < len(queues))


def pack_signs(signs: ClaimSigns, memory: mmap.mmap, at: int) -> None:
    """Write the signs at a place in the memory."""
    _HEAD.pack_into(memory, at, signs.due_since, signs.away)
    begin = at + _HEAD.size
    memory[begin : begin + 2 * _MASK] = _mask(signs.asked) + _mask(signs.shut)


def unpack_signs(memory: mmap.mmap, at: int) -> ClaimSigns:
    """Read the signs from a place in the memory."""
    due_since, away = _HEAD.unpack_from(memory, at)
    begin = at + _HEAD.size
    asked, shut = memory[begin : begin + _MASK], memory[begin + _MASK : begin + 2 * _MASK]
    return ClaimSigns(due_since, bool(away), _numbers(asked), _numbers(shut))


def _mask(numbers: Collection[int]) -> bytes:
    return sum(1 << each for each in numbers if each < _MOST).to_bytes(_MASK, "little")


def _numbers(mask: bytes) -> tuple[int, ...]:
    value, found = int.from_bytes(mask, "little"), []
    while value:
        lowest = value & -value
        found.append(lowest.bit_length() - 1)
        value ^= lowest
    return tuple(found)
