"""The fixtures of the suite: a store of each kind behind a desk; what a kind cannot do is not collected for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outlast.core.policy import DEFAULTS
from outlast.testing.clock import FakeClock
from tests.conformance.needs import needs_of
from tests.conformance.transports import LACKS, TRANSPORTS
from tests.support.jobs import Desk
from tests.support.stores import CASES, OTHERS, StoreCase


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test the stores that can do what it asks for.

    `two` desks on one place need a shared store; the mark `across_queues` one whose queues do not lie apart. A
    transport gets those tests that need nothing of what it lacks, by their code and their mark `needs`.
    """
    if "case" in metafunc.fixturenames:
        cases = [case for case in (*CASES, *OTHERS) if case.shared or "two" not in metafunc.fixturenames]
        if metafunc.definition.get_closest_marker("across_queues"):
            cases = [case for case in cases if not case.spread]
        if "desk" in metafunc.fixturenames and not LACKS & _needs(metafunc):
            cases = [*cases, *TRANSPORTS]
        metafunc.parametrize("case", cases, ids=[case.name for case in cases])


def _needs(metafunc: pytest.Metafunc) -> set[str]:
    marked = [need for mark in metafunc.definition.iter_markers("needs") for need in mark.args]
    return needs_of(metafunc.function) | set(marked) | set(metafunc.fixturenames) & {"two"}


@pytest.fixture
def clock() -> FakeClock:
    """The clock of a test's stores."""
    return FakeClock()


@pytest.fixture
async def desk(case: StoreCase, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Desk]:
    """A fresh store, open."""
    store = case.make(tmp_path, clock, DEFAULTS.max_body)
    await store.open()
    yield Desk(store, clock)
    await store.close()


@pytest.fixture
async def two(case: StoreCase, clock: FakeClock, tmp_path: Path) -> AsyncIterator[tuple[Desk, Desk]]:
    """Two store objects that reach the same jobs, with one clock, open."""
    one, other = case.make(tmp_path, clock, DEFAULTS.max_body), case.make(tmp_path, clock, DEFAULTS.max_body)
    await one.open()
    await other.open()
    yield Desk(one, clock), Desk(other, clock)
    await other.close()
    await one.close()
