"""Any sequence of steps on a board has the answers of an exact model, on every store."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from outlast.core.errors import InvalidArguments
from outlast.core.toolkit_errors import BoardFull
from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.boards.board import Leaderboard
from outlast.toolkit.boards.unique import UniqueCount

MOST = 2**53 - 1
KEEP = 2
MEMBERS = ["a", "b", "B", "é", "e\u0301", "\x00", "a\x00", "\ud800", "😀", "\uffff", "x" * 512]
members = st.sampled_from([*MEMBERS[:4] * 4, *MEMBERS])
numbers = st.sampled_from([*[0, 1, 2, 3, -1] * 3, 10**9, 5 * 10**15, MOST - 1, MOST, -MOST])
agos = st.sampled_from([0, 0, 0, 1, KEEP])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), members, numbers, st.sampled_from([None, None, "one", "two"])),
        st.tuples(st.just("set"), members, numbers),
        st.tuples(st.just("remove"), members),
        st.tuples(st.just("top"), st.sampled_from([1, 3, 1000]), agos),
        st.tuples(st.just("around"), members, st.sampled_from([0, 1, 2, 1000]), agos),
        st.tuples(st.sampled_from(["rank", "score"]), members, agos),
        st.tuples(st.just("size"), agos),
        st.tuples(st.just("note"), members),
        st.tuples(st.just("has"), members, agos),
        st.tuples(st.just("count"), agos),
        st.tuples(st.just("advance"), st.sampled_from([1, 3600, 86400, 86400, 7 * 86400, 40 * 86400])),
    ),
    min_size=20,
    max_size=50,
)


def period_at(period: str | None, now: float, ago: int = 0) -> object:
    """Return what names the period `ago` before that of a time, by the calendar of the standard library."""
    day = datetime.fromtimestamp(now, UTC).date()
    match period:
        case None:
            return None
        case "1d":
            return day - timedelta(days=ago)
        case "week":
            return tuple((day - timedelta(weeks=ago)).isocalendar())[:2]
        case "month":
            return divmod(day.year * 12 + day.month - 1 - ago, 12)
    raise AssertionError(period)


@dataclass
class Model:
    """One board and one unique count, of at most `most` members a period."""

    period: str | None
    most: int
    scores: dict[object, dict[str, int]] = field(default_factory=dict)
    seen: dict[object, set[str]] = field(default_factory=dict)
    marks: dict[str, float] = field(default_factory=dict)

    def do(self, step: tuple[Any, ...], now: float) -> object:
        """Return what a step returns, or the class of the error that it raises."""
        match step:
            case ("add", member, points, once):
                if once and self.marks.get(once, 0) > now:
                    return self._now(now).get(member, 0)
                found = self._put(now, member, self._now(now).get(member, 0) + points)
                if once and isinstance(found, int):
                    self.marks[once] = now + 86400
                return found
            case ("set", member, score):
                found = self._put(now, member, score)
                return None if isinstance(found, int) else found
            case ("remove", member):
                return self._now(now).pop(member, None) is not None
            case ("note", member):
                seen = self.seen.setdefault(period_at(self.period, now), set())
                if member in seen:
                    return False
                if len(seen) >= self.most:
                    return BoardFull
                seen.add(member)
                return True
            case ("has", member, ago):
                return member in self.seen.get(period_at(self.period, now, ago), ())
            case ("count", ago):
                return len(self.seen.get(period_at(self.period, now, ago), ()))
        return self._read(step, self.scores.get(period_at(self.period, now, step[-1]), {}))

    def _now(self, now: float) -> dict[str, int]:
        return self.scores.setdefault(period_at(self.period, now), {})

    def _put(self, now: float, member: str, score: int) -> int | type[Exception]:
        if abs(score) > MOST:
            return InvalidArguments
        scores = self._now(now)
        if member not in scores and len(scores) >= self.most:
            return BoardFull
        scores[member] = score
        return score

    @staticmethod
    def _read(step: tuple[Any, ...], scores: dict[str, int]) -> object:
        def place(member: str) -> tuple[int, bytes]:
            return -scores[member], member.encode("utf-8", "surrogatepass")

        ordered = [(rank, member, scores[member]) for rank, member in enumerate(sorted(scores, key=place), 1)]
        at = next((rank - 1 for rank, member, _ in ordered if member == step[1]), None)
        match step:
            case ("top", most, _):
                return ordered[:most]
            case ("around", _, most, _):
                return [] if at is None else ordered[max(0, at - most) : at + most + 1]
            case ("rank", _, _):
                return None if at is None else at + 1
            case ("score", member, _):
                return scores.get(member)
        return len(scores)


async def done(board: Leaderboard, unique: UniqueCount, step: tuple[Any, ...]) -> object:
    """Do one step on a store, and return what `Model.do` returns of it."""
    name, *rest = step
    try:
        match name:
            case "add":
                return await board.add(rest[0], rest[1], once=rest[2])
            case "set" | "remove":
                return await getattr(board, name)(*rest)
            case "note":
                return await unique.add(rest[0])
            case "has" | "count":
                return await getattr(unique, name)(*rest[:-1], ago=rest[-1])
        found = await getattr(board, name)(*rest[:-1], ago=rest[-1])
    except (BoardFull, InvalidArguments) as error:
        return type(error)
    return [(each.rank, each.member, each.score) for each in found] if isinstance(found, list) else found


runs = count()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, period=st.sampled_from([None, "1d", "week", "month"]), most=st.sampled_from([3, 1000]))
@example(steps=[("add", "a", MOST, None), ("add", "a", 2, None), ("score", "a", 0)], period=None, most=3)
@example(steps=[("add", "a", 5 * 10**15, None), ("top", 3, 0), ("add", "a", 1, None)], period=None, most=3)
@example(steps=[("add", each, 1, None) for each in MEMBERS] + [("top", 1000, 0)], period="1d", most=1000)
async def test_every_store_answers_as_the_model(
    kit: Toolkit, clock: FakeClock, steps: list[tuple[Any, ...]], period: str | None, most: int
) -> None:
    name, model = f"run {next(runs)}", Model(period, most)
    keep = None if period is None else KEEP
    board = Leaderboard(lambda: kit, name, period=period, keep=keep, max_members=most)
    unique = UniqueCount(lambda: kit, name, period=period, keep=keep, max_members=most)
    for step in steps:
        if step[0] == "advance":
            clock.advance(step[1])
            continue
        if period is None and step[0] in ("top", "around", "rank", "score", "size", "has", "count"):
            step = (*step[:-1], 0)
        assert await done(board, unique, step) == model.do(step, clock.time()), step
        if step[0] in ("add", "set", "remove"):
            for read in (("around", step[1], 1, 0), ("around", step[1], 0, 0), ("rank", step[1], 0), ("top", 1000, 0)):
                assert await done(board, unique, read) == model.do(read, clock.time()), (step, read)
