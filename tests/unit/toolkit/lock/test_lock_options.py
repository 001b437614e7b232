"""What a lock takes and refuses, the condition of a fenced statement, and the parts that need no store."""

from __future__ import annotations

import sqlite3

import pytest

from outlast import ConfigurationError, InvalidArguments, LockLost, LockTimeout, Outlast, Settings, fence_condition
from outlast.testing.clock import FakeClock
from outlast.toolkit.lock.lease import LockLease
from outlast.toolkit.lock.lines import Lines
from outlast.toolkit.lock.store import Holding

shop = Outlast("shop", settings=Settings(url="memory:"))


@pytest.mark.parametrize("name", ["", None, 7, b"stock"])
def test_a_name_is_text(name: object) -> None:
    with pytest.raises(InvalidArguments, match=r"name of the lock=.*give text"):
        shop.lock(name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lease": 0.5}, r"lock 'a': lease=0.5: give 1 s or more"),
        ({"lease": "soon"}, r"lock 'a': lease='soon': give a number with its unit"),
        ({"lease": -1}, r"lock 'a': lease=-1"),
        ({"wait": -1}, r"lock 'a': wait=-1"),
        ({"wait": "x"}, r"lock 'a': wait='x'"),
        ({"wait": float("nan")}, r"lock 'a': wait=nan"),
    ],
)
def test_a_wrong_time_is_refused_with_its_setting(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        shop.lock("a", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("slots", [0, -1, True, 1.5, "3", 10_001])
def test_a_wrong_number_of_slots_is_refused(slots: object) -> None:
    with pytest.raises(ConfigurationError, match=r"semaphore 'a': slots=.*: give 1 to 10,000"):
        shop.semaphore("a", slots)  # type: ignore[arg-type]


def test_the_condition_refuses_older_tokens_only() -> None:
    db = sqlite3.connect(":memory:")
    db.execute("create table stock (id integer primary key, fence integer)")
    db.execute("insert into stock values (7, null)")

    def write(token: int) -> int:
        sql = f"update stock set fence = :token where id = 7 and {fence_condition()}"
        return db.execute(sql, {"token": token}).rowcount

    assert [write(token) for token in (5, 5, 4, 9, 5, 9)] == [1, 1, 0, 1, 0, 1]
    db.close()


@pytest.mark.parametrize("column", ["s.fence", '"my fence"', "Fence_2"])
@pytest.mark.parametrize("parameter", [":token", "$1", "?", "?3", "%s", "%(token)s", "@token"])
def test_columns_and_parameters_of_every_driver(column: str, parameter: str) -> None:
    assert fence_condition(column, parameter) == f"({column} is null or {column} <= {parameter})"


@pytest.mark.parametrize("column", ["fence or 1=1 --", "", "fence;", '"a"b', "1", None])
def test_a_column_that_is_more_than_a_name_is_refused(column: str) -> None:
    with pytest.raises(ConfigurationError, match=r"fence_condition\(column="):
        fence_condition(column)


@pytest.mark.parametrize("parameter", ["token", ":token or 1=1", "", "7", None])
def test_a_value_in_place_of_a_parameter_is_refused(parameter: str) -> None:
    with pytest.raises(ConfigurationError, match=r"fence_condition\(parameter="):
        fence_condition(parameter=parameter)


def lease_at(clock: FakeClock) -> LockLease:
    return LockLease("a", 7, Holding("lock:a", "h", 10.0), clock.monotonic(), clock)


def test_a_lease_ends_before_that_of_the_store() -> None:
    clock = FakeClock()
    lease = lease_at(clock)
    clock.advance(8.9)
    lease.check()
    clock.advance(0.2)
    with pytest.raises(LockLost, match=r"lock 'a' \(token 7\) was lost: it could not be renewed in time"):
        lease.check()
    lease.renewed(clock.monotonic())
    lease.check()
    lease.lose("a reason")
    lease.renewed(clock.monotonic())
    assert lease.lost, "a lost lease stays lost"


def test_a_refused_write_is_a_loss() -> None:
    lease = lease_at(FakeClock())
    lease.confirm(2)
    assert not lease.lost
    with pytest.raises(LockLost, match="a fenced write was refused"):
        lease.confirm(0)
    assert lease.lost


async def test_an_error_shows_the_begin_of_a_long_name_in_one_line() -> None:
    name = "stock\n" + "x" * 1_000_000
    async with shop.lock(name):
        with pytest.raises(LockTimeout, match=r"^lock 'stock\\nxxx.* was held by others") as held:
            await shop.lock(name, wait=0).__aenter__()
    assert held.value.name == name
    for error in (held.value, LockLost(name, 7, "a reason")):
        assert len(str(error)) < 300


def test_the_line_of_a_process() -> None:
    lines = Lines()
    for old, new in ((0, 5), (0, 3), (0, 9), (5, 12)):
        lines.move("a", old, new)
    assert [lines.before("a", ticket) for ticket in (3, 9, 12)] == [0, 1, 2]
    assert lines.before("b", 9) == 0
    for old in (3, 9, 12, 12):
        lines.move("a", old, 0)
    assert lines.before("a", 100) == 0
