"""Job ids, `queue.rest`: the rest is a UUIDv7 (RFC 9562, ordered by time), or the text that a client gives."""

from __future__ import annotations

import re

from outlast.core.bounds import plain_text
from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.core.text import shown

__all__ = ["IdFactory", "check_queue_name", "checked_event_id", "fits", "job_id", "queue_of"]

QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
FULL_ID = re.compile(r"([A-Za-z0-9_-]{1,64})\.[A-Za-z0-9_.:@+=/-]{1,128}\Z")
CLIENT_ID = re.compile(r"[A-Za-z0-9_.:@+=/-]{1,128}\Z")

GENERATED = 32
"""The characters of a generated id after its queue."""

_RANDOM_BITS = 62
_COUNTER_BITS = 12
_RANDOM_MASK = (1 << _RANDOM_BITS) - 1
_VARIANT = 0x2 << 62


def fits(pattern: re.Pattern[str], text: object) -> bool:
    """Tell whether `text` is a string that matches the pattern."""
    return isinstance(text, str) and pattern.match(text) is not None


def check_queue_name(name: str) -> str:
    """Return `name`; raise ConfigurationError unless it is 1 to 64 letters, digits, `_` or `-` (no dot)."""
    if not fits(QUEUE_NAME, name):
        raise ConfigurationError(f"queue name {shown(name)}: use 1 to 64 letters, digits, '_' or '-' (no dot)")
    return plain_text(name)


def job_id(queue: str, client_id: object) -> str:
    """Return the full id for a client's `id=`; one that already begins with the queue is returned unchanged."""
    rest = plain_text(client_id).removeprefix(f"{queue}.") if isinstance(client_id, str) else client_id
    if not fits(CLIENT_ID, rest):
        raise InvalidArguments(
            f"id={shown(client_id)}: use 1 to 128 letters, digits or any of _ . : @ + = / -, after the queue's name "
            f"and dot where it begins with {queue + '.'!r}"
        )
    return f"{queue}.{rest}"


def checked_event_id(own_id: object) -> str:
    """Return a publisher's `id=` of an event as a plain `str`; raise InvalidArguments unless it fits a client's id."""
    if not isinstance(own_id, str) or not fits(CLIENT_ID, own_id):
        raise InvalidArguments(f"id={shown(own_id)}: use 1 to 128 letters, digits or any of _ . : @ + = / -")
    return plain_text(own_id)


def queue_of(full_id: str) -> str:
    """Return the queue of an id; raise InvalidArguments when the id has none."""
    if not isinstance(full_id, str):
        raise InvalidArguments(f"job id {shown(full_id)}: give the id as text, as returned by enqueue")
    found = FULL_ID.match(full_id)
    if found is None:
        raise InvalidArguments(f"job id {shown(full_id)}: give an id of the form 'queue.rest', as returned by enqueue")
    return found[1]


class IdFactory:
    """Make ids that grow with time within one process: 48 bits of milliseconds, 12 of a counter, 62 random bits.

    A store's unique index then grows at one end only, which costs a third of what random ids cost.
    """

    __slots__ = ("_counter", "_millis", "_stem")

    def __init__(self) -> None:
        self._millis = 0
        self._counter = 0
        self._stem = ""

    def new_event(self, now: float, random_bits: int) -> str:
        """Return a new id of an event: the id of a job without the queue."""
        return self.new("", now, random_bits)[1:]

    def new(self, queue: str, now: float, random_bits: int) -> str:
        """Return a new id. now: wall time in seconds. random_bits: at least 62 of them."""
        millis = int(now * 1000)
        if millis > self._millis:
            self._millis = millis
            self._counter = 0
            self._stem = f"{millis:012x}7"  # the time and the version
        else:
            self._counter += 1
            if self._counter >> _COUNTER_BITS:
                self._millis += 1
                self._counter = 0
                self._stem = f"{self._millis:012x}7"
        return f"{queue}.{self._stem}{self._counter:03x}{_VARIANT | (random_bits & _RANDOM_MASK):016x}"
