"""select: who is next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from outlast.core.select import Place, Selection, select


def line(name: str, *ranks: int) -> list[Place]:
    return sorted(Place(rank, order, f"{name}.{order}") for order, rank in enumerate(ranks))


def ids(lines: dict[str, list[Place]], n: int, demand: dict[str, int], last: str = "") -> tuple[list[str], str]:
    picked, last = select(Selection(lines, last), n, demand)
    return [place.id for place in picked], last


def test_the_lowest_rank_goes_first_then_the_order_of_acceptance() -> None:
    assert ids({"q": line("q", 5, 1, 5, 0)}, 9, {"q": 9}) == (["q.3", "q.1", "q.0", "q.2"], "q")


def test_queues_take_turns_by_name() -> None:
    lines = {"b": line("b", 0, 0), "a": line("a", 9, 9, 9)}
    assert ids(lines, 9, {"a": 9, "b": 9}) == (["a.0", "b.0", "a.1", "b.1", "a.2"], "a")


def test_the_turn_begins_behind_the_queue_served_last() -> None:
    lines = {name: line(name, 0) for name in "abc"}
    demand = dict.fromkeys("abc", 1)
    assert ids(lines, 2, demand, "a") == (["b.0", "c.0"], "c")
    assert ids(lines, 2, demand, "bb") == (["c.0", "a.0"], "a")
    assert ids(lines, 2, demand, "c") == (["a.0", "b.0"], "b")


def test_limit_and_demand_bound_it() -> None:
    lines = {"a": line("a", 0, 0, 0), "b": line("b", 0, 0, 0)}
    assert ids(lines, 4, {"a": 1, "b": 9}) == (["a.0", "b.0", "b.1", "b.2"], "b")
    assert ids(lines, 3, {"a": 9, "b": 9}) == (["a.0", "b.0", "a.1"], "a")


def test_nothing_to_give_leaves_the_turn_where_it_was() -> None:
    lines = {"a": line("a", 0), "b": line("b")}
    assert ids(lines, 0, {"a": 1}, "x") == ([], "x")
    assert ids(lines, 5, {"a": 0, "b": 5, "c": 5}, "x") == ([], "x")
    assert ids(lines, 5, {}, "x") == ([], "x")


names = st.sampled_from("abcd")
lines_of = st.dictionaries(names, st.lists(st.integers(-3, 3), max_size=6))


@given(lines_of, st.dictionaries(names, st.integers(0, 7)), st.integers(0, 12), st.sampled_from(["", "a", "b", "d"]))
def test_it_gives_all_it_may_from_the_heads_and_evenly(
    ranks: dict[str, list[int]], demand: dict[str, int], n: int, last: str
) -> None:
    lines = {name: line(name, *each) for name, each in ranks.items()}
    picked, served = select(Selection(lines, last), n, demand)
    taken = {name: [place for place in picked if place.id.startswith(name)] for name in "abcd"}
    most = {name: min(demand.get(name, 0), len(lines.get(name, []))) for name in "abcd"}
    assert len(picked) == min(n, sum(most.values()))
    for name in "abcd":
        assert taken[name] == lines.get(name, [])[: len(taken[name])]
        assert len(taken[name]) <= most[name]
        for other in "abcd":  # nobody is more than one ahead of a queue that had more to give
            assert len(taken[other]) == most[other] or len(taken[name]) - len(taken[other]) <= 1
    assert served == (picked[-1].id[0] if picked else last)
