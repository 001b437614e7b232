"""select: who is next."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from outlast.core.limits import Limit, nanos
from outlast.core.select import RECHECK, QueueState, Ticket, select
from outlast.core.topology import Queue

NOW = 1_800_000_000.0


def line(name: str, *ranks: int, **settings: Any) -> QueueState:
    made = QueueState(Queue(name=name, **settings))
    for order, rank in enumerate(ranks):
        made.add(Ticket(rank, order, f"{name}.{order}"), None)
    return made


def keyed(jobs: str, **settings: Any) -> QueueState:
    """A line of one job for each letter: its key, "-" none; ids are the letter and its number, a0 a1 b0."""
    made = QueueState(Queue(name="q", **settings))
    add(made, jobs)
    return made


def add(made: QueueState, jobs: str, start: int = 0) -> None:
    seen: Counter[str] = Counter()
    for order, key in enumerate(jobs):
        made.add(Ticket(0, start + order, f"{key}{start + seen[key]}"), None if key == "-" else key)
        seen[key] += 1


def ids(lines: dict[str, QueueState], n: int, demand: dict[str, int], last: str = "") -> tuple[list[str], str]:
    picked, last = select(lines, last, n, demand, NOW)
    return [place.id for place in picked], last


def take(made: QueueState, n: int = 99, now: float = NOW) -> str:
    picked, _ = select({"q": made}, "", n, {"q": 99}, now)
    return " ".join(place.id for place in picked)


def test_the_lowest_rank_goes_first_then_the_order_of_acceptance() -> None:
    assert ids({"q": line("q", 5, 1, 5, 0)}, 9, {"q": 9}) == (["q.3", "q.1", "q.0", "q.2"], "q")


def test_a_job_without_a_key_begins_and_ends_without_one() -> None:
    made = keyed("")
    made.begin(None)
    assert (made.running, made.keys) == (1, {})
    made.end(None)
    made.freed(None)
    assert (made.running, made.keys) == (0, {})


def test_keyless_jobs_and_keys_have_turns_of_their_own() -> None:
    made = keyed("ab--")
    assert take(made, 1) == "-0"
    assert made.turn > max(state.turn for state in made.keys.values())  # a queue that sheds sorts by turn alone


def test_queues_take_turns_by_name() -> None:
    lines = {"b": line("b", 0, 0), "a": line("a", 9, 9, 9)}
    assert ids(lines, 9, {"a": 9, "b": 9}) == (["a.0", "b.0", "a.1", "b.1", "a.2"], "a")


def test_the_turn_begins_behind_the_queue_served_last() -> None:
    demand = dict.fromkeys("abc", 1)
    assert ids({name: line(name, 0) for name in "abc"}, 2, demand, "a") == (["b.0", "c.0"], "c")
    assert ids({name: line(name, 0) for name in "abc"}, 2, demand, "bb") == (["c.0", "a.0"], "a")
    assert ids({name: line(name, 0) for name in "abc"}, 2, demand, "c") == (["a.0", "b.0"], "b")


def test_limit_and_demand_bound_it() -> None:
    lines = {"a": line("a", 0, 0, 0), "b": line("b", 0, 0, 0)}
    assert ids(lines, 4, {"a": 1, "b": 9}) == (["a.0", "b.0", "b.1", "b.2"], "b")
    assert ids(lines, 3, {"a": 9, "b": 9}) == (["a.1", "a.2"], "a")


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
    before = {name: list(line(name, *each).ready) for name, each in ranks.items()}
    lines = {name: line(name, *each) for name, each in ranks.items()}
    picked, served = select(lines, last, n, demand, NOW)
    taken = {name: [place for place in picked if place.id.startswith(name)] for name in "abcd"}
    most = {name: min(demand.get(name, 0), len(before.get(name, []))) for name in "abcd"}
    assert len(picked) == min(n, sum(most.values()))
    for name in "abcd":
        assert taken[name] == before.get(name, [])[: len(taken[name])]
        assert name not in lines or lines[name].ready == before[name][len(taken[name]) :]
        assert len(taken[name]) <= most[name]
        for other in "abcd":  # nobody is more than one ahead of a queue that had more to give
            assert len(taken[other]) == most[other] or len(taken[name]) - len(taken[other]) <= 1
    assert served == (picked[-1].id[0] if picked else last)


def test_keys_take_turns_and_keyless_jobs_are_one_more_key() -> None:
    assert take(keyed("aaaabb--")) == "-0 a0 b0 -1 a1 b1 a2 a3"


def test_a_late_key_waits_one_round_however_long_the_others_are() -> None:
    made = keyed("a" * 50)
    assert take(made, 3) == "a0 a1 a2"
    add(made, "b")
    assert take(made, 2) == "a3 b0"


def test_keyless_jobs_keep_their_place_while_there_are_none() -> None:
    made = keyed("ab-")
    assert take(made) == "-0 a0 b0"
    add(made, "ab-", 3)
    assert take(made) == "-3 a3 b3"


def test_a_turn_that_is_cut_short_goes_on_in_the_next_call() -> None:
    made = keyed("aaaaabbb", weights={"a": 3})
    assert [take(made, 2), take(made, 1), take(made, 1), take(made, 1)] == ["a0 a1", "a2", "b0", "a3"]


def test_within_a_key_the_rank_decides() -> None:
    made = keyed("aab")
    made.add(Ticket(-1, 9, "urgent"), "a")
    assert take(made) == "urgent b0 a0 a1"


def test_a_key_at_its_limit_is_passed_over_until_one_of_its_jobs_ends() -> None:
    made = keyed("aaab", per_key=Limit(concurrency=2))
    assert take(made) == "a0 b0 a1"
    assert take(made) == ""
    assert not made.may_begin("a")
    assert made.may_begin("b")
    made.end("a")
    made.freed("a")
    assert take(made) == "a2"


def test_a_key_is_looked_at_again_should_nobody_have_told_of_its_slot() -> None:
    made = keyed("aa", per_key=Limit(concurrency=1))
    assert take(made) == "a0"
    assert made.next_look(nanos(NOW)) == nanos(NOW) + RECHECK
    made.keys["a"].running = 0
    assert take(made, now=NOW + 9) == ""
    assert take(made, now=NOW + 10) == "a1"


def test_the_queues_own_concurrency_bounds_all_keys() -> None:
    made = keyed("ab--", concurrency=3)
    assert take(made) == "-0 a0 b0"
    assert take(made) == ""
    assert made.next_look(nanos(NOW)) is None
    assert not made.may_begin(None)
    made.end("b")
    made.freed("b")
    assert made.may_begin(None)
    assert take(made) == "-1"
    made.begin("b")
    made.begin(None)
    assert made.running == 5
    assert not made.may_begin("b")
    for key in ("b", None, "a"):
        made.end(key)
        made.freed(key)
    assert made.may_begin("b")


def test_the_queues_rate() -> None:
    made = keyed("----", rate="1/s", burst=2)
    assert take(made) == "-0 -1"
    assert made.next_look(nanos(NOW)) == nanos(NOW + 1)
    assert take(made, now=NOW + 0.999) == ""
    assert take(made, now=NOW + 1) == "-2"
    assert take(made, now=NOW + 9) == "-3"
    assert made.next_look(nanos(NOW + 9)) is None


def test_the_rate_of_each_key() -> None:
    made = keyed("aaabc", per_key=Limit(rate="1/s"))
    assert take(made) == "a0 b0 c0"
    assert made.next_look(nanos(NOW)) == nanos(NOW + 1)
    assert take(made, now=NOW + 0.5) == ""
    add(made, "b", 5)
    assert take(made, now=NOW + 0.5) == ""
    assert take(made, now=NOW + 1) == "a1 b5"
    assert take(made, now=NOW + 9) == "a2"
    made.tidy(nanos(NOW + 9))
    assert set(made.keys) == {"a", "b", "c"}
    for key in "aaabcb":
        made.end(key)
        made.freed(key)
    made.tidy(nanos(NOW + 9))
    assert set(made.keys) == {"a"}
    made.tidy(nanos(NOW + 10))
    assert made.keys == {}


def test_the_queues_rate_tells_when_to_look_for_those_in_the_ring_too() -> None:
    made = keyed("aaa", rate="1/s", per_key=Limit(concurrency=9))
    assert take(made) == "a0"
    assert made.next_look(nanos(NOW)) == nanos(NOW + 1)
    made.remove(Ticket(0, 1, "a1"), "a")
    made.remove(Ticket(0, 2, "a2"), "a")
    assert made.next_look(nanos(NOW)) == nanos(NOW + 1)
    assert take(made, now=NOW + 2) == ""
    assert made.next_look(nanos(NOW)) is None


def test_other_limits_give_every_parked_key_a_new_look_in_their_order() -> None:
    made = keyed("abab", per_key=Limit(concurrency=1))
    assert take(made) == "a0 b0"
    made.change(made.queue)
    assert take(made) == ""
    made.change(Queue(name="q", per_key=Limit(concurrency=2)))
    assert take(made) == "a1 b1"


def test_what_a_changed_limit_woke_is_not_woken_again_by_its_time() -> None:
    made = keyed("aa", per_key=Limit(rate="1/h"))
    assert take(made) == "a0"
    made.change(Queue(name="q"))
    assert take(made) == "a1"
    made.end("a")
    made.end("a")
    made.freed("a")
    assert made.keys == {}
    add(made, "a", 2)
    assert take(made, now=NOW + 7200) == "a2"


def test_an_emptied_key_leaves_when_its_turn_comes() -> None:
    made = keyed("ab")
    made.remove(Ticket(0, 0, "a0"), "a")
    made.remove(Ticket(0, 1, "b0"), "b")
    assert list(made.heads()) == []
    add(made, "ba", 2)
    assert sorted(place.id for place in made.heads()) == ["a2", "b2"]
    assert take(made) == "a2 b2"
    made.add(Ticket(0, 9, "-9"), None)
    made.remove(Ticket(0, 9, "-9"), None)
    assert take(made) == ""


def test_a_key_that_is_forgotten_leaves_no_trace_in_the_ring() -> None:
    made = keyed("ab")
    made.remove(Ticket(0, 0, "a0"), "a")
    assert take(made) == "b0"
    made.freed("a")
    made.freed("a")
    made.freed(None)
    assert set(made.keys) == {"b"}
    made.keys["b"].where = "ring"
    made._ring = [(0, "gone"), (1, "b")]
    assert take(made) == ""


@given(st.text("abcd-", max_size=40), st.lists(st.integers(1, 9), min_size=1, max_size=9))
def test_no_key_is_more_than_one_turn_ahead_of_another_that_had_more(jobs: str, sizes: list[int]) -> None:
    made = keyed(jobs)
    had = Counter(jobs)
    taken: Counter[str] = Counter()
    for size in sizes:
        for place in select({"q": made}, "", size, {"q": size}, NOW)[0]:
            assert place.id == f"{place.id[0]}{taken[place.id[0]]}"
            taken[place.id[0]] += 1
        for key in had:
            assert all(taken[other] - taken[key] <= 1 or taken[key] == had[key] for other in had)
    assert sum(taken.values()) == min(len(jobs), sum(sizes))


def test_a_key_of_which_everything_was_purged_is_forgotten_with_its_place_and_its_rate() -> None:
    made = keyed("ab", per_key=Limit(rate="1/h"))
    assert take(made, 1) == "a0"
    made.forget("a")
    made.forget("b")
    made.forget("nobody")
    assert set(made.keys) == {"a", "b"}, "the one runs, the other waits"
    made.end("a")
    made.forget("a")
    assert set(made.keys) == {"b"}
    add(made, "a", 2)
    assert take(made) == "b0 a2"


def test_without_a_rate_nothing_of_it_is_remembered() -> None:
    made = keyed("a", per_key=Limit(rate="1/h"))
    assert take(made) == "a0"
    made.change(Queue(name="q", per_key=Limit(concurrency=5)))
    made.change(Queue(name="q", per_key=Limit(rate="1/h")))
    add(made, "a", 2)
    assert take(made) == "a2"
