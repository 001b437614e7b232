"""The records of idempotency keys on every store do what a plain model does, over random histories."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest

from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.idempotency.forms import records_of
from outlast.toolkit.idempotency.records import GRACE
from outlast.toolkit.store import ToolkitStore

LEASE, TTL, STEPS = 30.0, 300.0, 250
IDS, TOKENS, PAYLOADS = ("a" * 64, "b" * 64), ("t1", "t2", "t3"), (b"p", b"\x00q")


@dataclass
class Record:
    """What is known of a key."""

    payload: bytes
    token: str
    until: float
    expires: float
    answer: bytes | None = None


@dataclass
class Model:
    """The rules of `KeyRecords`, in the plainest words. now: seconds."""

    now: float = 0.0
    records: dict[str, Record] = field(default_factory=dict)

    def found(self, id_: str) -> Record | None:
        record = self.records.get(id_)
        return record if record is not None and record.expires > self.now else None

    def begin(self, id_: str, payload: bytes, token: str) -> tuple[str, bytes]:
        record = self.found(id_)
        if record is not None and record.answer is not None:
            return ("answered", record.answer) if record.payload == payload else ("other-payload", b"")
        if record is not None and record.token != token and record.until > self.now:
            return ("in-flight" if record.payload == payload else "other-payload", b"")
        self.records[id_] = Record(payload, token, self.now + LEASE, self.now + LEASE + GRACE)
        return ("begun", b"")

    def renew(self, id_: str, token: str) -> bool:
        record = self.found(id_)
        if record is None or record.token != token or record.answer is not None:
            return False
        record.until, record.expires = self.now + LEASE, self.now + LEASE + GRACE
        return True

    def finish(self, id_: str, payload: bytes, token: str, answer: bytes) -> bool:
        record = self.found(id_)
        if record is not None and record.token != token:
            return False
        if record is None or record.answer is None:
            self.records[id_] = Record(payload, token, 0.0, self.now + TTL, answer)
        return True

    def free(self, id_: str, token: str) -> None:
        record = self.found(id_)
        if record is not None and record.token == token and record.answer is None:
            del self.records[id_]


@pytest.mark.parametrize("seed", range(4))
async def test_a_random_history_gives_the_same_answers(kit: Toolkit, clock: FakeClock, seed: int) -> None:
    rng, model, seen = Random(seed), Model(), set[str]()
    for step in range(STEPS):
        id_, token, payload = rng.choice(IDS), rng.choice(TOKENS), rng.choice(PAYLOADS)
        match rng.choices(("begin", "renew", "finish", "free", "time"), (4, 2, 1, 1, 2))[0]:
            case "begin":

                async def begin(store: ToolkitStore, call: tuple[str, bytes, str] = (id_, payload, token)) -> object:
                    look = await records_of(store).begin(*call, LEASE)
                    return look.state, look.answer

                expected: object = model.begin(id_, payload, token)
                assert await kit.use(begin) == expected, f"step {step}"
                seen.add(str(expected))
            case "renew":
                expected = model.renew(id_, token)
                assert await kit.use(lambda store: records_of(store).renew(id_, token, LEASE)) is expected, step  # noqa: B023
            case "finish":
                answer = b"%d\xff" % step
                expected = model.finish(id_, payload, token, answer)
                found = await kit.use(lambda store: records_of(store).finish(id_, payload, token, answer, TTL))  # noqa: B023
                assert found is expected, step
            case "free":
                model.free(id_, token)
                await kit.use(lambda store: records_of(store).free(id_, token))  # noqa: B023
            case "time":
                pause = rng.choice((1.0, LEASE / 2, LEASE, LEASE + GRACE, TTL))
                model.now += pause
                clock.advance(pause)
    assert len(seen) > 4
