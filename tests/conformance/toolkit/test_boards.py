"""Boards and unique counts on each store: periods, bounds, repeated adds, and names that never meet."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from outlast import BoardEntry, BoardFull
from outlast.core.errors import InvalidArguments
from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.boards.board import Leaderboard
from outlast.toolkit.boards.unique import UniqueCount
from tests.support.toolkit import Place


def board_of(kit: Toolkit, name: str = "best", **options: Any) -> Leaderboard:
    return Leaderboard(lambda: kit, name, **options)


def unique_of(kit: Toolkit, name: str = "seen", **options: Any) -> UniqueCount:
    return UniqueCount(lambda: kit, name, **options)


def at(clock: FakeClock, *date: int) -> None:
    """Move the clock forward to a time in UTC."""
    clock.advance(datetime(*date, tzinfo=UTC).timestamp() - clock.time())  # type: ignore[misc,arg-type]


async def test_members_of_one_score_are_in_the_order_of_their_bytes(kit: Toolkit) -> None:
    board = board_of(kit)
    for member in ("é", "b", "B", "a", "c"):
        await board.set(member, 5)
    await board.set("c", 6)
    assert await board.top(3) == [BoardEntry(1, "c", 6), BoardEntry(2, "B", 5), BoardEntry(3, "a", 5)]
    assert await board.around("é", 1) == [BoardEntry(4, "b", 5), BoardEntry(5, "é", 5)]
    assert [each.member for each in await board.around("a", 1)] == ["B", "a", "b"]
    assert [each.rank for each in await board.around("a", 0)] == [3]
    assert [await board.rank(member) for member in ("c", "é", "z")] == [1, 5, None]


@pytest.mark.parametrize(
    ("period", "last", "first"),
    [
        ("1h", (2026, 3, 4, 5, 59, 59), (2026, 3, 4, 6)),
        ("1d", (2026, 2, 28, 23, 59, 59), (2026, 3, 1)),
        ("day", (2026, 2, 28, 23, 59, 59), (2026, 3, 1)),
        ("7d", (2026, 3, 1, 23, 59, 59), (2026, 3, 2)),
        ("week", (2026, 3, 1, 23, 59, 59), (2026, 3, 2)),
        ("month", (2028, 2, 29, 23, 59, 59), (2028, 3, 1)),
        ("year", (2026, 12, 31, 23, 59, 59), (2027, 1, 1)),
        ("10m", (2026, 3, 4, 5, 19, 59), (2026, 3, 4, 5, 20)),
    ],
)
async def test_a_period_begins_by_the_calendar_in_utc(
    kit: Toolkit, clock: FakeClock, period: str, last: tuple[int, ...], first: tuple[int, ...]
) -> None:
    board, unique = board_of(kit, period=period, keep=2), unique_of(kit, period=period, keep=2)
    at(clock, *last)
    assert await board.add("a", 3) == 3
    assert await unique.add("a")
    at(clock, *first)
    assert (await board.score("a"), await board.score("a", ago=1), await unique.has("a")) == (None, 3, False)
    assert await board.add("a") == 1
    assert (await board.rank("a", ago=1), await board.size(ago=2), await unique.count(ago=1)) == (1, 0, 1)
    with pytest.raises(InvalidArguments, match="ago=3: give a whole number from 0 to keep=2"):
        await board.top(ago=3)


async def test_without_periods_a_score_stays(kit: Toolkit, clock: FakeClock) -> None:
    board, unique = board_of(kit), unique_of(kit)
    await board.add("a", 3)
    await unique.add("a")
    clock.advance(40 * 366 * 86400)
    assert (await board.add("a", 2), await unique.add("a"), await unique.count()) == (5, False, 1)
    with pytest.raises(InvalidArguments, match="without period= there is only 0"):
        await board.top(ago=1)


async def test_a_score_beyond_what_is_exact_is_refused_and_changes_nothing(kit: Toolkit) -> None:
    board = board_of(kit)
    most = 2**53 - 1
    assert await board.add("a", most) == most
    for points in (1, 2, 3, most):
        with pytest.raises(
            InvalidArguments, match=r"points=\d+ for 'a', which has 9007199254740991: the sum is beyond"
        ):
            await board.add("a", points, once="x")
    assert await board.add("a", -1, once="x") == most - 1, "a refused add is not done once"
    assert await board.add("b", -most) == -most
    with pytest.raises(InvalidArguments, match="beyond"):
        await board.add("b", -2)
    assert [(each.member, each.score) for each in await board.top()] == [("a", most - 1), ("b", -most)]


async def test_a_full_board_takes_no_new_member_and_goes_on(kit: Toolkit) -> None:
    board, unique = board_of(kit, max_members=2), unique_of(kit, max_members=2)
    for member in ("a", "b"):
        await board.add(member)
        await unique.add(member)
    for refused in (board.add("c", once="c"), board.set("c", 9), unique.add("c")):
        with pytest.raises(BoardFull, match="max_members=2: raise it, or declare a shorter period"):
            await refused
    assert (await board.add("a"), await unique.add("a"), await unique.count(), await board.size()) == (2, False, 2, 2)
    assert await board.remove("b")
    assert await board.add("c", 7, once="c") == 7


async def test_a_repeated_add_counts_once_for_a_day(kit: Toolkit, clock: FakeClock) -> None:
    board, other = board_of(kit, period="1h", keep=1), board_of(kit, "other")
    assert await board.add("a", 3, once="order:7") == 3
    assert await board.add("a", 3, once="order:7") == 3
    assert await board.add("a", 3, once="order:8") == 6
    assert await other.add("a", 3, once="order:7") == 3, "of another board"
    clock.advance(3600)
    assert await board.add("a", 3, once="order:7") == 0, "done in the period before"
    assert await board.score("a") is None
    clock.advance(86400)
    assert await board.add("a", 3, once="order:7") == 3


async def test_boards_of_one_name_and_other_periods_have_marks_of_their_own(kit: Toolkit) -> None:
    """An order is added to the board of the day and to the one of all time."""
    for period in (None, "1d", "1h", "month"):
        board = board_of(kit, period=period)
        assert await board.add("a", 3, once="order:7") == 3, period
        assert await board.add("a", 3, once="order:7") == 3, period


async def test_two_processes_count_together(kit: Toolkit, other_kit: Toolkit) -> None:
    ours, theirs = board_of(kit), board_of(other_kit)
    found = await asyncio.gather(*(each.add("a", 2) for _ in range(30) for each in (ours, theirs)))
    assert sorted(found) == list(range(2, 121, 2))
    seen = await asyncio.gather(*(unique_of(each).add(f"{n}") for n in range(30) for each in (kit, other_kit)))
    assert (seen.count(True), await unique_of(kit).count()) == (30, 30)


async def test_names_of_any_text_and_other_periods_are_different_boards(kit: Toolkit) -> None:
    names = [
        "a b",
        "*",
        "{a}",
        "a",
        "a:86400:0",
        "%2A",
        "*%",
        "é",
        "e\u0301",
        "\x00",
        "\n",
        "a" * 10_000,
        "\ud800",
        "once",
    ]
    boards = [board_of(kit, name, period=period) for name in names for period in (None, "1d", "1h", "month", "year")]
    uniques = [unique_of(kit, name, period=period) for name in names for period in (None, "1d")]
    assert [await board.add("m", 1, once="x") for board in boards[::5]] == [1] * len(names)
    for board in boards[::5]:
        await board.remove("m")
    assert [await board.add("m", 1) for board in boards] == [1] * len(boards)
    assert all([await unique.add("m") for unique in uniques])
    assert [await unique.count() for unique in uniques] == [1] * len(uniques)


@pytest.mark.parametrize("step", [86400, -86400])
async def test_a_clock_of_a_process_that_is_wrong_moves_no_period_of_a_server(
    kit: Toolkit, clock: FakeClock, place: Place, step: float
) -> None:
    """The period is that of the store's clock: of the server, or of this host."""
    board = board_of(kit, period="1d", keep=2)
    await board.add("a")
    clock.step_wall(step)
    of_server = place.name in ("redis", "cluster")
    assert await board.score("a") == (1 if of_server else None)
    assert await board.add("a") == (2 if of_server else 1)
    clock.step_wall(-step)
    assert await board.score("a") == (2 if of_server else 1)


def test_blocking_code_uses_them(kit_sync: Toolkit) -> None:
    board, unique = board_of(kit_sync, period="1d"), unique_of(kit_sync, period="1d")
    assert (board.add_sync("a", 2, once="x"), board.add_sync("a", 2, once="x")) == (2, 2)
    board.set_sync("b", 1)
    assert [each.member for each in board.top_sync(2)] == ["a", "b"]
    assert [each.member for each in board.around_sync("b", 1)] == ["a", "b"]
    assert (board.rank_sync("b"), board.score_sync("b"), board.size_sync(), board.size_sync(ago=1)) == (2, 1, 2, 0)
    assert (board.remove_sync("b"), board.remove_sync("b")) == (True, False)
    assert (unique.add_sync("a"), unique.add_sync("a"), unique.has_sync("a"), unique.count_sync()) == (
        True,
        False,
        True,
        1,
    )
