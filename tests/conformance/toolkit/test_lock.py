"""Locks on every store: one holder at a time, first come, first served; tokens that only grow; nothing that is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from outlast import LockLost, LockTimeout
from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.lock.leader import Leader
from outlast.toolkit.lock.lease import LockLease
from outlast.toolkit.server import ToolkitServer
from tests.support.locks import asked, empty, keys_of, left, lock_of, places, waits_of
from tests.support.polling import until


async def waiting(kit: Toolkit, number: int) -> None:
    await until(lambda: waits_of(kit, number), f"{number} hold or wait")


async def test_one_holder_at_a_time_and_tokens_grow(kit: Toolkit) -> None:
    inside, tokens = 0, list[int]()

    async def one(name: str) -> None:
        nonlocal inside
        async with lock_of(kit, name) as lease:
            inside += name == "stock:7"
            assert inside <= 1
            tokens.append(lease.token)
            await asyncio.sleep(0)
            inside -= name == "stock:7"

    await asyncio.gather(*(one("stock:7") for _ in range(30)))
    assert len({*tokens}) == 30
    assert tokens == sorted(tokens)
    assert await places(kit) == 0


async def test_names_of_any_text_are_locks_of_their_own(kit: Toolkit) -> None:
    names = ["stock:7", "stock:*", "stock:{7}", "stock:7 ", "\n", "Straße", "x" * 5000, "x" * 4999, "lock:stock:7"]
    for name in names:
        lease = await lock_of(kit, name, wait=0).__aenter__()
        assert lease.name == name
    for name in names:
        with pytest.raises(LockTimeout):
            await lock_of(kit, name, wait=0).__aenter__()
    assert await places(kit) == len(names)


async def test_first_come_first_served_over_processes(kit: Toolkit, other_kit: Toolkit) -> None:
    order: list[int] = []

    async def one(number: int) -> None:
        async with lock_of(other_kit if number % 3 == 1 else kit):
            order.append(number)

    async with lock_of(kit):
        tasks = []
        for number in range(9):
            tasks.append(asyncio.create_task(one(number)))
            await waiting(kit, number + 2)
    await asyncio.gather(*tasks)
    assert order == [*range(9)]


async def test_a_try_does_not_overtake_those_who_wait(kit: Toolkit, clock: FakeClock) -> None:
    assert (await asked(kit, "holder")).token
    assert not (await asked(kit, "waiter")).token
    await left(kit, "holder")
    with pytest.raises(LockTimeout, match=r"'stock:7' was held by others for 0 s: give a longer wait="):
        async with lock_of(kit, wait=0):
            raise AssertionError("it has no turn")
    assert (await asked(kit, "waiter")).token


async def test_a_waiter_that_died_delays_the_others_until_its_place_ends(kit: Toolkit, clock: FakeClock) -> None:
    assert (await asked(kit, "holder")).token
    await asked(kit, "dead")
    await asked(kit, "next")
    await left(kit, "holder")
    assert not (await asked(kit, "next")).token
    clock.advance(2)
    assert not (await asked(kit, "next")).token, "which keeps its own place"
    clock.advance(1.5)
    assert (await asked(kit, "next")).token


async def test_a_holder_that_died_delays_the_others_until_its_lease_ends(kit: Toolkit, clock: FakeClock) -> None:
    first = await asked(kit, "dead")
    task = asyncio.create_task(lock_of(kit).__aenter__())
    await waiting(kit, 2)
    for _ in range(8):
        clock.advance(1.2)
        await until(lambda: waits_of(kit, 2), "the waiter is in line")
    assert not task.done()
    clock.advance(0.5)
    assert (await task).token > first.token


async def test_a_wait_ends_in_time_and_leaves_the_line(kit: Toolkit, clock: FakeClock) -> None:
    await asked(kit, "holder", lease=1000.0)
    task = asyncio.create_task(lock_of(kit, wait=3).__aenter__())
    await waiting(kit, 2)
    clock.advance(2.9)
    assert not (await asyncio.wait([task], timeout=0))[0]
    clock.advance(0.2)
    with pytest.raises(LockTimeout) as caught:
        await task
    assert (caught.value.name, round(caught.value.waited, 1)) == ("stock:7", 3.1)
    await waiting(kit, 1)


async def test_a_cancelled_wait_leaves_the_line(kit: Toolkit) -> None:
    async with lock_of(kit):
        first = asyncio.create_task(lock_of(kit).__aenter__())
        await waiting(kit, 2)
        second = asyncio.create_task(lock_of(kit).__aenter__())
        await waiting(kit, 3)
        first.cancel()
        await waiting(kit, 2)
    assert (await second).token


async def test_it_is_renewed_until_the_end_of_its_block(kit: Toolkit, clock: FakeClock) -> None:
    async with lock_of(kit) as lease:
        for _ in range(12):
            clock.advance(4)
            await until(lambda: lease.ends_at > clock.monotonic() + 8, "the lease is renewed")
            assert not (await asked(kit, "other", join=False)).token
        lease.check()
    assert (await asked(kit, "other", join=False)).token > lease.token


async def lost_in(body: Callable[[LockLease], Awaitable[None]], kit: Toolkit) -> LockLost:
    with pytest.raises(LockLost) as caught:
        async with lock_of(kit) as lease:
            await body(lease)
    return caught.value


async def test_a_store_that_forgot_the_lock_cancels_the_body(kit: Toolkit, clock: FakeClock) -> None:
    ended: list[str] = []

    async def body(lease: LockLease) -> None:
        await empty(kit)
        clock.advance(4)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert lease.lost
            ended.append("cancelled")
            raise

    error = await lost_in(body, kit)
    assert ended == ["cancelled"]
    assert "the store does not have it any more" in str(error)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_body_that_ended_late_is_told(kit: Toolkit, clock: FakeClock) -> None:
    async def body(lease: LockLease) -> None:
        clock.advance(9.1)  # before the store's lease ends
        with pytest.raises(LockLost, match="could not be renewed in time"):
            lease.check()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.Event().wait()

    await lost_in(body, kit)


async def test_another_error_of_the_body_is_its_own(kit: Toolkit) -> None:
    with pytest.raises(ZeroDivisionError):
        async with lock_of(kit) as lease:
            lease.lose("a reason")
            raise ZeroDivisionError
    await waiting(kit, 0)


async def test_blocking_code_has_the_same_lock(kit: Toolkit) -> None:
    lock = lock_of(kit)

    def tried(wait: float | None) -> int:
        with lock_of(kit, wait=wait) as lease:
            lease.check()
            return lease.token

    async with lock as lease:
        with pytest.raises(LockTimeout):
            await asyncio.to_thread(tried, 0)
        waits = asyncio.create_task(asyncio.to_thread(tried, None))
        await waiting(kit, 2)
    assert await waits > lease.token


def test_blocking_code_is_told_of_a_loss(place: object, kit: Toolkit, clock: FakeClock) -> None:
    with pytest.raises(LockLost), lock_of(kit) as lease:
        assert not lease.lost
        clock.advance(9.5)
        assert lease.lost
    with pytest.raises(LockLost):
        lease.check()


async def test_a_semaphore_has_so_many_holders(kit: Toolkit) -> None:
    inside, most = 0, 0

    async def one() -> None:
        nonlocal inside, most
        async with lock_of(kit, kind="semaphore", slots=3):
            inside += 1
            most = max(most, inside)
            for _ in range(5):
                await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(one() for _ in range(12)))
    assert most <= 3
    holders = [await asked(kit, f"h{each}", "semaphore:x", slots=3) for each in range(4)]
    assert [bool(each.token) for each in holders] == [True, True, True, False]
    await left(kit, "h1", "semaphore:x")
    assert (await asked(kit, "h3", "semaphore:x", slots=3)).token
    async with lock_of(kit, "x", wait=0):
        pass  # a lock of the same name is another


async def test_a_leader_is_followed_by_the_next_candidate(kit: Toolkit, clock: FakeClock) -> None:
    terms: list[int] = []
    first, second = (Leader(lock_of(kit, "reports", kind="leader")) for _ in range(2))
    go = asyncio.Event()

    async def work(lease: LockLease) -> str:
        terms.append(lease.token)
        if len(terms) == 3:
            return "done"
        await go.wait()
        return "left"

    tasks = [asyncio.create_task(first.run(work))]
    await until(lambda: first.leads, "the first leads")
    tasks.append(asyncio.create_task(second.run(work)))
    await waiting(kit, 2)
    assert not second.leads
    await empty(kit)  # as a failover that lost the last writes
    clock.advance(4)
    await until(lambda: len(terms) >= 2, "another term has begun")
    go.set()
    assert {*(await asyncio.gather(*tasks))} <= {"left", "done"}
    assert terms == sorted({*terms})


@pytest.mark.parametrize("stepped", [0.0, -3600.0])
async def test_the_token_grows_over_an_emptied_store(kit: Toolkit, clock: FakeClock, stepped: float) -> None:
    tokens: list[int] = []
    for _ in range(4):
        for _ in range(3):
            async with lock_of(kit) as lease:
                tokens.append(lease.token)
        clock.step_wall(stepped)
        await empty(kit)
    assert tokens == sorted({*tokens})


async def test_the_token_grows_for_a_process_that_saw_none(kit: Toolkit, other_kit: Toolkit, clock: FakeClock) -> None:
    async with lock_of(kit) as first:
        pass
    await empty(kit)
    clock.advance(0.001)
    async with lock_of(other_kit) as second:
        pass
    assert second.token > first.token


async def test_every_key_of_a_server_expires_but_the_fence(kit: Toolkit) -> None:
    async def lives(server: ToolkitServer) -> dict[str, int]:
        return {key.split("}:")[1]: int(await server.client.command("PTTL", key)) for key in await keys_of(server)}

    async def nothing(_: object) -> dict[str, int]:
        return {}

    await asked(kit, "holder")
    await asked(kit, "waiter")
    found = await kit.use(lambda store: store.choose(nothing, nothing, lives))
    lasting = [key for key, life in found.items() if life < 0]
    assert lasting == (["fence"] if found else [])
    assert all(life <= 120_000 for life in found.values())
    await left(kit, "holder")
    await left(kit, "waiter")
    assert await places(kit) == 0
    found = await kit.use(lambda store: store.choose(nothing, nothing, lives))
    assert [*found] in ([], ["fence"])
