"""Idempotency keys of an app: who holds one, what a repetition gets, and answers that are stored late."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final
from uuid import uuid4

from msgspec import DecodeError, Struct, msgpack

from outlast.core.errors import StoreError
from outlast.core.toolkit_errors import ToolkitAway
from outlast.resilience.deadlines import ends_at, restore
from outlast.toolkit.access import Toolkit
from outlast.toolkit.idempotency.forms import records_of
from outlast.toolkit.idempotency.keeper import AWAY, LEASE, EndedKey, HeldKey, KeyKeeper
from outlast.toolkit.idempotency.records import KeyFound
from outlast.toolkit.metrics import IDEMPOTENCY_KEYS, series_of
from outlast.toolkit.store import ToolkitStore

__all__ = ["StoredAnswer", "Held", "IdempotencyKeys", "InFlight", "OtherPayload", "digest_of"]


class StoredAnswer(Struct, frozen=True, array_like=True):
    """The stored answer of a request. body: None if it was too large to keep."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes | None = None


class InFlight(Struct, frozen=True):
    """Another request with the key runs. left: seconds after which it counts as crashed, unless it is renewed."""

    left: float


class OtherPayload(Struct, frozen=True):
    """The key was used for another request."""


_FOUND: Final = series_of(IDEMPOTENCY_KEYS, results=("begun", "answered", "in-flight", "other-payload", "away"))
_encode: Final = msgpack.Encoder().encode
_decode: Final = msgpack.Decoder(StoredAnswer).decode


def digest_of(*parts: bytes) -> bytes:
    """Return the SHA-256 of the parts, each with its length: no two lists of parts have the same."""
    digest = sha256()
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()


class Held:
    """A key that this request holds, until `finish` or `free`. The process renews its lease meanwhile."""

    def __init__(self, kit: Toolkit, keeper: KeyKeeper, held: HeldKey) -> None:
        self._kit = kit
        self._keeper = keeper
        self._held = held

    async def finish(self, answer: StoredAnswer) -> bool:
        """Store the answer; return False if it was not stored now.

        It is not stored when another request has taken the key since this one's lease ended. While the store is away,
        the process goes on trying (see `KeyKeeper`).
        """
        ended = self._held.ended_with(_encode(answer))
        return await self._stored(ended)

    async def free(self) -> None:
        """Let the next request with the key run. While the store is away, the process goes on trying."""
        await self._stored(self._held.ended_with(None))

    async def _stored(self, ended: EndedKey) -> bool:
        """Store the end of the request, now or later; return whether it is stored."""
        self._keeper.end(self._held)  # before the call: a renewal after it would find the key in use no more
        before = ends_at(None)  # a deadline that has passed would leave the key in flight
        try:
            return await self._kit.use(ended.step)
        except StoreError:
            self._keeper.later(ended)
            return False
        except BaseException:
            self._keeper.later(ended)
            raise
        finally:
            restore(before)

    def free_later(self) -> None:
        """Do the same without waiting, such as for a request that is cancelled."""
        self._keeper.end(self._held)
        self._keeper.later(self._held.ended_with(None))


class IdempotencyKeys:
    """The idempotency keys in a toolkit's store. ttl: seconds for which an answer is kept.

    A key belongs to one holder at a time, for LEASE seconds from its last renewal.
    """

    def __init__(self, kit: Toolkit, *, ttl: float) -> None:
        self.kit: Final = kit
        self._ttl = ttl

    @property
    def keeper(self) -> KeyKeeper:
        """What looks after the keys that this process holds."""
        return self.kit.piece(KeyKeeper)

    async def begin(self, scope: Sequence[bytes], payload: bytes) -> Held | StoredAnswer | InFlight | OtherPayload:
        """Hold the key of `scope` for the request with the digest `payload`, or return why not.

        Raise StoreError: while the store is away, no request with a key may run.
        """
        held = HeldKey(digest_of(*scope).hex(), payload, uuid4().hex, self._ttl)

        async def begin(store: ToolkitStore) -> KeyFound:
            return await records_of(store).begin(held.id, payload, held.token, LEASE)

        try:
            look = await self.kit.use(begin)
        except ToolkitAway as error:
            _FOUND["away"].add()
            AWAY["raised"].add()
            if error.uncertain:  # it may hold the key
                self.keeper.later(held.ended_with(None))
            raise
        except StoreError:
            raise
        except BaseException:
            self.keeper.later(held.ended_with(None))
            raise
        _FOUND[look.state].add()
        match look.state:
            case "begun":
                self.keeper.hold(held)
                return Held(self.kit, self.keeper, held)
            case "in-flight":
                return InFlight(look.left)
            case "other-payload":
                return OtherPayload()
            case "answered":
                return _answer_in(look.answer)


def _answer_in(stored: bytes) -> StoredAnswer:
    """Return a stored answer. One that cannot be read was given: its request must not run again."""
    try:
        return _decode(stored)
    except DecodeError:
        return StoredAnswer(0)
