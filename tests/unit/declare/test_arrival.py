"""Whatever is given to a job, an equal value arrives or the call is refused; the same of results: by kind."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import (
    BaseModel,
    Field,
    RootModel,
    SecretStr,
    field_validator,
)
from typing_extensions import TypedDict

from outlast import ConfigurationError, InvalidArguments, Redacted
from outlast.declare.readback import difference
from tests.support.argument_types import (
    NAN,
    Aliased,
    Batch,
    ByContext,
    Cat,
    Checked,
    Circle,
    Colour,
    Constants,
    Dog,
    Doubled,
    Event,
    FromNumber,
    Generic1,
    Ids,
    Masked,
    Mixed,
    NamedTag,
    Number,
    Once,
    Open,
    Paid,
    Parent,
    Point,
    Private,
    Rights,
    Scaled,
    Shape,
    Size,
    Slotted,
    Stamp,
    Tag,
    Text,
    Totalled,
    endless,
    nested,
    taking,
    with_seen,
)

REFUSED: list[tuple[Any, Any, str]] = [
    (dict, {1: "a"}, "value[1]: its key or member, an int, would arrive changed"),
    (dict, {None: 1}, "value[None]: "),
    (dict, {True: 1}, "value[True]: "),
    (dict, {(1, 2): 1}, "value[a tuple]: "),
    (dict, {"a": {"b": (1,)}}, "value['a']['b']: a tuple would arrive as a list"),
    (dict, {"when": date(2026, 1, 1)}, "value['when']: a date would arrive as a str"),
    (dict, {"\ud800": 1}, "value: its value has no JSON form"),
    (dict[str, int], {"\ud800": 1}, "value['\\ud800']: "),
    (list, ["\ud800"], "value: its value has no JSON form"),
    (str, "\ud800", "value: its value has no JSON form"),
    (list, [NAN], "value[0]: a float that is not finite (NaN or infinity) would arrive as a str"),
    (Any, {1, 2}, "value: a set would arrive as a list"),
    (Any, b"x", "value: a bytes would arrive as a str"),
    (Any, Text("x"), "value: a Text would arrive as a str"),
    (Any, Size.SMALL, "value: a Size would arrive as a str"),
    (int, Size.SMALL, "value: Input should be a valid integer, of at most 4300 digits"),
    (tuple[int, ...], (1, Size.SMALL), "value[1]: Input should be a valid integer"),
    (dict[str, int], {"a": Size.SMALL}, "value.a: Input should be a valid integer"),
    (int | bool, Size.SMALL, "value."),
    (Any, SecretStr("x"), "value: a SecretStr would arrive as a str"),
    (Any, Event(id=1), "value: an Event would arrive as a dict"),
    (Any, Counter("a"), "value: "),
    (object, object(), "value: its value has no JSON form"),
    (tuple, (1, (2,)), "value[1]: a tuple would arrive as a list"),
    (Event, Paid(id=1, amount=9), "value: a Paid would arrive as an Event"),
    (list[Event], [Event(id=1), Paid(id=1)], "value[1]: a Paid"),
    (Event | None, Paid(id=1), "value: a Paid"),
    (Batch, Batch(events=[Event(id=1), Paid(id=2)]), "value.events[1]: a Paid would arrive as an Event"),
    (Batch, Batch(events=[], by_name={"x": Paid(id=2)}), "value.by_name['x']: a Paid would arrive as an Event"),
    (Ids, Ids([Paid(id=1)]), "value.root[0]: a Paid"),
    (Generic1, Generic1(value=(1,)), "value.value: a tuple"),
    (Open, Open.model_validate({"a": (1,)}), "value.a: a tuple"),
    (Private, with_seen(2), "value._seen: its value would arrive changed"),
    (Masked, Masked(token="t"), "value.token: its value would arrive changed"),
    (ByContext, ByContext(token="t"), "value.token: "),
    (Doubled, Doubled.model_construct(amount=2), "value.amount: "),
    (Once, Once.model_construct(amount=1), "value: its value has no JSON form that reads back"),
    (Number, Number(value=NAN), "value.value: its value has no JSON form that reads back"),
    (Constants, Constants(value=NAN), "value: its value has no JSON form that reads back"),
    (Shape, Circle("c", 2.0), "value: a Circle would arrive as a Shape"),
    (dict[str, Shape], {"a": Circle("c")}, "value['a']: a Circle"),
    (Totalled, Totalled(1), "value.total: "),
    (Colour, Colour.RED, "value: its value has no JSON form that reads back"),
    (Point, Point(1, (2,)), "value.y: a tuple"),
    (Tag, NamedTag(name="a", note="b"), "value.note: Extra inputs"),
    (datetime, datetime(1900, 1, 1, tzinfo=timezone(timedelta(seconds=1172))), "value: its offset from UTC, 0:19:32,"),
    (datetime, datetime(2026, 10, 25, 2, 30, fold=1), "value: its fold would be lost"),
    (datetime, Stamp(2026, 1, 1), "value: a Stamp would arrive as a datetime"),
    (float | str, NAN, "value: a float that is not finite (NaN or infinity) would arrive as a str"),
    (str | bytes, b"x", "value: a bytes would arrive as a str"),
    (date | str, "2026-01-02", "value: a str would arrive as a date"),
    (UUID | str, str(UUID(int=7)), "value: a str would arrive as a UUID"),
    (dict[int | str, int], {1: 1}, "value[1]: "),
    (dict[tuple[int, int], int], {(1, 2): 1}, "value.1,2: its value has no JSON form"),
    (deque[int], deque([1], 3), "value: its maxlen would be lost"),
    (defaultdict[str, int], defaultdict(lambda: 3), "value.default_factory: "),
    (dict[str, Iterable[int]], {"a": [1]}, "value['a']: an iterator can be read only once"),
    (int, 10**4300, "value: its value has no JSON form"),
    (list[int], [7] * 3000 + [10**4300], "value: its value has no JSON form"),
    (Any, [10**4300], "value: its value has no JSON form"),
    (list, nested(250), "value: its value has no JSON form"),
    (Any, nested(100_000), "value: its value has no JSON form"),
    (dict, endless(), "value: its value has no JSON form"),
]


@pytest.mark.filterwarnings(
    "ignore::UserWarning"
)  # as in production: where a warning is an error, it refuses the value
@pytest.mark.parametrize(("hint", "value", "said"), REFUSED, ids=range(len(REFUSED)))
def test_what_would_arrive_changed_is_refused_with_its_place(hint: Any, value: Any, said: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        taking(hint).bind((value,), {})
    assert str(caught.value).startswith(f"send: {said}")


ARRIVES: list[tuple[Any, Any]] = [
    (dict, {"a": [1, None, {"b": 2.5}]}),
    (dict, {"\ufffd": 1}),
    (list[int], [7] * 3000),
    (list[int], [10**18 + number for number in range(400)]),
    (int, 10**4299),
    (str, "1" * 10_000),
    (Batch, Batch(events=[Event(id=1)])),
    (Generic1[int], Generic1[int](value=1)),
    (RootModel[list[int]], RootModel[list[int]]([1])),
    (Open, Open.model_validate({"a": [1]})),
    (Private, with_seen(0)),
    (Aliased, Aliased(orderId=1)),
    (FromNumber, FromNumber(amount=1)),
    (Number, Number(value=1.0)),
    (Constants, Constants(value=1.0)),
    (Shape, Shape("a")),
    (Shape | Circle, Circle("a", 2.0)),
    (Scaled, Scaled(2)),
    (Slotted, Slotted(a=1)),
    (Checked, Checked(1)),
    (Mixed, Mixed.TEXT),
    (Rights, Rights.READ | Rights.WRITE),
    (Point, Point(1, [2])),
    (Tag, {"name": "a"}),
    (Annotated[Cat | Dog, Field(discriminator="kind")], Dog()),
    (Cat | Dog, Dog(lives=2)),
    (datetime, datetime(2026, 1, 1, tzinfo=UTC)),
    (timedelta, timedelta.max),
    (time, time(1, 2, 3, 4)),
    (set[tuple[int, int]], {(1, 2), (3, 4)}),
    (dict[int, Event], {1: Event(id=1)}),
    (dict[date, int], {date(2026, 1, 1): 1}),
    (Counter[str], Counter("aab")),
    (OrderedDict[str, int], OrderedDict(b=1, a=2)),
    (defaultdict[str, int], defaultdict(int, a=1)),
    (deque[int], deque([1])),
    (Path, Path("a/../b")),
    (Mapping[str, int], {"a": 1}),
    (Sequence[int], [1, 2]),
    (list, nested(150)),
]


@pytest.mark.parametrize(("hint", "value"), ARRIVES, ids=range(len(ARRIVES)))
def test_these_arrive(hint: Any, value: Any) -> None:
    arguments = taking(hint)
    loaded = arguments.load(arguments.bind((value,), {}))["value"]
    assert (type(loaded), loaded) == (type(value), value)
    assert arguments.load_result(arguments.dump_result(value)) == value


def test_objects_that_hold_each_other_arrive() -> None:
    arguments = taking(Parent)
    family = arguments.load(arguments.bind((Parent(children=[Parent(), Parent()]),), {}))["value"]
    assert [child._parent is family for child in family.children] == [True, True]


@pytest.mark.parametrize("hint", [Iterable[int], Iterable])
def test_an_iterable_arrives_as_a_list(hint: Any) -> None:
    arguments = taking(hint)
    assert arguments.load(arguments.bind(((number for number in (1, 2)),), {})) == {"value": [1, 2]}


def test_a_type_that_is_never_complete_is_told() -> None:
    class Never(BaseModel):
        value: Missing  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(ConfigurationError, match="a type cannot be kept as JSON"):
        taking(Never).bind(({"value": 1},), {})


class Raising(BaseModel):
    secret: str

    @field_validator("secret")
    @classmethod
    def raises(cls, secret: str) -> str:
        raise raised[0](secret)


raised: list[type[BaseException]] = [LookupError]


@pytest.mark.parametrize("error", [LookupError, RecursionError, TypeError])
def test_a_validator_that_raises_refuses_the_call(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "raised", [error])
    with pytest.raises(InvalidArguments, match=f"send: a validator raised {error.__name__}") as caught:
        taking(Raising).bind(({"secret": "hunter2"},), {})
    assert isinstance(caught.value.__cause__, error)
    with pytest.raises(InvalidArguments) as caught:
        taking(Annotated[Raising, Redacted]).bind(({"secret": "hunter2"},), {})
    assert "hunter2" not in f"{caught.value}{caught.value.__cause__!r}{caught.value.__context__!r}"


def test_a_validator_that_is_interrupted_interrupts_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "raised", [KeyboardInterrupt])
    with pytest.raises(KeyboardInterrupt):
        taking(Raising).bind(({"secret": "x"},), {})


class Keyed(TypedDict):
    codes: Annotated[dict[Any, int], Redacted]


def test_of_a_redacted_argument_only_the_name_is_told() -> None:
    for hint, value in ((Annotated[dict, Redacted], {4111: 1}), (Keyed, {"codes": {4111: 1}})):
        with pytest.raises(InvalidArguments) as caught:
            taking(hint).bind((value,), {})
        assert str(caught.value).startswith("send: value: its key or member")
        assert "4111" not in f"{caught.value}{caught.value.__context__!r}"


# Results


@pytest.mark.filterwarnings(
    "ignore::UserWarning"
)  # as in production: where a warning is an error, it refuses the value
@pytest.mark.parametrize(("hint", "value", "said"), REFUSED, ids=range(len(REFUSED)))
def test_a_result_that_would_be_read_changed_is_refused_or_kept_as_plain_data(hint: Any, value: Any, said: str) -> None:
    arguments = taking(hint)
    try:
        raw = arguments.dump_result(value)
    except InvalidArguments as error:
        assert str(error).startswith("send: its result")
    else:
        assert difference(value, arguments.load_result(raw)) is None  # as plain data


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (str, 5),
        (int, "five"),
        (Event, {"name": "x"}),
        (list[int], "a"),
        (type(None), [1]),
        (Size, 3),
        (Event, [1, "a"]),
    ],
)
def test_plain_data_of_another_type_is_kept_as_what_it_is(hint: Any, value: Any) -> None:
    arguments = taking(hint)
    assert arguments.load_result(arguments.dump_result(value)) == value


def test_a_result_whose_type_has_changed_since_is_read_as_plain_data() -> None:
    assert taking(Event).load_result(taking(Any).dump_result({"name": "x"})) == {"name": "x"}
