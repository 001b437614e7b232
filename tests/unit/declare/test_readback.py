"""The comparison of a value with what would arrive: by type and value, deeply, whatever user code does."""

from __future__ import annotations

import enum
import functools
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from pydantic import BaseModel, PrivateAttr

from outlast.declare.readback import difference, shown_key

NAN = float("nan")
AMSTERDAM, BERLIN = ZoneInfo("Europe/Amsterdam"), ZoneInfo("Europe/Berlin")
FOLD = datetime(2026, 10, 25, 2, 30)


class Event(BaseModel):
    id: int
    _seen: int = PrivateAttr(0)

    @functools.cached_property
    def double(self) -> int:
        return self.id * 2


class Paid(Event):
    amount: int = 0


class Open(BaseModel, extra="allow"): ...


class Point(NamedTuple):
    x: Any
    y: Any


class Packed(msgspec.Struct):
    a: Any


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Line:
    sku: Any
    hidden: int = field(default=0, compare=False)


class Slots:
    __slots__ = ("a", "b")

    def __init__(self, a: Any) -> None:
        self.a = a


class Liar(SimpleNamespace):
    def __eq__(self, other: object) -> bool:
        return True


class Denier(Slots):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return False


class Broken:
    def __init__(self, a: Any) -> None:
        self.a = a

    def __eq__(self, other: object) -> bool:
        raise RuntimeError


class Opaque:
    __slots__ = ()


class Array:
    """As an array of numpy: no fields, and `==` answers item by item."""

    __slots__ = ()

    def __eq__(self, other: object) -> Any:
        return SimpleNamespace(all=lambda: True)


class Named(str):
    __slots__ = ("note",)


class Day(date): ...


class Items(list[Any]):
    note = ""

    def __len__(self) -> int:
        return 0


class Money(Decimal):
    def __repr__(self) -> str:
        return "Money"

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


class Moment(datetime):
    def __eq__(self, other: object) -> bool:
        return True


SHARED, OTHER = Line(1), Line(2)


def seen(event: Event, times: int) -> Event:
    event._seen = times
    return event


def noted(items: Items, note: str) -> Items:
    items.note = note
    return items


def cached(event: Event) -> Event:
    assert event.double
    return event


def circle() -> list[Any]:
    items: list[Any] = [1]
    items.append(items)
    return items


def deep(levels: int, items: Any) -> Any:
    for _ in range(levels):
        items = [items]
    return items


EQUAL: list[tuple[Any, Any]] = [
    (NAN, float("nan")),
    ([NAN, 1.0], [float("nan"), 1.0]),
    ({NAN, 1.0}, {1.0, float("nan")}),
    (0.0, -0.0),
    (Decimal("1.10"), Decimal("1.1")),
    (Decimal("NaN"), Decimal("NaN")),
    (Decimal("sNaN"), Decimal("sNaN")),
    (complex(NAN, 1), complex(float("nan"), 1)),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({1: "a", (2, 3): "b"}, {(2, 3): "b", 1: "a"}),
    ({(1, 2), (3, 4)}, {(3, 4), (1, 2)}),
    (datetime(2026, 1, 2, tzinfo=BERLIN), datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=1)))),
    (FOLD.replace(tzinfo=BERLIN, fold=1), FOLD.replace(tzinfo=timezone(timedelta(hours=1)))),
    (time(1, tzinfo=UTC), time(1, tzinfo=timezone(timedelta(0)))),
    (UUID(int=7), UUID(int=7)),
    (Path("a/b"), Path("a/b")),
    (Line(NAN), Line(float("nan"))),
    (Packed(NAN), Packed(float("nan"))),
    (cached(Event(id=1)), Event(id=1)),
    (Event(id=1), cached(Event(id=1))),
    (Event(id=1), Event.model_construct(None, id=1)),
    (circle(), circle()),
    (Broken(1), Broken(1)),
    (Array(), Array()),
    (deque([1], 3), deque([1], 3)),
    (SimpleNamespace(a=1), SimpleNamespace(a=1)),
    (defaultdict(int, a=1), defaultdict(int, a=1)),
]

DIFFERENT: list[tuple[Any, Any, str, str]] = [
    (1, True, "", "an int would arrive as a bool"),
    (1, 1.0, "", "an int would arrive as a float"),
    (None, "", "", "None would arrive as a str"),
    ("a", "b", "", "changed"),
    (1.0, NAN, "", "changed"),
    (Decimal(1), Decimal("NaN"), "", "changed"),
    ({1: "a"}, {"1": "a"}, "[1]", "its key or member, an int, would arrive changed"),
    ({None: "a"}, {"None": "a"}, "[None]", "its key or member, None,"),
    ({True: "a"}, {1: "a"}, "[True]", "a bool"),
    ({"a": 1, 1: 2}, {1: 3, "a": 1}, "[1]", "changed"),
    ({"a": 1}, {"a": 1, "b": 2}, "", "1 entries would arrive as 2"),
    ({1}, {1, 2}, "", "1 entries"),
    ({1}, {True}, "[1]", "its key or member, an int,"),
    ((1, [2]), (1, [3]), "[1][0]", "changed"),
    ([1], [1, 2], "", "1 entries"),
    ((1,), [1], "", "a tuple would arrive as a list"),
    (Counter("a"), {"a": 1}, "", "a Counter would arrive as a dict"),
    (OrderedDict(a=(1,)), OrderedDict(a=[1]), "['a']", "a tuple"),
    (Point(1, (2,)), Point(1, [2]), ".y", "a tuple would arrive as a list"),
    ({"order": [{"price": 1}]}, {"order": [{"price": 2}]}, "['order'][0]['price']", "changed"),
    (Paid(id=1), Event(id=1), "", "a Paid would arrive as an Event"),
    ([Event(id=1)], [Event(id=2)], "[0].id", "changed"),
    (seen(Event(id=1), 1), Event(id=1), "._seen", "changed"),
    (Open.model_validate({"a": 1}), Open(), ".a", "it would be lost"),
    (Open(), Open.model_validate({"a": 1}), ".a", "it would arrive, and was not given"),
    (Line(1, 2), Line(1, 3), ".hidden", "changed"),
    (Slots(1), Slots(2), ".a", "changed"),
    (Packed((1,)), Packed([1]), ".a", "a tuple"),
    (Liar(a=1), Liar(a=2), ".a", "changed"),
    (Denier(1), Denier(1), "", "changed"),
    (Broken(1), Broken(2), ".a", "changed"),
    (Opaque(), Opaque(), "", "changed"),
    (object(), object(), "", "changed"),
    (Colour.RED, Colour.BLUE, "", "changed"),
    (Named("a"), Named("b"), "", "changed"),
    (Day(2026, 1, 1), Day(2026, 1, 2), "", "changed"),
    (noted(Items([1]), "x"), Items([1]), ".note", "lost"),
    (Items([1]), Items([2]), "[0]", "changed"),
    (Money("1.5"), Money("2.5"), "", "changed"),
    (Moment(2026, 1, 1), Moment(2026, 1, 2), "", "changed"),
    ({(1, "a"): [SHARED], (2, "b"): 1}, {(2, "b"): 1, (1, "a"): [OTHER]}, "[a tuple][0].sku", "changed"),
    (deque([1], 3), deque([1]), "", "its maxlen would be lost"),
    (defaultdict(int), defaultdict(str), ".default_factory", "changed"),
    (iter([1]), iter([1]), "", "an iterator can be read only once"),
    (datetime(1900, 1, 1, tzinfo=AMSTERDAM), datetime(1900, 1, 1, tzinfo=UTC), "", "its offset from UTC, 0:19:32,"),
    (datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), "", "its offset from UTC, None,"),
    (FOLD.replace(fold=1), FOLD, "", "its fold would be lost"),
    (FOLD, FOLD.replace(minute=31), "", "changed"),
]


@pytest.mark.parametrize(("given", "read"), EQUAL)
def test_equal_values(given: Any, read: Any) -> None:
    assert difference(given, read) is None


@pytest.mark.parametrize(("given", "read", "path", "what"), DIFFERENT)
def test_the_first_difference_is_told_with_its_place(given: Any, read: Any, path: str, what: str) -> None:
    found = difference(given, read)
    assert found is not None
    assert found.path == path
    assert what in found.what


def test_classes_of_one_name_are_told_apart() -> None:
    def new() -> Any:
        class Same: ...

        Same.__module__ = f"shop_{len(made)}"
        made.append(Same)
        return Same()

    made: list[type] = []
    found = difference(new(), new())
    assert found is not None
    assert "shop_0.test_classes" in found.what
    assert "shop_1.test_classes" in found.what


def test_fields_are_named_as_attributes() -> None:
    found = difference({"order": [1]}, {"order": [2]}, fields=True)
    assert found is not None
    assert found.path == ".order[0]"


def test_nesting_has_an_end() -> None:
    found = difference(deep(100_000, 1), deep(100_000, 1))
    assert found == ("", "its value is nested too deeply")


class Raising(datetime):
    def utcoffset(self) -> timedelta | None:
        raise LookupError


class RaisingEquality:
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise LookupError


class RaisingHash(Slots):
    __slots__ = ()
    hashes = 0

    def __hash__(self) -> int:
        RaisingHash.hashes += 1
        if RaisingHash.hashes > 2:
            raise LookupError
        return 1


@pytest.mark.parametrize(
    "make", [lambda: Raising(2026, 1, 1), RaisingEquality, lambda: {RaisingHash(1)}, lambda: {"a": [RaisingEquality()]}]
)
def test_user_code_that_raises_is_a_difference(make: Callable[[], Any]) -> None:
    found = difference(make(), make())
    assert found is not None
    assert found.what == "its value cannot be compared with what would arrive (LookupError)"


def test_what_a_user_interrupts_is_not_swallowed() -> None:
    class Interrupting:
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        difference(Interrupting(), Interrupting())


def test_keys_are_cut_and_show_no_code() -> None:
    assert shown_key("a" * 100) == "'" + "a" * 36 + "..."
    assert shown_key((1, 2)) == "a tuple"
    assert shown_key(10**5000) == "an int"
