"""Who is kept out of a full queue and who makes room: the pure rules, on lists and on random queues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.admission import WINDOW, Newcomer, Used, Waiter, ahead_of_key, is_bounded, make_room, refusal, urgency
from outlast.core.limits import Limit
from outlast.core.settlement import Full, TooLarge
from outlast.core.topology import Queue

NOW = 1000.0


class Desk:
    """A queue as lists: the newcomer's own line, another one, and what else is unfinished."""

    def __init__(self, own: Sequence[Waiter] = (), other: Sequence[Waiter] = (), *, running: int = 0) -> None:
        self._own, self._other, self.running = own, other, running
        self.asked: list[str] = []

    def used(self) -> Used:
        self.asked.append("used")
        return _used([*self._own, *self._other], self.running)

    def used_by_key(self) -> Used:
        self.asked.append("used_by_key")
        return _used(self._own, self.running)

    def own(self, most: int) -> Sequence[Waiter]:
        self.asked.append(f"own {most}")
        return self._own[:most]

    def other(self) -> Sequence[Waiter]:
        self.asked.append("other")
        return self._other[:WINDOW]


def _used(waiters: Sequence[Waiter], running: int) -> Used:
    return Used(len(waiters) + running, sum(each.size for each in waiters) + running)


def line(*urgencies: int, size: int = 1, age: float = 0.0, name: str = "j") -> list[Waiter]:
    return [Waiter(f"{name}{n}", urgency, NOW - age, size) for n, urgency in enumerate(urgencies)]


def ids(room: Any) -> Any:
    return [each.id for each in room] if isinstance(room, list) else room


def room(desk: Desk, *, size: int = 1, urgency: int = 1, keyed: bool = True, **bounds: Any) -> Any:
    return ids(make_room(Queue(name="q", **bounds), Newcomer(size, urgency, keyed), NOW, desk))


def shed(desk: Desk, **bounds: Any) -> Any:
    return room(desk, on_full="shed", **bounds)


def test_a_queue_without_bounds_is_never_asked() -> None:
    assert not is_bounded(Queue(name="q"))
    for name in ("max_depth", "max_bytes", "max_age"):
        one: dict[str, Any] = {name: 1}
        assert is_bounded(Queue(name="q", **one))
        assert is_bounded(Queue(name="q", per_key=Limit(**one)))


def test_only_what_a_bound_needs_is_asked() -> None:
    for bounds, asked in (
        ({"max_depth": 9}, ["used"]),
        ({"per_key": Limit(max_bytes=9)}, ["used_by_key"]),
        ({"max_age": 9}, ["own 1"]),
        ({"max_age": 9, "on_full": "shed"}, ["own 1"]),
        ({"max_depth": 9, "on_full": "shed"}, ["used"]),
    ):
        desk = Desk(line(1))
        assert room(desk, **bounds) == []
        assert desk.asked == asked
    assert room(desk := Desk(line(1)), per_key=Limit(max_depth=1), keyed=False) == []
    assert desk.asked == []


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({"max_depth": 2}, "max_depth"),
        ({"max_bytes": 2}, "max_bytes"),
        ({"max_age": 5}, "max_age"),
        ({"per_key": Limit(max_depth=2)}, "per_key.max_depth"),
        ({"per_key": Limit(max_bytes=2)}, "per_key.max_bytes"),
        ({"per_key": Limit(max_age=5)}, "per_key.max_age"),
        ({"max_age": 6, "per_key": Limit(max_age=5)}, "per_key.max_age"),
        ({"max_age": 5, "per_key": Limit(max_age=6)}, "max_age"),
        ({"max_depth": 2, "max_bytes": 2}, "max_depth"),
    ],
)
def test_the_bound_is_named(bounds: dict[str, Any], said: str) -> None:
    assert room(Desk(line(1, 1, age=7)), **bounds) == said


def test_what_is_alone_too_large_is_told_so() -> None:
    assert room(Desk(), size=3, max_bytes=2) == TooLarge(3, 2, "max_bytes")
    assert room(Desk(), size=3, per_key=Limit(max_bytes=2)) == TooLarge(3, 2, "per_key.max_bytes")
    assert room(Desk(), size=3, per_key=Limit(max_bytes=2), keyed=False) == []


def test_the_least_urgent_is_shed_and_of_those_the_first() -> None:
    assert shed(Desk(line(0, 1, 2, 2)), max_depth=4) == ["j2"]
    assert shed(Desk(line(0, 1, 2, 2)), max_depth=2) == ["j2", "j3", "j1"]
    assert shed(Desk(line(0, 0)), max_depth=2) == "max_depth"
    assert shed(Desk(line(0, 0)), max_depth=2, urgency=0) == ["j0"]


def test_for_bytes_as_many_as_it_takes_or_nobody() -> None:
    assert shed(Desk(line(1, 1, 1, size=3)), max_bytes=9, size=5) == ["j0", "j1"]
    assert shed(Desk(line(0, 1, size=3), running=4), max_bytes=10, size=7) == "max_bytes"


def test_another_line_gives_once_the_own_is_empty() -> None:
    others = line(1, 2, 1, name="o")
    assert shed(Desk([], others), max_depth=3) == ["o1"]
    assert shed(Desk(line(1), others), max_depth=2) == ["j0", "o1", "o0"]
    assert shed(Desk(line(0), others), max_depth=4) == "max_depth"
    assert shed(Desk([], others), max_depth=3, urgency=2) == ["o1"]
    assert shed(Desk([], line(0, name="o")), max_depth=1) == "max_depth"
    assert shed(Desk(running=1), max_depth=1) == "max_depth"


def test_a_keys_own_bound_takes_of_its_own_alone() -> None:
    assert shed(Desk(line(1, 1), line(1, 1)), per_key=Limit(max_depth=2)) == ["j0"]
    assert shed(Desk([], line(1, 1), running=2), per_key=Limit(max_depth=2)) == "per_key.max_depth"
    assert shed(Desk(line(1, 1), line(1, name="o")), max_depth=2, per_key=Limit(max_depth=2)) == ["j0", "j1"]


def test_a_line_that_is_longer_than_the_window_gives_no_more_than_that() -> None:
    long = line(*[1] * (WINDOW + 5))
    assert shed(Desk(long), max_bytes=WINDOW + 5, size=WINDOW) == [f"j{n}" for n in range(WINDOW)]
    assert shed(Desk(long, line(1, name="o")), max_bytes=WINDOW + 6, size=WINDOW + 1) == "max_bytes"
    assert len(shed(Desk(line(*[1] * (WINDOW + 5), age=9)), max_age=5)) == WINDOW


def test_the_old_are_shed_from_the_front_and_counted() -> None:
    waiters = [*line(1, 1, age=9, name="old"), *line(1, name="new"), *line(1, age=9, name="behind")]
    assert shed(Desk(waiters), max_age=5) == ["old0", "old1"]
    assert shed(Desk(waiters), max_age=5, max_depth=4, max_bytes=3) == ["old0", "old1"]
    assert shed(Desk(waiters), max_age=5, max_depth=2) == ["old0", "old1", "new0"]
    assert shed(Desk(line(0, age=9)), max_age=5) == "max_age"
    assert shed(Desk(line(1, 0, age=9)), max_age=5) == "max_age"
    assert shed(Desk([]), max_age=5) == []
    assert shed(Desk(line(1, age=5)), max_age=5) == []
    assert shed(Desk([*line(1, age=5.5, name="old"), *line(1, age=5, name="just")]), max_age=5) == ["old0"]


def test_priorities_have_an_order() -> None:
    assert [urgency("high"), urgency("normal"), urgency("low")] == [0, 1, 2]


@pytest.mark.parametrize(
    ("ready", "own", "lines", "ahead"),
    [(0, 0, 1, 0), (1000, 0, 4, 4), (1000, 9, 4, 40), (30, 9, 4, 30), (10, 10, 1, 10)],
)
def test_the_backlog_of_another_key_delays_a_job_no_more_than_its_own(
    ready: int, own: int, lines: int, ahead: int
) -> None:
    assert ahead_of_key(ready, own, lines) == ahead


def test_when_a_refused_client_may_come_back() -> None:
    bounded, keyed = Queue(name="q", max_depth=100), Queue(name="q", per_key=Limit(max_depth=4))
    assert refusal("max_depth", bounded, 1000, 2.0) == Full(5.0, "max_depth", 0.5)
    assert refusal("max_bytes", bounded, 1000, 2.0) == Full(50.0, "max_bytes", 0.5)
    assert refusal("max_age", Queue(name="q"), 3, 0.5) == Full(2.0, "max_age", 2.0)
    assert refusal("max_age", Queue(name="q"), 3, 100.0) == Full(1.0, "max_age", 0.01)
    assert refusal("max_age", Queue(name="q"), 3, 0.0) == Full(60.0, "max_age")
    assert refusal("max_age", Queue(name="q"), 90_000, 0.1) == Full(3600.0, "max_age", 10.0)
    assert refusal("per_key.max_depth", keyed, 40, 2.0) == Full(5.0, "per_key.max_depth", 5.0)


waiting = st.lists(st.tuples(st.integers(0, 2), st.floats(0, 10), st.integers(1, 5)), max_size=12)


@given(
    own=waiting,
    other=waiting,
    running=st.integers(0, 3),
    newcomer=st.tuples(st.integers(1, 6), st.integers(0, 2), st.booleans()),
    of_queue=st.tuples(*[st.none() | st.integers(1, 12)] * 3),
    of_key=st.tuples(*[st.none() | st.integers(1, 12)] * 3),
    on_full=st.sampled_from(["reject", "shed"]),
)
def test_whatever_is_shed_makes_room_and_was_allowed(
    own: Any, other: Any, running: int, newcomer: Any, of_queue: Any, of_key: Any, on_full: Any
) -> None:
    mine, others = (
        [Waiter(f"{name}{n}", urgency, NOW - age, size) for n, (urgency, age, size) in enumerate(each)]
        for name, each in (("own", own), ("other", other))
    )
    names = ("max_depth", "max_bytes", "max_age")
    queue = Queue(
        name="q", on_full=on_full, per_key=Limit(**dict(zip(names, of_key, strict=True))),
        **dict(zip(names, of_queue, strict=True)),
    )  # fmt: skip
    who = Newcomer(*newcomer)
    answer = make_room(queue, who, NOW, Desk(mine, others, running=running))
    each = queue.per_key if who.keyed else Limit()
    if isinstance(answer, TooLarge):
        assert who.size > min(limit for limit in (queue.max_bytes, each.max_bytes) if limit is not None)
        return
    gone = answer if isinstance(answer, list) else []
    assert not gone or on_full == "shed"
    assert len({waiter.id for waiter in gone}) == len(gone)
    assert all(waiter.urgency >= who.urgency for waiter in gone)
    left = [waiter for waiter in mine if waiter not in gone]
    rest = [waiter for waiter in others if waiter not in gone]
    if len(rest) < len(others):
        assert left == []
    fits = [
        _fits(each.max_depth, each.max_bytes, _used(left, running), who.size),
        _fits(queue.max_depth, queue.max_bytes, _used([*left, *rest], running), who.size),
        not left or NOW - left[0].since <= min(limit for limit in (each.max_age, queue.max_age, 1e9) if limit),
    ]
    assert all(fits) == isinstance(answer, list)


def _fits(max_depth: int | None, max_bytes: int | None, used: Used, size: int) -> bool:
    return (max_depth is None or used.depth < max_depth) and (max_bytes is None or used.size + size <= max_bytes)
