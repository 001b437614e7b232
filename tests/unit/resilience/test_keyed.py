"""Keyed guards: one breaker and one bulkhead for each key, and a bounded number of keys."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from outlast import Breaker, Bulkhead, BulkheadFull, ConfigurationError, Guard, GuardOpen
from outlast.resilience.calls import THREADS
from outlast.resilience.keyed import LOOKS
from tests.support.fake_time import FakeTime


async def fetch(host: str, fails: bool = False) -> str:
    if fails:
        raise ConnectionError
    return host


async def by_name(*, host: str = "b") -> str:
    return host


class Client:
    async def get(self, host: str) -> str:
        return host


def keyed(time: FakeTime, **settings: object) -> Guard:
    policies = {"breaker": Breaker(minimum=2, ramp=0), "key": "host", **settings}
    return Guard("hosts", clock=time.now, **policies)  # type: ignore[arg-type]


async def open_key(guard: Guard, host: str) -> None:
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await guard.call(fetch, host, fails=True)


def test_one_of_100_keys_is_down_and_the_others_lose_nothing(time: FakeTime) -> None:
    guard = keyed(time)

    async def main() -> None:
        await open_key(guard, "host-7")
        for number in range(100):
            if number == 7:
                with pytest.raises(GuardOpen):
                    await guard.call(fetch, "host-7")
            else:
                assert await guard.call(fetch, host=f"host-{number}") == f"host-{number}"

    time.run(main)
    assert (guard.of("host-7").view().state, guard.of("host-8").view().state) == ("open", "closed")


def test_one_key_does_not_take_the_turns_of_another(time: FakeTime) -> None:
    guard = keyed(time, bulkhead=Bulkhead(1, max_wait=0))

    async def main() -> None:
        async with guard.of("slow"):
            with pytest.raises(BulkheadFull):
                await guard.call(fetch, "slow")
            assert await guard.call(fetch, "fast") == "fast"
        assert await guard.call(fetch, "slow") == "slow"

    time.run(main)


@pytest.mark.parametrize("key", ["host", lambda host, fails=False: host.upper()])
def test_a_key_is_a_parameter_or_a_function_of_the_arguments(time: FakeTime, key: object) -> None:
    guard = keyed(time, key=key)

    async def main() -> None:
        await guard.call(fetch, "a")
        await guard.call(fetch, host="a")
        if key == "host":
            await guard.call(Client().get, "a")
            await guard.call(Client.get, Client(), "a")
            await guard.call(Client().get, "a")
            await guard.call(by_name, host="a")
            await guard.call(by_name)
        await guard(fetch)("a")

    time.run(main)
    name = "a" if key == "host" else "A"
    assert guard.of(name).view().calls == (7 if key == "host" else 3)


def test_a_parameter_that_is_not_there_is_refused(time: FakeTime) -> None:
    guard = keyed(time, key="tenant")
    with pytest.raises(ConfigurationError, match=r"key='tenant' names no parameter .* host, fails"):
        guard(fetch)
    with pytest.raises(ConfigurationError, match="names no parameter"):
        time.run(lambda: guard.call(fetch, "a"))


def test_blocks_and_views_name_their_key(time: FakeTime) -> None:
    guard = keyed(time)

    async def main() -> None:
        with pytest.raises(ConfigurationError, match=r"with guard\.of\(key\)"):
            async with guard:
                pass
        async with guard.of("a"):
            pass
        assert await guard.of("a").call(asyncio.sleep, 0, 7) == 7
        with guard.of("a"):
            pass
        assert guard.of("a").call_sync(int) == 0

    time.run(main)
    assert guard.of("a").view().calls == 4
    with pytest.raises(ConfigurationError, match=r"guard\.of\(key\)\.view"):
        guard.view()
    with pytest.raises(ConfigurationError, match="has no key="):
        Guard("payments").of("a")


def test_a_key_held_by_hand(time: FakeTime) -> None:
    guard = keyed(time)
    guard.of("a").hold("open")
    with pytest.raises(GuardOpen):
        guard.of("a").call_sync(int)
    assert guard.of("b").call_sync(int) == 0


class TestTheBound:
    def kept(self, guard: Guard) -> int:
        assert guard._lanes is not None
        return len(guard._lanes)

    def test_the_key_that_was_used_longest_ago_is_dropped(self, time: FakeTime) -> None:
        guard = keyed(time, max_keys=3)

        async def main() -> None:
            for host in ("a", "b", "c", "a", "d"):
                await guard.call(fetch, host)
            assert guard._lanes is not None
            assert [guard._lanes.peek(host) is not None for host in "abcd"] == [True, False, True, True]

        time.run(main)

    def test_5_000_keys_keep_no_more(self, time: FakeTime) -> None:
        guard = keyed(time, max_keys=50)

        async def main() -> None:
            for number in range(5_000):
                await guard.call(fetch, f"host-{number}")

        time.run(main)
        assert self.kept(guard) == 50

    def test_open_and_busy_keys_stay(self, time: FakeTime) -> None:
        guard = keyed(time, max_keys=3)

        async def main() -> None:
            await open_key(guard, "down")
            async with guard.of("busy"):
                for number in range(50):
                    await guard.call(fetch, f"host-{number}")
                with pytest.raises(GuardOpen):
                    await guard.call(fetch, "down")
                assert guard.of("busy").view().in_flight == 1

        time.run(main)
        assert self.kept(guard) == 3

    def test_keys_without_room_have_no_breaker_and_it_is_told_once(
        self, time: FakeTime, caplog: pytest.LogCaptureFixture
    ) -> None:
        guard = keyed(time, max_keys=LOOKS)
        caplog.set_level(logging.WARNING, logger="outlast.guards")

        async def main() -> None:
            for number in range(LOOKS):
                await open_key(guard, f"down-{number}")
            for _ in range(9):
                with pytest.raises(ConnectionError):
                    await guard.call(fetch, "more", fails=True)
            assert await guard.call(fetch, "another") == "another"

        time.run(main)
        assert self.kept(guard) == LOOKS
        full = [record.levelname for record in caplog.records if "max_keys=" in record.getMessage()]
        assert full == ["WARNING"]
        assert "max_keys=16" in caplog.text

    def test_a_call_that_fails_lets_its_key_go(self, time: FakeTime) -> None:
        guard = keyed(time, max_keys=1, breaker=Breaker(minimum=100))

        async def main() -> None:
            for host in ("a", "b"):
                with pytest.raises(ConnectionError):
                    await guard.call(fetch, host, fails=True)
            with pytest.raises(TypeError):
                await guard.call(fetch, "c", nonsense=1)  # type: ignore[call-arg]
            assert await guard.call(fetch, "d") == "d"
            assert guard._lanes is not None
            assert guard._lanes.peek("d") is not None

        time.run(main)

    @pytest.mark.parametrize("key", [[], {}, {"a": 1}])
    def test_a_key_that_cannot_be_kept_is_refused_with_the_fix(self, time: FakeTime, key: Any) -> None:
        guard = keyed(time, max_keys=1)
        with pytest.raises(ConfigurationError, match=r"guard 'hosts': the key .* cannot be kept .*: give text"):
            time.run(lambda: guard.call(fetch, key))
        with pytest.raises(ConfigurationError, match="cannot be kept"):
            guard.of(key).view()


async def test_keys_whose_threads_hang_leave_threads_for_the_others() -> None:
    guard = Guard("hosts", key="host", bulkhead=1)
    hang = threading.Event()

    def ask(host: str) -> str:
        if host != "good":
            hang.wait(60)
        return host

    hanging = [asyncio.create_task(guard.call(ask, f"down-{number}")) for number in range(THREADS)]
    try:
        assert await asyncio.wait_for(guard.call(ask, "good"), 30) == "good"
    finally:
        hang.set()
        await asyncio.gather(*hanging)
