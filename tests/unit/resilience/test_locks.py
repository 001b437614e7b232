"""The collector may end a block of a guard inside any locked section: no two threads may wait for each other then."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from math import inf
from typing import Any

import pytest

from outlast import Breaker, Guard, GuardOpen
from outlast.core.guards.answers import Admission, SharedBreaker, Transition
from outlast.resilience.lane import Lane
from outlast.resilience.passes import RampPass, with_passes
from outlast.resilience.ports import ProbeAnswer
from tests.support.fake_time import FakeTime
from tests.unit.resilience.test_breaker_of_guard import Link


def ends(work: Callable[[], object]) -> bool:
    """Call it in a thread of its own; return whether it ends."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(10)
    return not thread.is_alive()


def free(lock: Any) -> bool:
    """Return whether another thread could take this lock now."""
    taken: list[bool] = []

    def take() -> None:
        taken.append(lock.acquire(blocking=False))
        if taken[0]:
            lock.release()

    assert ends(take)
    return taken[0]


def lane_of(guard: Guard) -> Lane:
    assert guard._lane is not None
    return guard._lane


class Halting:
    """The lock of a lane, before which one thread halts at its second turn, with all that it holds then."""

    def __init__(self, lock: Any) -> None:
        self.lock = lock
        self.halted, self.goes_on = threading.Event(), threading.Event()
        self.thread: int = 0
        self._turns = 0

    def __enter__(self) -> None:
        if threading.get_ident() == self.thread:
            self._turns += 1
            if self._turns == 2:
                self.halted.set()
                self.goes_on.wait()
        self.lock.acquire()

    def __exit__(self, *error: object) -> None:
        self.lock.release()


def test_a_change_inside_the_section_of_a_lane_waits_for_no_thread_that_tells_another() -> None:
    guard = Guard("payments", breaker=True)
    lane = lane_of(guard)
    halting: Any = Halting(lane._lock)
    lane._lock = halting

    def hold() -> None:
        halting.thread = threading.get_ident()
        guard.hold("open")

    def interrupted() -> None:
        with halting:  # the collector comes here, and ends the probe of an abandoned generator, or the like
            halting.goes_on.set()
            guard.hold("closed")

    holding = threading.Thread(target=hold, daemon=True)
    holding.start()
    assert halting.halted.wait(10)  # it is about to tell its change
    assert ends(interrupted)
    holding.join(10)
    assert not holding.is_alive()


def test_room_for_a_key_is_made_without_the_lock_of_its_lane() -> None:
    guard = Guard("hosts", breaker=True, key="host", max_keys=1)
    guard.of("a").view()
    assert guard._lanes is not None
    first = guard._lanes.peek("a")
    assert first is not None
    with first._lock:
        assert ends(guard.of("b").view)
    assert guard._lanes.peek("a") is None


def test_a_guard_without_room_is_told_without_its_lock(caplog: pytest.LogCaptureFixture) -> None:
    guard = Guard("hosts", breaker=True, key="host", max_keys=1)
    guard.of("a").hold("open")
    lanes = guard._lanes
    assert lanes is not None
    lock, seen = lanes._lock, list[bool]()

    class Looks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(free(lock))

    logger, looks = logging.getLogger("outlast.guards"), Looks()
    logger.addHandler(looks)
    try:
        guard.call_sync(lambda host: None, host="b")
        guard.call_sync(lambda host: None, host="c")
    finally:
        logger.removeHandler(looks)
    assert seen == [True]
    assert "max_keys=1" in caplog.text


def test_a_probe_that_was_left_and_is_not_made_goes_back_without_the_lock(time: FakeTime) -> None:
    seen: list[bool] = []

    class Looks(Link):
        def probe_ended(self, name: str, result: Transition) -> None:
            seen.append(free(lane_of(guard)._lock))

        def take_probe(self, name: str) -> Future[ProbeAnswer]:
            raise AssertionError("it is not asked")

    guard = Guard("payments", breaker=Breaker(ramp=60), sharing=Looks, clock=time.now)

    async def main() -> None:
        guard.call_sync(int)
        asked: Future[ProbeAnswer] = Future()
        shared = lane_of(guard)._shared
        assert shared is not None
        shared.leave_to_next(asked)
        asked.set_result(ProbeAnswer(granted=True, at=time.at + 10))
        guard.adopt(SharedBreaker(1, open=True, since=time.at, probe_at=time.at + 60))
        guard.adopt(SharedBreaker(2, open=False, since=time.at, probe_at=0.0, closed_at=time.at))
        for _ in range(20):  # in the ramp most of them are refused
            try:
                guard.call_sync(int)
            except Exception as error:
                assert "share" in str(error)

    time.run(main)
    assert seen == [True]


def test_the_pass_of_a_run_is_asked_without_the_lock() -> None:
    guard, seen = Guard("payments", breaker=True), list[bool]()

    class Looks(RampPass):
        def probe(self, now: float) -> Admission | None:
            seen.append(free(lane_of(guard)._lock))
            return None

    guard.adopt(SharedBreaker(1, open=True, since=0.0, probe_at=inf))
    with pytest.raises(GuardOpen):
        with_passes({"payments": Looks()}, guard.call_sync, int)
    assert seen == [True]


def test_who_watches_is_kept_in_two_threads_at_once() -> None:
    lane = lane_of(Guard("payments", breaker=True))
    with lane._lock:
        watching = threading.Thread(target=lane.watch, args=(print,))
        watching.start()
        watching.join(0.1)
        assert watching.is_alive()  # or one of the two would lose the other's
    watching.join()
    assert lane._watchers == (print,)
