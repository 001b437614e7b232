"""A claim that is shared out over queues gives what core.select would have picked, however much each of them has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from outlast.brokers.redis.claim_rounds import share_out
from outlast.core.select import QueueState, Ticket, select
from outlast.core.topology import Queue

queues = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 9)), min_size=1, max_size=5)


@given(queues, st.integers(0, 25))
def test_rounds_of_shares_give_what_one_pick_gives(each: list[tuple[int, int]], limit: int) -> None:
    there = {f"q{n}": have for n, (have, _) in enumerate(each)}
    most = {f"q{n}": demand for n, (_, demand) in enumerate(each)}
    lines = {}
    for name, have in there.items():
        line = QueueState(Queue(name=name))
        for order in range(have):
            line.add(Ticket(0, order, name), None)
        lines[name] = line
    picked, _ = select(lines, "", limit, most, 0.0)
    assert _shared(there, most, limit) == {name: sum(place.id == name for place in picked) for name in there}


def _shared(there: dict[str, int], most: dict[str, int], limit: int) -> dict[str, int]:
    got = dict.fromkeys(there, 0)
    going = list(there)
    left = limit
    while asks := share_out(left, {name: got[name] for name in going}, most):
        assert sum(asks.values()) <= left
        for name, ask in asks.items():
            gave = min(ask, there[name] - got[name])
            got[name] += gave
            left -= gave
            if gave < ask:
                going.remove(name)
    return got


def test_those_that_gave_fewer_come_first_and_nobody_gives_more_than_he_may() -> None:
    assert share_out(5, {"a": 3, "b": 0, "c": 1}, {"a": 9, "b": 9, "c": 9}) == {"b": 3, "c": 2}
    assert share_out(9, {"a": 0, "b": 0}, {"a": 1, "b": 3}) == {"a": 1, "b": 3}
    assert share_out(1, {"a": 0, "b": 0}, {"a": 9, "b": 9}) == {"a": 1}
    assert share_out(0, {"a": 0}, {"a": 9}) == {}
