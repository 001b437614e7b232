"""A request with an Idempotency-Key runs once on every store, and each repetition gets its answer, 409 or 422."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from outlast import deadline
from outlast.fastapi import Idempotency, IdempotencyMiddleware
from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.idempotency.forms import records_of
from outlast.toolkit.idempotency.keeper import LEASE
from outlast.toolkit.idempotency.keys import Held, IdempotencyKeys, InFlight, OtherPayload, StoredAnswer
from outlast.toolkit.idempotency.records import GRACE, KeyFound
from outlast.toolkit.store import ToolkitStore
from tests.support.asgi import Reply, ask

SCOPE, PAYLOAD, OTHER = [b"me", b"POST", b"/orders", b"k"], b"p" * 32, b"o" * 32
ANSWER = StoredAnswer(201, ((b"content-type", b"text/plain"),), b"\x00\xff order 1")


@pytest.fixture
def keys(kit: Toolkit) -> IdempotencyKeys:
    return IdempotencyKeys(kit, ttl=3600)


@pytest.fixture
def other_keys(other_kit: Toolkit) -> IdempotencyKeys:
    """The keys as another process sees them."""
    return IdempotencyKeys(other_kit, ttl=3600)


async def begun(keys: IdempotencyKeys) -> Held:
    held = await keys.begin(SCOPE, PAYLOAD)
    assert isinstance(held, Held)
    return held


class TestOneKey:
    """A key has one holder; then it has an answer, until that expires."""

    async def test_a_second_request_waits_for_the_first_and_gets_its_answer(self, keys: IdempotencyKeys) -> None:
        held = await begun(keys)
        found = await keys.begin(SCOPE, PAYLOAD)
        assert isinstance(found, InFlight)
        assert 0 < found.left <= LEASE
        assert await held.finish(ANSWER)
        assert await keys.begin(SCOPE, PAYLOAD) == ANSWER

    async def test_the_end_is_stored_though_the_deadline_of_the_request_has_passed(
        self, keys: IdempotencyKeys, other_keys: IdempotencyKeys
    ) -> None:
        for answer in (None, ANSWER):
            held = await begun(keys)
            with deadline(0):
                if answer is None:
                    await held.free()
                else:
                    assert await held.finish(answer)
        assert await other_keys.begin(SCOPE, PAYLOAD) == ANSWER

    async def test_another_payload_is_told_while_it_runs_and_later(self, keys: IdempotencyKeys) -> None:
        held = await begun(keys)
        assert isinstance(await keys.begin(SCOPE, OTHER), OtherPayload)
        await held.finish(ANSWER)
        assert isinstance(await keys.begin(SCOPE, OTHER), OtherPayload)

    async def test_each_part_of_the_scope_makes_another_key(self, keys: IdempotencyKeys) -> None:
        await begun(keys)
        for place in range(4):
            scope = [part + b"2" if place == at else part for at, part in enumerate(SCOPE)]
            assert isinstance(await keys.begin(scope, PAYLOAD), Held)
        assert isinstance(await keys.begin([b"mePOST", b"", b"/orders", b"k"], PAYLOAD), Held)

    async def test_a_key_that_is_freed_runs_again(self, keys: IdempotencyKeys) -> None:
        held = await begun(keys)
        await held.free()
        again = await begun(keys)
        await held.free()  # of the first one: it has nothing to free
        assert isinstance(await keys.begin(SCOPE, PAYLOAD), InFlight)
        await again.finish(ANSWER)
        await again.free()
        assert await keys.begin(SCOPE, PAYLOAD) == ANSWER

    async def test_an_answer_ends_with_its_time(self, keys: IdempotencyKeys, clock: FakeClock) -> None:
        await (await begun(keys)).finish(ANSWER)
        clock.advance(3599)
        assert await keys.begin(SCOPE, PAYLOAD) == ANSWER
        clock.advance(1)
        await begun(keys)

    async def test_a_step_of_the_wall_clock_ends_no_lease(self, keys: IdempotencyKeys, clock: FakeClock) -> None:
        await begun(keys)
        clock.step_wall(3600 * 24)
        assert isinstance(await keys.begin(SCOPE, PAYLOAD), InFlight)


class TestCrash:
    """The key of a process that has died is free after its lease; one that comes back late overwrites nothing."""

    async def test_the_key_is_held_until_its_lease_ends_then_one_request_runs(
        self, kit: Toolkit, clock: FakeClock
    ) -> None:
        assert (await crashed(kit)).state == "begun"
        keys = IdempotencyKeys(kit, ttl=3600)
        clock.advance(LEASE - 1)
        assert isinstance(await keys.begin(SCOPE, PAYLOAD), InFlight)
        clock.advance(1)
        found = await asyncio.gather(*(keys.begin(SCOPE, PAYLOAD) for _ in range(20)))
        assert sorted(type(each).__name__ for each in found) == ["Held"] + ["InFlight"] * 19

    async def test_a_key_that_is_renewed_stays_held(self, keys: IdempotencyKeys, clock: FakeClock) -> None:
        await begun(keys)
        for _ in range(4):
            clock.advance(LEASE / 2)
            assert not await keys.keeper.step()
        assert isinstance(await keys.begin(SCOPE, PAYLOAD), InFlight)

    async def test_a_late_first_run_cannot_overwrite(self, keys: IdempotencyKeys, clock: FakeClock) -> None:
        first = await begun(keys)
        clock.advance(LEASE)
        second = await begun(keys)
        assert not await first.finish(StoredAnswer(200, (), b"late"))
        assert isinstance(await keys.begin(SCOPE, PAYLOAD), InFlight)
        assert await second.finish(ANSWER)
        assert not await first.finish(StoredAnswer(200, (), b"late"))
        assert await keys.begin(SCOPE, PAYLOAD) == ANSWER

    @pytest.mark.parametrize("pause", [LEASE, LEASE + GRACE + 1])
    async def test_a_late_run_that_nobody_repeated_counts(
        self, keys: IdempotencyKeys, clock: FakeClock, pause: float
    ) -> None:
        first = await begun(keys)
        clock.advance(pause)
        assert await first.finish(ANSWER)
        assert await keys.begin(SCOPE, PAYLOAD) == ANSWER

    async def test_a_renewal_that_comes_too_late_takes_nothing(self, keys: IdempotencyKeys, clock: FakeClock) -> None:
        await begun(keys)
        clock.advance(LEASE)
        second = await begun(keys)
        await keys.keeper.step()
        assert await second.finish(ANSWER)

    async def test_a_call_that_is_repeated_finds_what_it_did(self, kit: Toolkit) -> None:
        assert (await crashed(kit)).state == (await crashed(kit)).state == "begun"

        async def finish(store: ToolkitStore) -> bool:
            return await records_of(store).finish("f" * 64, PAYLOAD, "t", b"a", 60)

        assert await kit.use(finish) and await kit.use(finish)


async def crashed(kit: Toolkit) -> KeyFound:
    """Hold the key as a process does that is killed then: nothing renews it."""
    from outlast.toolkit.idempotency.keys import digest_of

    async def begin(store: ToolkitStore) -> KeyFound:
        return await records_of(store).begin(digest_of(*SCOPE).hex(), PAYLOAD, "crashed", LEASE)

    return await kit.use(begin)


@dataclass
class Shop:
    """An app of one process; the handler counts the orders."""

    kit: Toolkit
    orders: int = 0

    def __post_init__(self) -> None:
        routes = [Route("/orders", self.order, methods=["POST"])]
        self.app = IdempotencyMiddleware(Starlette(routes=routes), shop=self, options=Idempotency(ttl=3600))  # type: ignore[arg-type]

    def _piece(self) -> Callable[[], Toolkit]:
        return self._toolkit

    def _toolkit(self) -> Toolkit:
        return self.kit

    async def order(self, request: Request) -> Response:
        self.orders += 1
        number = self.orders
        await asyncio.sleep(0)
        return JSONResponse({"order": number, "for": await request.json()}, 201, {"Location": f"/orders/{number}"})


async def one_of_many(shop: Shop) -> Reply:
    return await ask(shop.app, "/orders", '"one"', b'"ann"')


async def test_of_a_thousand_concurrent_requests_one_runs(kit: Toolkit) -> None:
    shop = Shop(kit)
    replies = await asyncio.gather(*(one_of_many(shop) for _ in range(1000)))
    assert shop.orders == 1
    assert {each.status for each in replies} <= {201, 409}
    done = [each for each in replies if each.status == 201]
    assert {each.body for each in done} == {done[0].body}
    assert sum("idempotent-replayed" not in each.headers for each in done) == 1
    again = await one_of_many(shop)
    assert (again.status, json.loads(again.body)["order"], again.headers["location"]) == (201, 1, "/orders/1")
    assert again.headers["idempotent-replayed"] == "true"


async def test_two_processes_run_one(kit: Toolkit, other_kit: Toolkit) -> None:
    shops = [Shop(kit), Shop(other_kit)]
    replies = await asyncio.gather(*(one_of_many(shops[number % 2]) for number in range(200)))
    assert sum(shop.orders for shop in shops) == 1
    assert {each.status for each in replies} <= {201, 409}


async def test_what_another_process_was_answered_is_replayed(
    keys: IdempotencyKeys, other_keys: IdempotencyKeys
) -> None:
    await (await begun(keys)).finish(ANSWER)
    assert await other_keys.begin(SCOPE, PAYLOAD) == ANSWER
