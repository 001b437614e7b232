"""Acknowledgements settle exactly what they are given, with the fewest frames that AMQP allows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from outlast.clients.amqp.unsettled import Settling, UnsettledTags


def delivered(count: int) -> UnsettledTags:
    tags = UnsettledTags()
    for tag in range(1, count + 1):
        tags.delivered(tag)
    return tags


def test_all_that_is_contiguous_is_settled_at_once() -> None:
    tags = delivered(6)
    assert tags.settle([1, 2, 3]) == Settling(3)
    assert tags.settle([5]) == Settling(0, (5,))
    assert tags.settle([4, 6]) == Settling(6)
    assert len(tags) == 0


def test_what_lies_above_an_open_one_is_settled_by_itself() -> None:
    tags = delivered(6)
    assert tags.settle([2, 3, 6]) == Settling(0, (2, 3, 6))
    assert tags.settle([1, 4, 5]) == Settling(5)


def test_one_alone_needs_no_cumulative_frame() -> None:
    assert delivered(3).settle([1]) == Settling(0, (1,))


def test_settling_again_changes_nothing_and_what_never_came_is_lost() -> None:
    tags = delivered(2)
    tags.settle([1, 2])
    assert tags.settle([1, 2]) == Settling()
    assert tags.settle([3, 0, -1]) == Settling(lost=(-1, 0, 3))


@given(st.lists(st.one_of(st.none(), st.sets(st.integers(1, 40), max_size=12)), max_size=30))
def test_a_server_that_follows_them_holds_what_is_open_here(steps: list[set[int] | None]) -> None:
    tags, here, there, count = UnsettledTags(), set[int](), set[int](), 0
    for step in steps:
        if step is None:
            for _ in range(3):
                count += 1
                tags.delivered(count)
                here.add(count)
                there.add(count)
            continue
        settling = tags.settle(step)
        assert set(settling.lost) == {tag for tag in step if tag > count}
        here -= step
        if settling.cumulative:
            assert min(there) <= settling.cumulative
            there = {tag for tag in there if tag > settling.cumulative}
        for tag in settling.single:
            there.remove(tag)
        assert there == here
        assert len(tags) == len(here)
