"""The slots of a worker between its queues."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.brokers.rabbitmq.shares import shares_of


@pytest.mark.parametrize(
    ("slots", "most", "busy", "shares"),
    [
        (100, {"a": 100}, [], {"a": 100}),
        (100, {"a": 100, "b": 100}, [], {"a": 50, "b": 50}),
        (100, {"a": 100, "b": 100}, ["a"], {"a": 99, "b": 1}),
        (100, {"a": 100, "b": 100, "c": 100}, ["a", "b"], {"a": 49, "b": 50, "c": 1}),
        (100, {"a": 100, "b": 10}, ["a", "b"], {"a": 90, "b": 10}),
        (100, {"a": 100, "b": 10}, [], {"a": 90, "b": 10}),
        (300, {"a": 300}, ["a"], {"a": 300}),
        (1, {"a": 1, "b": 1}, ["a"], {"a": 1, "b": 1}),
        (0, {"a": 1}, [], {"a": 1}),
    ],
)
def test_shares(slots: int, most: dict[str, int], busy: list[str], shares: dict[str, int]) -> None:
    assert shares_of(slots, most, busy) == shares


@given(
    st.integers(0, 500),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 300), min_size=1),
    st.sets(st.sampled_from("abcdef")),
)
def test_no_queue_is_without_a_share_and_none_has_more_than_it_may_hold(
    slots: int, most: dict[str, int], busy: set[str]
) -> None:
    shares = shares_of(slots, most, busy)
    assert shares.keys() == most.keys()
    assert all(1 <= shares[queue] <= most[queue] for queue in most)
    assert sum(shares.values()) <= max(slots, len(most))
