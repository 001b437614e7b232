"""What a claim over several queues asks next, and what the answers of its rounds add up to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.aio.look import AGAIN
from outlast.brokers.redis.claim import ClaimReply
from outlast.brokers.redis.claim_rounds import ClaimRound, claim_order, merged, next_shares
from outlast.core.errors import StoreError, StoreUnavailable
from outlast.core.message import Delivery, Fence
from outlast.core.select import QueueState, Ticket, select
from outlast.core.topology import Queue
from tests.support.jobs import message

DOWN = StoreUnavailable("b is down")
queues = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 9)), min_size=1, max_size=5)


def delivery(id_: str) -> Delivery:
    """Return a delivery of a job."""
    return Delivery(message(id_, 0.0), Fence(id_, id_.partition(".")[0], 1), 1, 0)


def reply(*ids: str, soon: float | None = None) -> ClaimReply:
    """Return an answer of one queue."""
    return ClaimReply([delivery(id_) for id_ in ids], "", soon)


def ids(merged: ClaimReply) -> list[str]:
    """Return the ids of the deliveries, in their order."""
    return [each.message.id for each in merged.deliveries]


@pytest.mark.parametrize(
    ("last", "order"),
    [("", ["a", "b", "d"]), ("a", ["b", "d", "a"]), ("c", ["d", "a", "b"]), ("d", ["a", "b", "d"])],
)
def test_turns_begin_after_the_queue_that_gave_the_last_job(last: str, order: list[str]) -> None:
    assert claim_order({"d": 1, "a": 2, "c": 0, "b": 3}, last) == order


def test_the_first_round_asks_each_queue_for_its_share() -> None:
    assert next_shares(["b", "a"], [], {"a": 9, "b": 9}, 5) == {"b": 3, "a": 2}
    assert next_shares(["a", "b"], [], {"a": 9, "b": 1}, 5) == {"a": 4, "b": 1}
    assert next_shares(["a"], [], {"a": 9}, 0) == {}
    assert next_shares([], [], {}, 5) == {}


def test_what_a_queue_left_goes_to_those_that_gave_their_share() -> None:
    first = ClaimRound({"a": 2, "b": 2}, {"a": reply("a.1"), "b": reply("b.1", "b.2")})
    assert next_shares(["a", "b"], [first], {"a": 9, "b": 9}, 4) == {"b": 1}
    second = ClaimRound({"b": 1}, {"b": reply("b.3")})
    assert next_shares(["a", "b"], [first, second], {"a": 9, "b": 9}, 4) == {}
    assert next_shares(["a", "b"], [first, second], {"a": 9, "b": 9}, 5) == {"b": 1}
    assert next_shares(["a", "b"], [first, second], {"a": 9, "b": 3}, 5) == {}


def test_a_queue_that_failed_is_not_asked_again() -> None:
    first = ClaimRound({"a": 1, "b": 1}, {"a": reply("a.1"), "b": DOWN})
    assert next_shares(["a", "b"], [first], {"a": 9, "b": 9}, 2) == {"a": 1}


def test_jobs_come_one_of_each_queue_in_turn_over_all_rounds() -> None:
    first = ClaimRound({"b": 2, "a": 1}, {"b": reply("b.1", "b.2"), "a": reply("a.1")})
    both = merged(["b", "a"], [first, ClaimRound({"b": 1}, {"b": reply("b.3")})], "z")
    assert ids(both) == ["b.1", "a.1", "b.2", "b.3"]
    assert both.last == "b"


def test_a_claim_without_jobs_keeps_its_turn_and_looks_again_at_the_earliest_change() -> None:
    answers = {"a": reply(soon=3.0), "b": reply(), "c": reply(soon=0.5)}
    nothing = merged(["a", "b", "c"], [ClaimRound(dict.fromkeys(answers, 1), answers)], "b")
    assert nothing == ClaimReply([], "b", 0.5)
    assert merged([], [], "b") == ClaimReply([], "b", None)


def test_jobs_are_given_though_another_queue_has_more_to_look_at() -> None:
    answers = {"a": reply("a.1"), "b": reply(soon=AGAIN)}
    some = merged(["a", "b"], [ClaimRound({"a": 1, "b": 1}, answers)], "")
    assert ids(some) == ["a.1"]
    assert some.soon is None


def test_an_error_is_raised_only_when_every_queue_failed() -> None:
    one = ClaimRound({"a": 1, "b": 1}, {"a": reply(), "b": DOWN})
    assert merged(["a", "b"], [one], "") == ClaimReply([], "", None)
    later = [ClaimRound({"a": 1}, {"a": reply("a.1")}), ClaimRound({"a": 1}, {"a": DOWN})]
    assert ids(merged(["a"], later, "")) == ["a.1"]
    first = StoreError("a is read-only")
    with pytest.raises(StoreError, match="a is read-only"):
        merged(["a", "b"], [ClaimRound({"a": 1, "b": 1}, {"a": first, "b": DOWN})], "")


@given(queues, st.integers(0, 25), st.sampled_from(["", "q0", "q2", "q9"]))
def test_rounds_give_the_jobs_that_one_pick_gives(each: list[tuple[int, int]], limit: int, last: str) -> None:
    there = {f"q{n}": [f"q{n}.{number}" for number in range(have)] for n, (have, _) in enumerate(each)}
    demand = {f"q{n}": most for n, (_, most) in enumerate(each)}
    states = {name: QueueState(Queue(name=name)) for name in there}
    for name, waiting in there.items():
        for number, id_ in enumerate(waiting):
            states[name].add(Ticket(0, number, id_), None)
    picked, _ = select(states, last, limit, demand, 0.0)
    order, rounds = claim_order(demand, last), list[ClaimRound]()
    while shares := next_shares(order, rounds, demand, limit):
        rounds.append(ClaimRound(shares, {name: reply(*_taken(there[name], share)) for name, share in shares.items()}))
    assert len(rounds) <= len(order)
    assert ids(merged(order, rounds, last)) == [ticket.id for ticket in picked]


def _taken(waiting: list[str], share: int) -> list[str]:
    taken, waiting[:share] = waiting[:share], []
    return taken
