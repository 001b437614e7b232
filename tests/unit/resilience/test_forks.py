"""A forked process begins with permits, locks and threads of its own."""

from __future__ import annotations

import asyncio
import threading

import pytest

from outlast import Guard
from tests.support.forks import in_fork


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_what_the_parent_holds_is_free_in_the_child() -> None:
    guard = Guard("payments", breaker=True, bulkhead=1)
    asyncio.run(guard.call(threading.get_ident))  # a thread that the child does not have

    def works() -> bool:
        return asyncio.run(guard.call(int)) == 0 and guard.view().calls == 1

    with guard:
        assert guard.view().in_flight == 1
        assert in_fork(works)
    assert guard.view().calls == 2


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_guard_of_a_key_is_that_of_the_child() -> None:
    guard = Guard("hosts", key="host", breaker=True, bulkhead=1)
    near = guard.of("near")

    def works() -> bool:
        near.call_sync(int)
        return near.view().calls == 1 and guard.of("near").view().calls == 1

    with near:
        assert near.view().in_flight == 1
        assert in_fork(works)
    assert near.view().calls == 1
