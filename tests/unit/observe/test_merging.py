"""The readings of several processes become one of each series."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from outlast.meters.metric import Metric, Reading
from outlast.observe.merging import cumulative, merged

SEEN = Metric(name="seen_total", kind="counter", help="Seen.", labels=("queue",))
SPENT = Metric(name="spent", kind="summary", help="Spent.")
OPEN = Metric(name="open", kind="gauge", help="Open.")
LAG = Metric(name="lag", kind="gauge", help="Lag.", merging="max")
TOOK = Metric(name="took", kind="histogram", help="Took.", edges=(1, 2))


def test_counters_and_summaries_are_added_by_series() -> None:
    found = merged(
        [
            Reading(SEEN, ("mail",), (2,)),
            Reading(SEEN, ("pdf",), (5,)),
            Reading(SEEN, ("mail",), (3,)),
            Reading(SPENT, (), (1, 0.5)),
            Reading(SPENT, (), (2, 4)),
        ]
    )
    assert {(each.metric.name, each.labels): each.values for each in found} == {
        ("seen_total", ("mail",)): (5,),
        ("seen_total", ("pdf",)): (5,),
        ("spent", ()): (3, 4.5),
    }


def test_gauges_are_merged_as_they_say() -> None:
    found = merged([Reading(metric, (), (value,)) for value in (2, 5, 3) for metric in (OPEN, LAG)])
    assert {each.metric.name: each.values for each in found} == {"open": (10,), "lag": (5,)}


def test_a_metric_that_another_release_declares_otherwise_is_left_out() -> None:
    other = Metric(name="open", kind="gauge", help="Open.", labels=("guard",))
    found = merged([Reading(OPEN, (), (1,)), Reading(other, ("payments",), (7,)), Reading(OPEN, (), (1,))])
    assert [(each.labels, each.values) for each in found] == [((), (2,))]


def counted(values: Sequence[float], edges: Sequence[float]) -> Reading:
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[bisect_left(edges, value)] += 1
    return Reading(TOOK, (), (*counts, sum(values)), tuple(edges))


NUMBERS = st.lists(st.integers(0, 20), max_size=30)
EDGES = st.sets(st.integers(1, 19), max_size=6).map(sorted)


@given(NUMBERS, EDGES, NUMBERS, EDGES)
def test_histograms_of_different_edges_are_exact_at_each_edge_that_both_have(
    one: list[int], edges: list[int], other: list[int], others: list[int]
) -> None:
    (found,) = merged([counted(one, edges), counted(other, others)])
    assert set(found.edges) == set(edges) & set(others)
    both = [*one, *other]
    assert cumulative(found) == [sum(each <= edge for each in both) for edge in found.edges] + [len(both)]
    assert found.values[-1] == sum(both)
