"""Versions of tags outlive all values that bear them: a value ends by its time or an invalidation alone."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from tests.support.toolkit_cache import Source, cache_on

runs = iter(range(10**6))
tags = st.sampled_from("abc")
times = st.integers(30, 5000)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), times, st.just(0), st.sets(tags, min_size=1)),
        st.tuples(st.just("compute"), times, st.sampled_from([0, 40, 3000]), st.sets(tags, min_size=1)),
        st.tuples(st.just("invalidate"), tags),
        st.tuples(st.just("advance"), times),
        st.tuples(st.just("advance before the next end")),
    ),
    min_size=2,
    max_size=25,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_a_value_lives_until_its_end_or_an_invalidation(
    kit: Toolkit, clock: FakeClock, steps: list[tuple[object, ...]]
) -> None:
    cache, run, source = cache_on(kit), next(runs), Source(1)
    ends: dict[str, tuple[float, set[str]]] = {}
    for number, step in enumerate(steps):
        match step:
            case ("set", int(ttl), int(stale), set(given)) | ("compute", int(ttl), int(stale), set(given)):
                key, names = f"k{run}-{number}", [f"{each}{run}" for each in given]
                if step[0] == "set":
                    assert await cache.set(key, 1, ttl=ttl, tags=names, jitter=0)
                else:
                    await cache.get_or_set(key, source.compute, ttl=ttl, stale=stale, tags=names, jitter=0, early=0)
                ends[key] = clock.monotonic() + ttl + stale, given
            case ("invalidate", str(tag)):
                await cache.invalidate(f"{tag}{run}")
                ends = {key: each for key, each in ends.items() if tag not in each[1]}
            case ("advance", int(seconds)):
                clock.advance(seconds + 0.5)  # a value's end is never now
            case _:
                left = [end - clock.monotonic() for end, _ in ends.values()]
                clock.advance(max(0.0, min((each for each in left if each > 0), default=0.0) - 0.25))
        for key, (end, _) in ends.items():
            seen = await cache._in_use().access.look(key)
            assert (seen.entry is not None) is (end > clock.monotonic()), (key, steps)
