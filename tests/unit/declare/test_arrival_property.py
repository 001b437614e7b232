"""Whatever is given to a job, an equal value arrives or the call is refused: any type, any value."""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Union
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from pydantic import BaseModel, Field

from outlast import InvalidArguments, Redacted
from tests.support.argument_types import (
    INF,
    NAN,
    Aliased,
    Batch,
    Checked,
    Circle,
    Colour,
    Doubled,
    Event,
    Generic1,
    Ids,
    Masked,
    Mixed,
    Number,
    Odd,
    Open,
    Paid,
    Point,
    Private,
    Rights,
    Scaled,
    Shape,
    Size,
    Slotted,
    Tag,
    Text,
    Totalled,
    taking,
)

LIST: Any = list
TUPLE: Any = tuple
SET: Any = set
DICT: Any = dict
UNION: Any = Union
_text = st.text(max_size=5) | st.sampled_from(["\ud800", "NaN", "7", "true", "2026-01-02", "\ufffd", ""])
_floats = st.floats() | st.sampled_from([NAN, INF, -INF, -0.0, 1e22])
_decimals = st.decimals().filter(lambda each: not each.is_snan())
_zones = st.none() | st.builds(timezone, st.integers(-86399, 86399).map(lambda each: timedelta(seconds=each)))
_times = st.datetimes(timezones=_zones) | st.datetimes(min_value=datetime(2026, 1, 1)).map(
    lambda at: at.replace(fold=1)
)
_scalars = (
    st.none() | st.booleans() | st.integers() | _floats | _text | st.binary(max_size=4) | _decimals | st.dates()
    | _times | st.times(timezones=_zones) | st.timedeltas() | st.uuids() | st.sampled_from([*Size, *Mixed, Colour.RED])
    | st.sampled_from([Text("t"), Path("a"), Rights.READ, True, 1, "1"])
    | st.integers(4299, 4301).map(lambda digits: 10**digits)
)  # fmt: skip
_keys = _scalars | st.tuples(st.integers(), _text)
_models = (
    st.builds(Event, id=st.integers()) | st.builds(Paid, id=st.integers(), amount=st.integers())
    | st.builds(Number, value=_floats) | st.builds(Shape, st.just("s")) | st.builds(Circle, st.just("c"), _floats)
    | st.builds(Point, st.integers(), _scalars) | st.builds(Odd, any=_scalars, pairs=st.dictionaries(_keys, _scalars))
)  # fmt: skip
_values = st.recursive(
    _scalars | _models,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(_keys, inner, max_size=3)
        | st.sets(_scalars, max_size=3) | st.builds(deque, st.lists(inner, max_size=2))
        | st.builds(Odd.model_construct, any=inner)
        | st.builds(Batch.model_construct, events=st.lists(_models, max_size=2))
    ),
    max_leaves=6,
)  # fmt: skip
_texts_as_names = st.dictionaries(st.text("abc", min_size=1, max_size=2), _values, max_size=2)
Pair = tuple[Any, st.SearchStrategy[Any]]
"""A type, and values of which most are valid for it."""
_leaves: list[Pair] = [
    (int, st.integers()),
    (str, _text),
    (bool, st.booleans()),
    (float, _floats | st.integers()),
    (type(None), st.none()),
    (bytes, st.binary(max_size=4)),
    (date, st.dates()),
    (datetime, _times),
    (time, st.times(timezones=_zones)),
    (timedelta, st.timedeltas()),
    (Decimal, _decimals),
    (UUID, st.uuids()),
    (Path, st.sampled_from([Path(), Path("a/b")])),
    (Size, st.sampled_from(Size)),
    (Mixed, st.sampled_from(Mixed)),
    (Colour, st.sampled_from(Colour)),
    (Rights, st.sampled_from([Rights.READ, Rights.READ | Rights.WRITE])),
    (Literal[1, "1", True], st.sampled_from([1, "1", True])),
    (Literal["a", "7"], st.sampled_from(["a", "7"])),
    (Annotated[int, Field(gt=0)], st.integers()),
    (Annotated[str, Redacted], _text),
    (Event, _models),
    (Number, _models),
    (Shape, _models),
    (Point, _models),
    (Odd, st.builds(Odd.model_construct, any=_values, pairs=st.dictionaries(_keys, _values, max_size=2))),
    (Batch, st.builds(Batch.model_construct, events=st.lists(_models, max_size=2))),
    (Tag, st.builds(dict, name=_text)),
    (Open, _texts_as_names.map(Open.model_validate)),
    (Private, st.builds(Private, id=st.integers())),
    (Masked, st.builds(Masked, token=_text)),
    (Doubled, st.builds(dict, amount=st.integers())),
    (Aliased, st.builds(dict, orderId=st.integers())),
    (Ids, st.lists(_models, max_size=2)),
    (Generic1[int], st.builds(dict, value=st.integers())),
    (Totalled, st.builds(Totalled, st.integers())),
    (Scaled, st.builds(Scaled, st.integers(), st.integers(0, 2))),
    (Slotted, st.builds(Slotted, a=st.integers(), b=_text)),
    (Checked, st.builds(dict, a=st.integers())),
    (deque[int], st.builds(deque, st.lists(st.integers(), max_size=2), st.sampled_from([None, 3]))),
    (Counter[str], st.builds(Counter, _text)),
    (OrderedDict[str, int], st.builds(OrderedDict, st.lists(st.tuples(_text, st.integers()), max_size=2))),
    (defaultdict[str, int], st.builds(defaultdict, st.sampled_from([int, str, None]))),
    (Mapping[str, int], st.dictionaries(_text, st.integers(), max_size=2)),
    (Sequence[Any], st.lists(_values, max_size=2)),
    (Iterable[int], st.lists(st.integers(), max_size=2)),
    *((hint, _values) for hint in (Any, object, dict, list, tuple, set, frozenset)),
]


def _composed(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    def of(make: Callable[..., Any], values: Callable[..., st.SearchStrategy[Any]]) -> Callable[..., Pair]:
        return lambda *pairs: (make(*(hint for hint, _ in pairs)), values(*(each for _, each in pairs)))

    return (
        st.builds(of(lambda each: LIST[each], lambda each: st.lists(each, max_size=2)), inner)
        | st.builds(of(lambda each: TUPLE[each, ...], lambda each: st.lists(each, max_size=2).map(tuple)), inner)
        | st.builds(of(lambda each: SET[each], lambda each: st.lists(each, max_size=2)), inner)
        | st.builds(of(lambda one, two: TUPLE[one, two], st.tuples), inner, inner)
        | st.builds(of(lambda one, two: UNION[one, two], lambda one, two: one | two), inner, inner)
        | st.builds(of(lambda each: UNION[each, None], lambda each: each | st.none()), inner)
        | st.builds(
            of(lambda one, two: DICT[one, two], lambda one, two: st.lists(st.tuples(one, two), max_size=2).map(_dict)),
            st.sampled_from(_leaves),
            inner,
        )
    )


def _dict(items: list[tuple[Any, Any]]) -> Any:
    try:
        return dict(items)
    except TypeError:  # a key cannot be hashed
        return {}


_pairs = st.recursive(st.sampled_from(_leaves), _composed, max_leaves=3)


def form(value: Any) -> Any:
    """Return the type and the contents of a value, of which equality is that of the handler's view."""
    kind = type(value)
    match value:
        case enum.Enum():
            return kind, value.name
        case float() | complex() | Decimal():
            return kind, "nan" if value != value else value
        case datetime() | time():
            return kind, value.replace(tzinfo=None), value.utcoffset()
        case dict():
            items = frozenset((form(key), form(item)) for key, item in value.items())
            return kind, items, getattr(value, "default_factory", None)
        case list() | tuple() | deque():
            return kind, tuple(map(form, value)), getattr(value, "maxlen", None)
        case set() | frozenset():
            return kind, frozenset(map(form, value))
        case BaseModel():
            return kind, form(vars(value)), form(value.__pydantic_extra__), form(value.__pydantic_private__)
        case _ if dataclasses.is_dataclass(value):
            return kind, form({each.name: getattr(value, each.name) for each in dataclasses.fields(value)})
        case _ if hasattr(value, "__dict__") and not isinstance(value, str):
            return kind, form(vars(value))
    return kind, value


@given(st.data())
def test_an_equal_value_arrives_or_the_call_is_refused(data: st.DataObject) -> None:
    hint, valid = data.draw(_pairs)
    value = data.draw(valid | _values)
    arguments = taking(hint)
    try:
        values = arguments.validate((value,), {})
        body = arguments.encode(values)
    except InvalidArguments:
        return
    assert form(arguments.load(Raw(body))) == form(values)
    assert msgspec.json.decode(body).keys() == {"value"}  # lists and tools read it with another parser


@given(st.data())
def test_a_result_is_read_as_it_was_or_refused(data: st.DataObject) -> None:
    hint, valid = data.draw(_pairs)
    value = data.draw(valid | _values)
    arguments = taking(hint)
    try:
        raw = arguments.dump_result(value)
    except InvalidArguments:
        return
    read_back = form(arguments.load_result(raw))
    if read_back != form(value):
        assert read_back == form(arguments.validate((value,), {})["value"])  # by the lax rules, as arguments are
    assert raw is None or msgspec.json.decode(raw) is not msgspec.UNSET
