"""The limiter on each store: the sequence of decisions equals an exact model, and refusals cost nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outlast.core.errors import InvalidArguments
from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.limiter.limiter import Limiter
from tests.support.limits_model import Model

ALGORITHMS = ("gcra", "sliding", "fixed")
# Periods that do not end in the seconds of a test: the keys of a server expire by its own clock.
LIMITS = {
    "7/minute": (7, 60),
    "20/hour": (20, 3600),
    "60/hour": (60, 3600),
    "30/day": (30, 86400),
    "150/hour": (150, 3600),
}
STEPS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.001, 1.5, 8.571429, 60.0, 61.7, 600.0, 5000.0]), st.integers(1, 7)),
    min_size=1,
    max_size=30,
)

of_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


def limiter_of(kit: Toolkit, limits: Any, **options: Any) -> Limiter:
    return Limiter(lambda: kit, limits, name="api", **options)


@of_algorithm
def test_the_decisions_are_those_of_an_exact_model(kit: Toolkit, clock: FakeClock, algorithm: str) -> None:
    numbers = iter(range(100_000))

    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.sampled_from(["7/minute", "20/hour", "7/minute, 20/hour", "7/minute, 60/hour, 30/day", "150/hour"]),
        STEPS,
        st.booleans(),
    )
    def check(text: str, steps: list[tuple[float, int]], count_refused: bool) -> None:
        limiter = limiter_of(kit, text, algorithm=algorithm, count_refused=count_refused)
        limits = [(count, period * 1_000_000) for count, period in (LIMITS[each] for each in text.split(", "))]
        model = Model(algorithm, limits, count_refused)
        key = f"key {next(numbers)}"
        for after, units in steps:
            clock.advance(after)
            cost = units * (20 if text == "150/hour" else 1)
            now = int(clock.time() * 1e6)
            found = limiter.take_sync(key, cost=cost)
            told = (found.allowed, [each.remaining for each in found.limits], round(found.retry_after * 1e6))
            assert told == model.take(now, cost)
            assert [round(each.more * 1e6) for each in found.limits] == model.more(now)
            if not found:
                at = [each.name for each in found.limits].index(found.violated[0])
                assert found.retry_after >= found.limits[at].more, "the draft: not before the end of the window"

    check()


async def test_a_burst_is_of_the_shortest_limit(kit: Toolkit, clock: FakeClock) -> None:
    limiter = limiter_of(kit, "20/hour, 7/minute", burst=2)
    model = Model("gcra", [(7, 60_000_000), (20, 3_600_000_000)], burst=2)
    for after in (0, 0, 0, 5, 5, 8, 1, 60, 0, 0):
        clock.advance(after)
        found = await limiter.take("k")
        assert (found.allowed, found.limits[0].remaining) == (
            (model_found := model.take(int(clock.time() * 1e6), 1))[0],
            model_found[1][0],
        )


@of_algorithm
async def test_a_refusal_costs_nothing_in_any_limit(kit: Toolkit, algorithm: str) -> None:
    limiter = limiter_of(kit, "3/hour, 30/day", algorithm=algorithm)
    assert [(await limiter.take("k")).allowed for _ in range(10)] == [True] * 3 + [False] * 7
    found = await limiter.take("k")
    assert (found.limits[1].remaining, found.violated, bool(found)) == (27, ("api:3/h",), False)


@of_algorithm
async def test_a_counted_refusal_keeps_the_key_out(kit: Toolkit, clock: FakeClock, algorithm: str) -> None:
    limiter = limiter_of(kit, "2/hour", algorithm=algorithm, count_refused=True)
    for _ in range(2):
        assert await limiter.take("k")
    for _ in range(20):
        clock.advance(300)
        found = await limiter.take("k")
        if algorithm != "fixed":
            assert not found.allowed
    clock.advance(found.retry_after)
    assert await limiter.take("k")


@of_algorithm
async def test_a_request_is_admitted_when_it_was_told_to_come_and_not_before(
    kit: Toolkit, clock: FakeClock, algorithm: str
) -> None:
    limiter = limiter_of(kit, "5/hour", algorithm=algorithm)
    for _ in range(3):
        await limiter.take("k", cost=5)
        refused = await limiter.take("k", cost=3)
        assert not refused
        clock.advance(refused.retry_after - 0.001)
        assert not await limiter.take("k", cost=3)
        clock.advance(0.001001)
        assert await limiter.take("k", cost=3)
        clock.advance(10_000)


@of_algorithm
async def test_two_processes_share_the_limits(kit: Toolkit, other_kit: Toolkit, algorithm: str) -> None:
    ours, theirs = limiter_of(kit, "20/day", algorithm=algorithm), limiter_of(other_kit, "20/day", algorithm=algorithm)
    found = await asyncio.gather(*(each.take("k") for _ in range(30) for each in (ours, theirs)))
    assert sum(each.allowed for each in found) == 20
    assert sorted(each.remaining for each in found if each.allowed) == list(range(20))


async def test_other_rules_other_names_and_other_keys_count_apart(kit: Toolkit) -> None:
    keys = ["k", "K", "k ", "*", "{k}", "k:1", "k%20", "é", "\x00", "\ud800", "x" * 500, "x" * 501]
    limiters = [
        limiter_of(kit, "1/day"),
        limiter_of(kit, "1/day", algorithm="fixed"),
        limiter_of(kit, "1/day", count_refused=True),
        limiter_of(kit, "1/hour"),
        Limiter(lambda: kit, "1/day", name="other"),
    ]
    for limiter in limiters:
        assert all([(await limiter.take(key)).allowed for key in keys])
        assert not any([(await limiter.take(key)).allowed for key in keys])


@pytest.mark.parametrize("cost", [0, -1, 1.5, True, "2", None, 10**30])
async def test_a_cost_that_cannot_be_is_refused_and_costs_nothing(kit: Toolkit, cost: Any) -> None:
    limiter = limiter_of(kit, "10/day, 3/second")
    with pytest.raises(InvalidArguments, match="limiter 'api': cost="):
        await limiter.take("k", cost=cost)
    with pytest.raises(InvalidArguments, match=r"cost=4 is more than its limits ever admit at once \(3\)"):
        limiter.take_sync("k", cost=4)
    assert (await limiter.take("k")).remaining == 2


@pytest.mark.parametrize("key", [None, "", 7, b"k", ["k"]])
async def test_a_key_that_is_no_text_is_refused(kit: Toolkit, key: Any) -> None:
    with pytest.raises(InvalidArguments, match=r"key=.*: give text of at least one character"):
        await limiter_of(kit, "1/day").take(key)


@of_algorithm
async def test_what_was_used_is_kept_over_a_close(kit: Toolkit, algorithm: str) -> None:
    limiter = limiter_of(kit, "2/day", algorithm=algorithm)
    assert await limiter.take("k", cost=2)
    await kit.close()
    assert not await limiter.take("k")
