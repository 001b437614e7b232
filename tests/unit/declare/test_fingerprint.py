"""Equal arguments have one fingerprint, in every process; others have another."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from outlast import Outlast
from outlast.declare.fingerprint import fingerprint
from outlast.declare.options import NO_OPTIONS

BERLIN, TOKYO = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1


class Line(BaseModel):
    model_config = ConfigDict(extra="allow")

    price: Decimal
    tags: set[str] = set()


@dataclass
class Order:
    lines: list[Line]
    seen: int = field(default=0, compare=False)


class Point(NamedTuple):
    x: float
    y: float


def of(annotation: Any, value: Any, *, default: Any = ...) -> str:
    """Return the unique key of a job with one argument of this type."""

    async def job(value: Any = default) -> None: ...

    if default is ...:
        job.__defaults__ = None
    job.__annotations__ = {"value": annotation, "return": None}
    made = Outlast("prints").job(unique=True)(job)
    unique = made.message(value).unique
    assert unique is not None
    assert made.declaration.unique == ""
    assert NO_OPTIONS.unique is None
    return unique.key


EQUAL: list[tuple[Any, Any, Any]] = [
    (dict[str, int], {"colour": 1, "size": 2}, {"size": 2, "colour": 1}),
    (dict[str, Any], {"a": {"b": 1, "c": [{"d": 1, "e": 2}]}}, {"a": {"c": [{"e": 2, "d": 1}], "b": 1.0}}),
    (Decimal, Decimal("1.0"), Decimal("1.00")),
    (Decimal, Decimal("1E+2"), Decimal(100)),
    (Decimal, "0.10", Decimal("0.1")),
    (list[Decimal], [Decimal("-0")], [Decimal("0.00")]),
    (Line, Line(price=Decimal(1)), Line(price=Decimal("1.0"), tags=set())),
    (Line, {"price": "1.0", "more": 1, "other": 2}, {"other": 2, "price": 1, "more": 1}),
    (Order, Order([Line(price=Decimal(1))]), Order([Line(price=Decimal("1.0"))], seen=5)),
    (datetime, NOON, NOON.astimezone(TOKYO)),
    (datetime, "2026-05-01T12:00:00Z", "2026-05-01T14:00:00+02:00"),
    (time, time(12, tzinfo=UTC), time(14, tzinfo=timezone(timedelta(hours=2)))),
    (timedelta, timedelta(days=1), timedelta(hours=24)),
    (int, 1, True),
    (int, 1, 1.0),
    (int, 1, "1"),
    (float, 1, True),
    (float, 0.0, -0.0),
    (bool, 1, True),
    (float, math.nan, math.nan),
    (Any, 1, 1.0),
    (Any, 1, True),
    (int | float, 2, 2.0),
    (Any, {"n": 10**30}, {"n": 1e30} if int(1e30) == 10**30 else {"n": 10**30}),
    (Colour, Colour.RED, "red"),
    (Level, Level.LOW, 1),
    (set[str], {"a", "b", "c"}, {"c", "b", "a"}),
    (frozenset[Decimal], frozenset([Decimal("1.0"), Decimal(2)]), frozenset([Decimal("2.0"), Decimal(1)])),
    (tuple[int, str], (1, "a"), [1, "a"]),
    (Point, Point(1, 2), Point(1.0, 2.0)),
    (deque[int], deque([1, 2]), [1, 2]),
    (Counter[str], Counter("ab"), Counter("ba")),
    (UUID, UUID(int=7), str(UUID(int=7))),
    (Path, Path("a/b"), "a/b"),
    (bytes, b"a", bytearray(b"a")),
    (Annotated[int, Field(ge=0)], 7, "7"),
]
DIFFERENT: list[tuple[Any, Any, Any]] = [
    (dict[str, int], {"colour": 1}, {"colour": 2}),
    (list[int], [1, 2], [2, 1]),
    (list[str], ["ab", "c"], ["a", "bc"]),
    (list[list[int]], [[1], [2, 3]], [[1, 2], [3]]),
    (OrderedDict[str, int], OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
    (Decimal, Decimal("1.0"), Decimal("1.01")),
    (Decimal, Decimal("0.1"), Decimal("0.10000000000000000555")),
    (float, 0.1, 0.1 + 2**-56),
    (Any, 1, "1"),
    (Any, None, ""),
    (Any, [], {}),
    (Any, 0, None),
    (Any, {"1": 2}, {"2": 1}),
    (str, "a", "A"),
    (str, "e\u0301", "\u00e9"),
    (int, 10**40, 10**40 + 1),
    (float, math.inf, -math.inf),
    (float, math.inf, math.nan),
    (datetime, NOON, NOON + timedelta(microseconds=1)),
    (datetime, datetime(2026, 5, 1, 12), NOON),
    (date | datetime, date(2026, 5, 1), datetime(2026, 5, 1, 1)),
    (time, time(12), time(12, tzinfo=UTC)),
    (timedelta, timedelta(0), timedelta(microseconds=1)),
    (Colour, Colour.RED, Colour.BLUE),
    (set[str], {"a"}, {"a", "b"}),
    (Line, Line(price=Decimal(1)), Line(price=Decimal(1), tags={"a"})),
    (Line, Line(price=Decimal(1), more=1), Line(price=Decimal(1), more=2)),  # type: ignore[call-arg]
    (Order, Order([]), Order([Line(price=Decimal(1))])),
    (UUID, UUID(int=7), UUID(int=8)),
    (bytes, b"a", b"b"),
]


@pytest.mark.parametrize(("annotation", "one", "other"), EQUAL, ids=range(len(EQUAL)))
def test_equal_arguments(annotation: Any, one: Any, other: Any) -> None:
    assert of(annotation, one) == of(annotation, other)


@pytest.mark.parametrize(("annotation", "one", "other"), DIFFERENT, ids=range(len(DIFFERENT)))
def test_different_arguments(annotation: Any, one: Any, other: Any) -> None:
    assert of(annotation, one) != of(annotation, other)


@pytest.mark.parametrize(
    ("annotation", "default", "same"),
    [
        (int, 1, True),
        (float, 1, 1.0),
        (Decimal, Decimal("1.0"), Decimal("1.00")),
        (Decimal, 1, "1.00"),
        (set[str], {"a", "b"}, ["b", "a"]),
        (datetime, NOON, NOON.astimezone(TOKYO)),
        (int | None, None, None),
        (Line, Line(price=Decimal(1)), {"price": "1.0"}),
    ],
    ids=range(8),
)
def test_a_default_that_is_given_counts_as_left_out(annotation: Any, default: Any, same: Any) -> None:
    async def job(value: Any = default) -> None: ...

    job.__annotations__ = {"value": annotation, "return": None}
    made = Outlast("prints").job(unique=True)(job)
    assert made.message().unique == made.message(same).unique


def no_json() -> dict[str, Any]:
    raise AssertionError("every type here is known")


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers()
    | st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0**70])
    | st.floats(allow_nan=False)
    | st.decimals(-3, 3, places=2)
    | st.decimals(allow_nan=False)
    | st.fractions(-3, 3)
    | st.text(max_size=3)
    | st.binary(max_size=2)
    | st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=2))]))
    | st.datetimes()
    | st.dates()
    | st.timedeltas()
    | st.complex_numbers(allow_nan=False, max_magnitude=3)
)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3) | st.frozensets(scalars, max_size=3)
    ),
    max_leaves=6,
)


def digest(value: Any) -> str:
    return fingerprint({"value": value}, {}, no_json)


@given(trees, trees)
def test_one_fingerprint_means_equal(one: Any, other: Any) -> None:
    assert (digest(one) == digest(other)) == (one == other)


@given(st.lists(scalars, min_size=2, max_size=2))
def test_one_fingerprint_means_equal_for_scalars(pair: list[Any]) -> None:
    one, other = pair
    assert (digest(one) == digest(other)) == (one == other)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_in_any_type(number: float) -> None:
    assert (
        digest(number)
        == digest(Decimal(number))
        == digest(Fraction(number))
        == digest(complex(number) if number == float(number) else number)
    )


@given(st.dictionaries(st.text(max_size=3), scalars, max_size=5), st.randoms())
def test_the_order_of_a_dict_does_not_count(one: dict[str, Any], random: Any) -> None:
    items = list(one.items())
    random.shuffle(items)
    assert digest(one) == digest(dict(items))


def test_a_value_of_an_unknown_type_is_compared_by_its_json() -> None:
    assert fingerprint({"value": object()}, {"value": object()}, lambda: {"value": {"a": 1, "b": 2}}) == fingerprint(
        {"value": object()}, {}, lambda: {"value": {"b": 2, "a": 1}}
    )


def test_every_process_gives_the_same() -> None:
    code = (
        "from outlast import Outlast\n"
        "async def job(tags: set[str], more: dict[str, frozenset[int]]) -> None: ...\n"
        "made = Outlast('prints').job(unique=True)(job)\n"
        "print(made.message({'a', 'bb', 'ccc', 'dddd'}, {'x': frozenset(range(50))}).unique.key)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, text=True
        )
        for seed in ("1", "2")
    ]
    one, other = (process.communicate()[0] for process in processes)
    assert one == other
    assert one.startswith("job:")
