"""What boards leave in each store, how they read it, and their side while it is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outlast.aio.clock import SystemClock
from outlast.clients.redis import Address, RedisClient
from outlast.core.errors import InvalidArguments
from outlast.core.toolkit_errors import ToolkitAway
from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.boards import file as board_file
from outlast.toolkit.boards.board import Leaderboard
from outlast.toolkit.boards.file import _statements, tidy_boards
from outlast.toolkit.boards.forms import boards_of
from outlast.toolkit.boards.memory import MemoryBoards
from outlast.toolkit.boards.place import BoardPlace, place_of
from outlast.toolkit.boards.store import MOST_SCORE
from outlast.toolkit.boards.unique import UniqueCount
from outlast.toolkit.file import ToolkitFile
from outlast.toolkit.memory import ToolkitMemory
from tests.support.polling import until
from tests.support.servers.proxy import proxied
from tests.support.servers.redis_server import RedisServer, shared_server

DAY = 86400


def place_named(kind: str, name: str = "best", *, period: object = "1d", keep: int | None = 2) -> BoardPlace:
    return place_of(kind, name, period, keep=keep, most=100_000, away="raise")


async def test_every_key_of_a_server_expires_but_of_a_board_without_periods(tmp_path: Path) -> None:
    space = f"{tmp_path.parent.name}-{tmp_path.name}"[-40:]
    client = RedisClient(Address.of(shared_server("").url))
    await client.open()
    kit = Toolkit(f"{shared_server('').users_url}?namespace={space}", clock=SystemClock(), timeout=30)
    for period, keep in (("1d", 2), (None, None)):
        board = Leaderboard(lambda: kit, "best", period=period, keep=keep)
        unique = UniqueCount(lambda: kit, "seen", period=period, keep=keep)
        await board.add("a", once="order:7")
        await board.set("b", 3)
        await unique.add("a")
        for each in (board.remove("x"), board.top(), board.rank("a"), unique.has("x"), unique.count()):
            await each
    await kit.close()
    keys = [key.decode() for key in await client.command("KEYS", f"{space}:*")]
    ends = {key.partition("}:")[2] + key.partition(":kit:")[2][:3]: await client.command("PTTL", key) for key in keys}
    of_periods = {name: end for name, end in ends.items() if name.startswith(f"{DAY}:")}
    assert len(of_periods) == 2
    assert all(2 * DAY * 1000 < end <= 3 * DAY * 1000 for end in of_periods.values()), ends
    assert {name: end for name, end in ends.items() if end == -1} == {"allboa": -1, "alluni": -1}
    marks = {name: end for name, end in ends.items() if name.startswith("once:")}
    assert sorted(marks) == [f"once:{DAY}:order:7boa", "once:all:order:7boa"]
    assert all(0 < end <= DAY * 1000 for end in marks.values())
    assert len(keys) == 6
    await client.close()


async def test_a_server_keeps_scores_that_end_with_zeros_exactly(tmp_path: Path) -> None:
    """Newer servers write 5000000000000000 as 5e+15."""
    space = f"{tmp_path.parent.name}-{tmp_path.name}"[-40:]
    kit = Toolkit(f"{shared_server('').url}?namespace={space}", clock=SystemClock(), timeout=30)
    board = Leaderboard(lambda: kit, "best")
    scores = [5 * 10**15, -(10**15), MOST_SCORE, -MOST_SCORE, 0, 10**15 + 1, MOST_SCORE - 1]
    for number in range(200):  # above 128 members a server keeps them in another form
        await board.set(f"m{number}", scores[number % len(scores)])
    found = await board.top(200)
    assert [each.score for each in found] == sorted((scores[n % len(scores)] for n in range(200)), reverse=True)
    assert await board.add("m4", 0) == 0
    await kit.close()


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[ToolkitFile]:
    file = ToolkitFile(str(tmp_path / "toolkit.db"), FakeClock())
    await file.open()
    yield file
    await file.close()


PLANS = {
    "top": ["board_scores USING COVERING INDEX board_scores_in_order (board=?)"],
    "rank": ["board_scores USING COVERING INDEX board_scores_in_order (board=? AND (down,member)<(?,?))"],
    "around": [
        "other USING COVERING INDEX board_scores_in_order (board=? AND (down,member)<(?,?))",
        "other USING COVERING INDEX board_scores_in_order (board=? AND (down,member)>(?,?))",
    ],
    "score": ["board_scores USING PRIMARY KEY (board=? AND member=?)"],
    "has": ["unique_members USING PRIMARY KEY (board=? AND member=?)"],
    "size": [],
}


@pytest.mark.parametrize("name", PLANS)
async def test_reads_of_a_file_search_its_indexes(file: ToolkitFile, name: str) -> None:
    sql = _statements()[name]
    rows = await file.read(
        f"explain query plan {sql}", *(("x", b"m", 5)[: max(1, sql.count("?2") and 2 + ("?3" in sql))])
    )
    steps = [row[3] for row in rows]
    assert all(f"SEARCH {plan}" in steps for plan in PLANS[name]), steps
    tables = ("board_scores", "unique_members", "board_periods", "other")
    assert not [step for step in steps if step.startswith(tuple(f"SCAN {each}" for each in tables))], steps


async def test_expired_periods_of_a_file_are_removed_in_steps(
    file: ToolkitFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_file, "TIDY_AT_ONCE", 10)
    clock = file.clock
    assert isinstance(clock, FakeClock)
    boards, board, unique = boards_of(file, clock), place_named("board"), place_named("unique")
    for_ever = place_named("board", "ever", period=None, keep=None)
    await boards.add(for_ever, b"m", 1, "")
    for number in range(25):
        await boards.add(board, b"m%d" % number, 1, f"once{number}")
        await boards.note(unique, b"m%d" % number)
    clock.advance(2 * DAY)
    await boards.add(board, b"new", 1, "")
    assert [await file.write(tidy_boards, synced=False) for _ in range(3)] == [True, True, False], "the marks"
    assert await boards.size(board, 2) == 25
    clock.advance(DAY)
    assert [await file.write(tidy_boards, synced=False) for _ in range(3)] == [True, True, False]
    assert await file.read("select count(*) from board_scores") == [(2,)]
    assert await file.read("select count(*) from unique_members") == [(0,)]
    assert await file.read("select count(*) from board_marks") == [(0,)]
    assert await file.read("select members from board_periods") == [(1,), (1,)]


async def test_expired_periods_and_marks_of_a_memory_are_removed() -> None:
    clock = FakeClock()
    memory = ToolkitMemory(clock)
    boards = MemoryBoards.of(memory)
    for day in range(20):
        await boards.add(place_named("board"), b"m", 1, f"once{day}")
        await boards.note(place_named("unique"), b"m")
        clock.advance(DAY)
    assert len(boards._members) <= 2 * 4
    assert len(boards._marks) == 1


async def test_while_the_store_is_away_writes_raise_and_reads_do_as_declared(server: RedisServer) -> None:
    kit = Toolkit(server.url, clock=SystemClock(), timeout=2.0)
    board, empty = Leaderboard(lambda: kit, "best"), Leaderboard(lambda: kit, "best", away="empty")
    unique, none = UniqueCount(lambda: kit, "seen"), UniqueCount(lambda: kit, "seen", away="empty")
    assert await board.add("a", 2) == 2
    assert await empty.score("a") == 2
    server.stop()
    for write in (board.add("a"), empty.add("a", once="x"), empty.set("a", 1), empty.remove("a"), none.add("a")):
        with pytest.raises(ToolkitAway):
            await write
    for read in (board.top(), board.around("a"), board.rank("a"), board.score("a"), unique.has("a"), unique.count()):
        with pytest.raises(ToolkitAway):
            await read
    assert (await empty.top(), await empty.around("a"), await empty.rank("a"), await empty.score("a")) == (
        [],
        [],
        None,
        None,
    )
    assert (await empty.size(), await none.has("a"), await none.count()) == (0, False, 0)
    with pytest.raises(InvalidArguments):
        await empty.top(0)
    server.start()

    async def back() -> bool:
        try:
            return await board.add("b") > 0
        except ToolkitAway:
            return False

    await until(back, "the store is used again")
    await kit.close()


async def test_a_set_whose_answer_is_lost_is_not_done_again(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may have added to the score that it has set."""
    again = asyncio.Event()
    async with proxied(server.port) as proxy:
        kit = Toolkit(f"redis://127.0.0.1:{proxy.port}", clock=SystemClock(), timeout=30)
        other_kit = Toolkit(server.url, clock=SystemClock(), timeout=30)
        board, other = Leaderboard(lambda: kit, "best"), Leaderboard(lambda: other_kit, "best")
        await board.set("a", 5)
        served = proxy._serve

        async def gated(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await again.wait()
            await served(reader, writer)

        async def is_set() -> bool:
            return await other.score("a") == 7

        monkeypatch.setattr(proxy, "_serve", gated)
        proxy.faults.cut_down = 0
        setting = asyncio.create_task(board.set("a", 7))
        await until(is_set, "the score is set")
        assert await other.add("a") == 8
        proxy.heal()
        again.set()
        with pytest.raises(ToolkitAway) as lost:
            await setting
        assert (lost.value.uncertain, await other.score("a")) == (True, 8)
        await kit.close()
        await other_kit.close()
