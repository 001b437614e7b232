"""How long a value is fresh, and when one reader computes it before its end."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from outlast.toolkit.cache.rule import is_early, may_be_early, rule_of


@given(st.floats(0.001, 1e9), st.floats(0, 0.99), st.floats(0, 1, exclude_max=True))
def test_jitter_shortens_and_never_lengthens(ttl: float, jitter: float, draw: float) -> None:
    fresh = rule_of(ttl=ttl, jitter=jitter).fresh(1, lambda: draw)
    assert fresh is not None
    assert ttl * (1 - jitter) <= fresh * (1 + 1e-12)
    assert fresh <= ttl


@given(st.floats(-10, 1e9), st.floats(0, 1e6), st.floats(0, 100), st.floats(0, 1))
def test_no_draw_makes_an_early_refresh_that_was_ruled_out(left: float, cost: float, early: float, draw: float) -> None:
    assert may_be_early(left, cost, early) or not is_early(left, cost, early, draw)
    assert not may_be_early(300.0, 0.1, 1.0), "a cheap computation, long before the end"


def test_the_chance_of_an_early_refresh_grows_to_certainty() -> None:
    rng = Random(1)
    shares = [
        sum(is_early(left, 1.0, 1.0, rng.random()) for _ in range(10_000)) / 10_000 for left in (10, 3, 1, 0.1, 0)
    ]
    assert shares == sorted(shares)
    assert shares[0] < 0.001
    assert 0.33 < shares[2] < 0.41, "1/e at one cost before the end"
    assert shares[-1] == 1.0
    assert not is_early(0.1, 1.0, 0, 1e-9)
    assert not is_early(0.1, 0, 1, 0.0)
