"""Guarded calls: timeouts, retries and fallbacks, awaited and plain."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import pytest

from outlast import (
    Breaker,
    ConfigurationError,
    Constant,
    Fallback,
    Guard,
    GuardOpen,
    GuardTimeout,
    Retry,
    RetryBudget,
    deadline,
)
from tests.support.fake_time import FakeTime

THREE = Retry(attempts=3, backoff=Constant(1))


class Dependency:
    """Answers each call with the next of its answers, then with the last one again."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls = 0

    async def call(self, value: int = 0) -> Any:
        return self.plain(value)

    def plain(self, value: int = 0) -> Any:
        answer = self.answers[min(self.calls, len(self.answers) - 1)]
        self.calls += 1
        if isinstance(answer, BaseException):
            raise answer
        return answer


def notes(error: BaseException) -> str:
    return " ".join(getattr(error, "__notes__", ()))


def response(status: int, method: str = "GET", **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, headers=named, request=httpx2.Request(method, "http://test/"))


class TestTheCall:
    def test_it_returns_what_the_function_returns(self, time: FakeTime) -> None:
        guard = Guard("payments", timeout=2, retry=3, breaker=True, bulkhead=20, clock=time.now)

        async def main() -> list[Any]:
            plain = await asyncio.wait_for(guard.call(Dependency(3).plain), None)
            return [
                await guard.call(Dependency(1).call, 7),
                await guard.call(functools.partial(Dependency(2).call, value=7)),
                plain,
                guard.call_sync(Dependency(4).plain, value=7),
            ]

        assert asyncio.run(main()) == [1, 2, 3, 4]
        assert guard.view().calls == 4

    def test_a_plain_function_that_returns_an_awaitable_is_awaited(self) -> None:
        def prepares() -> Any:
            return Dependency(5).call()

        assert asyncio.run(Guard("payments", timeout=2).call(prepares)) == 5

    def test_what_the_function_raises_comes_through(self, time: FakeTime) -> None:
        error = ValueError("no")

        async def main() -> None:
            guard = Guard("payments", breaker=True, clock=time.now)
            for call in (Dependency(error).call, Dependency(error).plain):
                with pytest.raises(ValueError, match="no") as raised:
                    await guard.call(call)
                assert raised.value is error
            assert notes(error) == ""
            assert guard.view().failures == 2

        asyncio.run(main())

    @pytest.mark.parametrize("given", [None, 7, "call"])
    def test_only_functions_are_called(self, given: Any) -> None:
        with pytest.raises(TypeError, match="give a function"):
            asyncio.run(Guard("payments").call(given))
        with pytest.raises(TypeError, match="give a function"):
            Guard("payments").call_sync(given)
        with pytest.raises(TypeError, match="give a function"):
            Guard("payments")(given)

    def test_a_coroutine_is_not_a_function(self) -> None:
        with pytest.raises(TypeError, match=r"guard\.call\(f, x\), not guard\.call\(f\(x\)\)"):
            asyncio.run(Guard("payments").call(Dependency(1).call()))  # type: ignore[call-overload]

    def test_an_async_function_is_not_called_by_a_thread(self) -> None:
        with pytest.raises(TypeError, match="it is async"):
            _ = Guard("payments").call_sync(Dependency(1).call)

    def test_a_bulkhead_gets_its_permits_back_whatever_happens(self, time: FakeTime) -> None:
        guard = Guard("payments", timeout=60, bulkhead=3, clock=time.now)

        async def main() -> None:
            for answer in (1, ValueError(), KeyboardInterrupt(), asyncio.CancelledError()):
                for call in (Dependency(answer).call, Dependency(answer).plain):
                    with pytest.raises(type(answer)) if isinstance(answer, BaseException) else deadline(None):
                        await guard.call(call)
            with pytest.raises(TypeError):
                await guard.call(Dependency(1).call, 1, 2, 3)  # type: ignore[call-overload]
            with deadline(0.001), pytest.raises(GuardTimeout):
                await guard.call(asyncio.sleep, 9)
            hangs = asyncio.create_task(guard.call(asyncio.sleep, 9))
            await asyncio.sleep(0)
            hangs.cancel()
            await asyncio.wait([hangs])

        asyncio.run(main())
        permits = guard._lane.permits  # type: ignore[union-attr]
        assert permits is not None
        assert permits.taken == 0


class TestTimeout:
    def test_a_call_that_takes_longer_is_ended(self, time: FakeTime) -> None:
        guard = Guard("payments", timeout="1.5s", breaker=True, clock=time.now)

        async def main() -> None:
            with pytest.raises(GuardTimeout, match=r"longer than timeout=1\.5 s") as raised:
                await guard.call(asyncio.sleep, 9)
            assert (raised.value.guard, raised.value.timeout, raised.value.running) == ("payments", 1.5, False)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0

        time.run(main)
        assert time.at == 1001.5
        assert guard.view().failures == 1

    def test_a_timeout_error_of_the_function_is_its_own(self, time: FakeTime) -> None:
        async def main() -> None:
            with pytest.raises(TimeoutError) as raised:
                await Guard("payments", timeout=2, clock=time.now).call(Dependency(TimeoutError("own")).call)
            assert str(raised.value) == "own"

        time.run(main)

    def test_of_nested_guards_the_shorter_holds(self, time: FakeTime) -> None:
        outer, inner = Guard("outer", timeout=1, clock=time.now), Guard("inner", timeout=5, clock=time.now)

        async def main() -> None:
            with pytest.raises(GuardTimeout) as raised:
                await outer.call(inner.call, asyncio.sleep, 9)
            assert raised.value.guard == "outer"

        time.run(main)
        assert time.at == 1001

    def test_a_cancel_is_neutral_and_stays_a_cancel(self, time: FakeTime) -> None:
        guard = Guard("payments", timeout=5, retry=THREE, breaker=True, clock=time.now)

        async def main() -> None:
            call = asyncio.create_task(guard.call(asyncio.sleep, 9))
            await asyncio.sleep(1)
            call.cancel()
            await asyncio.wait([call])
            assert call.cancelled()

        time.run(main)
        assert (guard.view().calls, guard.view().in_flight) == (0, 0)


class TestRetry:
    def test_it_is_repeated_after_the_backoff(self, time: FakeTime) -> None:
        dependency = Dependency(ConnectionError(), ConnectionError(), 7)

        async def main() -> None:
            guard = Guard("payments", retry=THREE, clock=time.now)
            assert await guard.call(dependency.call) == 7

        time.run(main)
        assert (time.at, dependency.calls) == (1002, 3)

    def test_the_last_error_says_why_it_was_not_repeated(self, time: FakeTime) -> None:
        async def main() -> None:
            guard = Guard("payments", retry=THREE, clock=time.now)
            with pytest.raises(ConnectionError) as raised:
                await guard.call(Dependency(ConnectionError()).call)
            assert notes(raised.value) == "not repeated: all 3 attempts are used"

        time.run(main)

    def test_a_single_attempt_needs_no_note(self, time: FakeTime) -> None:
        async def main() -> None:
            with pytest.raises(ConnectionError) as raised:
                await Guard("payments", retry=1, clock=time.now).call(Dependency(ConnectionError()).call)
            assert notes(raised.value) == ""

        time.run(main)

    def test_a_response_of_500_is_replaced(self, time: FakeTime) -> None:
        bad = response(503, Retry_After="4")
        good = response(200)

        async def main() -> None:
            guard = Guard("payments", retry=THREE, breaker=True, clock=time.now)
            assert await guard.call(Dependency(bad, good).call) is good
            assert guard.view().failures == 1

        time.run(main)
        assert time.at == 1004
        assert bad.is_closed

    def test_the_last_response_is_returned(self, time: FakeTime) -> None:
        last = response(503)

        async def main() -> None:
            guard = Guard("payments", retry=THREE, clock=time.now)
            assert await guard.call(Dependency(response(500), response(502), last).call) is last
            posted = response(503, "POST")
            dependency = Dependency(posted)
            assert await guard.call(dependency.call) is posted
            assert dependency.calls == 1

        time.run(main)

    def test_a_deadline_is_never_slept_past(self, time: FakeTime) -> None:
        dependency = Dependency(ConnectionError())

        async def main() -> None:
            with deadline(1.5), pytest.raises(ConnectionError) as raised:
                await Guard("payments", retry=Retry(attempts=9, backoff=Constant(1)), clock=time.now).call(
                    dependency.call
                )
            assert "past the deadline" in notes(raised.value)

        time.run(main)
        assert (time.at, dependency.calls) == (1001, 2)

    def test_retry_after_beyond_the_deadline_is_the_error_at_once(self, time: FakeTime) -> None:
        answer = response(429, Retry_After="60")
        error = httpx2.HTTPStatusError("busy", request=answer.request, response=answer)

        async def main() -> None:
            with deadline(30), pytest.raises(httpx2.HTTPStatusError) as raised:
                await Guard("payments", retry=THREE, clock=time.now).call(Dependency(error).call)
            assert "asks to wait 60 s" in notes(raised.value)

        time.run(main)
        assert time.at == 1000

    def test_a_post_that_the_guard_ends_is_not_repeated(self, time: FakeTime) -> None:
        """A timeout of the guard carries no request: it is found in the frames of the client."""
        sent: list[str] = []

        async def hang(request: httpx2.Request) -> httpx2.Response:
            sent.append(request.method)
            await asyncio.sleep(60)
            return httpx2.Response(200)

        async def main() -> None:
            guard = Guard("payments", timeout=1, retry=THREE, clock=time.now)
            safe = Guard("payments", timeout=1, retry=THREE, idempotent=True, clock=time.now)
            async with httpx2.AsyncClient(transport=httpx2.MockTransport(hang)) as client:
                with pytest.raises(GuardTimeout, match="longer") as raised:
                    await guard.call(client.post, "http://test/")
                assert "POST may have been done" in notes(raised.value)
                for call in (guard.call(client.get, "http://test/"), safe.call(client.post, "http://test/")):
                    with pytest.raises(GuardTimeout):
                        await call

        time.run(main)
        assert sent == ["POST"] + ["GET"] * 3 + ["POST"] * 3

    def test_a_plain_call_that_still_runs_is_not_repeated(self, time: FakeTime) -> None:
        end, begun = threading.Event(), threading.Event()
        calls: list[int] = []

        def block() -> None:
            calls.append(1)
            begun.set()
            end.wait(10)

        async def main() -> None:
            call = asyncio.create_task(Guard("payments", timeout=1, retry=THREE, clock=time.now).call(block))
            await asyncio.sleep(0)
            begun.wait(10)
            with pytest.raises(GuardTimeout) as raised:
                await call
            assert "its thread still runs" in notes(raised.value)
            end.set()

        time.run(main)
        assert calls == [1]

    def test_rules_that_raise_end_the_retry(self, time: FakeTime) -> None:
        class Broken:
            def delay(self, attempt: int, rng: object) -> float:
                raise RuntimeError("no delay")

        class Never:
            def delay(self, attempt: int, rng: object) -> float:
                return float("nan")

        async def main() -> None:
            for backoff in (Broken(), Never()):
                with pytest.raises(ConnectionError) as raised:
                    await Guard("payments", retry=Retry(backoff=backoff), clock=time.now).call(
                        Dependency(ConnectionError()).call
                    )
                assert "its retry rules raised" in notes(raised.value)

        time.run(main)

    def test_an_open_breaker_ends_the_retry_with_the_error_of_the_dependency(self, time: FakeTime) -> None:
        dependency = Dependency(ConnectionError())
        guard = Guard(
            "payments", retry=Retry(attempts=9, backoff=Constant(1)), breaker=Breaker(minimum=2), clock=time.now
        )

        async def main() -> None:
            with pytest.raises(ConnectionError) as raised:
                await guard.call(dependency.call)
            assert "not repeated: guard 'payments' made no call" in notes(raised.value)
            with pytest.raises(GuardOpen) as refused:
                await guard.call(dependency.call)
            assert notes(refused.value) == ""

        time.run(main)
        assert dependency.calls == 2

    def test_an_open_breaker_after_a_response_is_the_refusal(self, time: FakeTime) -> None:
        guard = Guard(
            "payments", retry=Retry(attempts=9, backoff=Constant(1)), breaker=Breaker(minimum=2), clock=time.now
        )

        async def main() -> None:
            with pytest.raises(GuardOpen):
                await guard.call(Dependency(response(503)).call)

        time.run(main)

    def test_the_budget_belongs_to_the_guard_and_counts_sleepers(self, time: FakeTime) -> None:
        dependency = Dependency(ConnectionError())
        guard = Guard("payments", retry=THREE, budget=RetryBudget(floor=5), clock=time.now)

        async def main() -> None:
            calls = [asyncio.create_task(guard.call(dependency.call)) for _ in range(100)]
            await asyncio.sleep(0.5)
            assert dependency.calls == 100
            assert guard._calls.allowance is not None
            assert guard._calls.allowance.left == 0  # five sleep
            ended = await asyncio.gather(*calls, return_exceptions=True)
            assert sum("the retry budget is used up" in notes(each) for each in ended) == 100

        time.run(main)
        assert dependency.calls == 105

    def test_successes_refill_the_budget_and_none_is_no_budget(self, time: FakeTime) -> None:
        guard = Guard("payments", retry=THREE, budget=0.1, clock=time.now)
        unbounded = Guard("payments", retry=THREE, budget=None, clock=time.now)

        async def main() -> None:
            assert guard._calls.allowance is not None
            for _ in range(10):
                await guard.call(Dependency(1).call)
            assert guard._calls.allowance.left == pytest.approx(11)
            dependency = Dependency(ConnectionError())
            await asyncio.gather(*[unbounded.call(dependency.call) for _ in range(100)], return_exceptions=True)
            assert dependency.calls == 300

        time.run(main)

    def test_in_a_thread_it_sleeps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        slept: list[float] = []
        monkeypatch.setattr("outlast.resilience.calls.sleep", slept.append)
        dependency = Dependency(ConnectionError(), response(503), 7)
        assert Guard("payments", retry=THREE).call_sync(dependency.plain) == 7
        assert slept == [1, 1]

    def test_on_the_thread_of_a_loop_it_does_not(self) -> None:
        dependency = Dependency(ConnectionError())

        async def main() -> None:
            with pytest.raises(ConnectionError) as raised:
                Guard("payments", retry=THREE).call_sync(dependency.plain)
            assert "would stop the event loop" in notes(raised.value)

        asyncio.run(main())
        assert dependency.calls == 1


class TestFallback:
    @pytest.mark.parametrize("error", [ConnectionError(), GuardTimeout("x", 1)])
    def test_a_value_in_place_of_the_error(self, time: FakeTime, error: Exception) -> None:
        guard = Guard("payments", fallback=Fallback([]), clock=time.now)

        async def main() -> Any:
            return await guard.call(Dependency(error).call), guard.call_sync(Dependency(error).plain)

        assert time.run(main) == ([], [])

    def test_a_function_gets_the_arguments_of_the_call(self, time: FakeTime) -> None:
        async def later(value: int = 0) -> tuple[str, int]:
            return "later", value

        def now(value: int = 0) -> tuple[str, int]:
            return "now", value

        async def main() -> list[Any]:
            failing = Dependency(ConnectionError())
            return [
                await Guard("a", fallback=Fallback(later), clock=time.now).call(failing.call, 7),
                await Guard("a", fallback=Fallback(now), clock=time.now).call(failing.call, value=8),
                Guard("a", fallback=Fallback(now), clock=time.now).call_sync(failing.plain, 9),
            ]

        assert time.run(main) == [("later", 7), ("now", 8), ("now", 9)]

    def test_only_for_its_classes_and_never_for_a_cancel(self, time: FakeTime) -> None:
        guard = Guard("payments", fallback=Fallback(0, on=ConnectionError), clock=time.now)
        for_all = Guard("payments", fallback=Fallback(0), clock=time.now)

        async def main() -> None:
            with pytest.raises(ValueError, match="x"):
                await guard.call(Dependency(ValueError("x")).call)
            with pytest.raises(asyncio.CancelledError):
                await for_all.call(Dependency(asyncio.CancelledError()).call)

        time.run(main)

    def test_after_the_retries(self, time: FakeTime) -> None:
        dependency = Dependency(ConnectionError())

        async def main() -> Any:
            return await Guard("a", retry=THREE, fallback=Fallback(0), clock=time.now).call(dependency.call)

        assert time.run(main) == 0
        assert dependency.calls == 3

    def test_one_that_raises_has_the_first_error_as_its_cause(self, time: FakeTime) -> None:
        first = ConnectionError()

        def broken(value: int = 0) -> None:
            raise KeyError("no copy")

        async def main() -> None:
            guard = Guard("payments", fallback=Fallback(broken), clock=time.now)
            with pytest.raises(KeyError) as raised:
                await guard.call(Dependency(first).call)
            assert raised.value.__cause__ is first
            with pytest.raises(KeyError) as raised:
                guard.call_sync(Dependency(first).plain)
            assert raised.value.__cause__ is first

        time.run(main)

    def test_another_signature_is_refused_when_a_function_is_decorated(self) -> None:
        def other(name: str) -> None: ...
        async def later(value: int = 0) -> None: ...

        with pytest.raises(ConfigurationError, match=r"does not fit .* it has no parameter 'value'"):
            Guard("payments", fallback=Fallback(other))(Dependency(1).call)
        with pytest.raises(ConfigurationError, match="give a plain function"):
            Guard("payments", fallback=Fallback(later))(Dependency(1).plain)

    def test_and_at_the_first_call_before_it_is_made(self, time: FakeTime) -> None:
        def other(name: str) -> None: ...

        dependency = Dependency(1)

        async def main() -> None:
            guard = Guard("payments", fallback=Fallback(other), clock=time.now)
            with pytest.raises(ConfigurationError, match="does not fit"):
                await guard.call(dependency.call)
            with pytest.raises(ConfigurationError, match="does not fit"):
                guard.call_sync(dependency.plain)

        time.run(main)
        assert dependency.calls == 0


class TestDecorator:
    def test_async_and_plain(self, time: FakeTime) -> None:
        guard = Guard("payments", timeout=1, breaker=True, clock=time.now)

        @guard
        async def fetch(number: int) -> int:
            """Fetch it."""
            return number

        @guard
        def read(number: int) -> int:
            return number

        assert time.run(lambda: fetch(7)) == 7
        assert read(8) == 8
        assert (fetch.__name__, fetch.__doc__, asyncio.iscoroutinefunction(fetch)) == ("fetch", "Fetch it.", True)
        assert guard.view().calls == 2

    def test_generators_are_refused(self) -> None:
        def several() -> Iterator[int]:
            yield 1

        async def later() -> AsyncIterator[int]:
            yield 1

        for function in (several, later):
            with pytest.raises(ConfigurationError, match="write 'with guard:' inside it"):
                Guard("payments")(function)


@pytest.mark.parametrize("fails", [lambda answer: 1 / 0, lambda answer: (_ for _ in ()).throw(SystemExit)])
def test_a_classifier_that_raises_makes_a_call_neutral(time: FakeTime, fails: Callable[[Any], bool]) -> None:
    guard = Guard("payments", breaker=Breaker(failures=fails), bulkhead=1, clock=time.now)

    async def main() -> None:
        assert await guard.call(Dependency(1).call) == 1
        with pytest.raises(ValueError, match="x"):
            await guard.call(Dependency(ValueError("x")).call)

    time.run(main)
    assert (guard.view().calls, guard.view().in_flight) == (0, 0)


def test_nothing_is_logged_by_a_guard_that_works(time: FakeTime, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="outlast")
    time.run(lambda: Guard("payments", timeout=1, retry=3, breaker=True, clock=time.now).call(Dependency(1).call))
    assert caplog.records == []


def test_one_guard_on_several_loops_at_once() -> None:
    guard = Guard("payments", timeout=60, bulkhead=4, breaker=True)
    both = threading.Barrier(2, timeout=30)
    got: list[list[int]] = []

    def meet(number: int) -> int:
        both.wait()
        return number

    async def main() -> None:
        got.append([await guard.call(meet, number) for number in range(20)])

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert got == [list(range(20))] * 2
    assert guard.view().calls == 40


async def test_a_thread_that_the_system_does_not_start_is_no_failure_of_the_dependency(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guard = Guard("payments", bulkhead=1, breaker=True)

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError):
            await guard.call(int)
    assert guard.view().calls == 0
    assert await asyncio.wait_for(guard.call(int), 30) == 0
