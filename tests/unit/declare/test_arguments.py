"""Arguments: bound, encoded, decoded and validated; what is redacted shows nowhere."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import pytest
from msgspec import Raw
from pydantic import BaseModel, Field, Json, JsonValue, SecretStr, computed_field, field_validator
from typing_extensions import TypedDict

from outlast import ConfigurationError, InvalidArguments, Redacted
from outlast.declare.arguments import Arguments
from outlast.declare.signature import read

SECRET = "s3cr3t-4111"


def of(handler: Any) -> Arguments:
    return Arguments(handler, read(handler), kind=handler.__name__)


def there_and_back(arguments: Arguments, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return arguments.load(arguments.bind(args, kwargs))


class Colour(Enum):
    RED = "red"


class Order(BaseModel):
    order_id: int = Field(alias="orderId")
    total: Decimal = Decimal(0)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> Decimal:
        return self.total * 2


@dataclass
class Line:
    sku: str
    amount: int = 1


class Point(NamedTuple):
    x: int
    y: int


class Tag(TypedDict):
    name: str
    secret: Annotated[str, Redacted]


class Login(BaseModel):
    user: str
    password: Annotated[str, Redacted]


@dataclass
class Card:
    number: Annotated[str, Redacted]
    holder: str


class Strict(BaseModel):
    code: str

    @field_validator("code")
    @classmethod
    def loud(cls, value: str) -> str:
        raise ValueError(f"bad code {value}")


def plain(order_id: int, email: str) -> None: ...
def with_defaults(a: int, b: str = "x", c: float | None = None) -> None: ...
def nothing() -> None: ...
def redacted(name: str, token: Annotated[str, Redacted]) -> None: ...
def untyped(a: int, b) -> None: ...  # type: ignore[no-untyped-def]


def untyped_result(): ...  # type: ignore[no-untyped-def]
def opaque_result() -> Opaque: ...  # type: ignore[empty-body]


class Opaque: ...


class Tone(Enum):
    LOUD = "l0ud"


class TestBind:
    def test_by_name_in_the_order_of_the_signature(self) -> None:
        assert bytes(of(plain).bind((), {"email": "a@b.c", "order_id": 7})) == b'{"order_id":7,"email":"a@b.c"}'

    def test_places_and_names_mix(self) -> None:
        assert json.loads(bytes(of(plain).bind((7,), {"email": "x"}))) == {"order_id": 7, "email": "x"}

    def test_coerces_like_pydantic(self) -> None:
        assert there_and_back(of(plain), "7", "x") == {"order_id": 7, "email": "x"}

    def test_what_is_left_out_is_not_stored_so_that_its_default_may_change(self) -> None:
        assert bytes(of(with_defaults).bind((1,), {})) == b'{"a":1}'
        assert of(with_defaults).complete({"a": 1}) == {"a": 1, "b": "x", "c": None}

    def test_no_arguments(self) -> None:
        assert bytes(of(nothing).bind((), {})) == b"{}"
        assert of(nothing).load(Raw(b"{}")) == {}

    def test_a_parameter_without_a_type_takes_what_json_takes(self) -> None:
        assert there_and_back(of(untyped), 1, [1, {"a": None}]) == {"a": 1, "b": [1, {"a": None}]}

    @pytest.mark.parametrize(
        ("args", "kwargs", "said"),
        [
            ((1,), {}, "plain: email: missing"),
            ((), {}, "plain: order_id: missing; email: missing"),
            ((1, "x", 3), {}, "plain: 3 positional arguments, and it takes 2 (order_id, email)"),
            ((1, "x"), {"email": "y"}, "plain: email: given twice, by position and by name"),
            ((1,), {"mail": "y", "email": "x"}, "plain: mail: no such parameter (it takes order_id, email)"),
            (("x", "y"), {}, "plain: order_id: Input should be a valid integer, unable to parse string as an integer"),
        ],
    )
    def test_refuses_and_names_the_parameter(self, args: tuple[Any, ...], kwargs: dict[str, Any], said: str) -> None:
        with pytest.raises(InvalidArguments) as caught:
            of(plain).bind(args, kwargs)
        assert str(caught.value) == said

    def test_refuses_what_has_no_json_form(self) -> None:
        with pytest.raises(InvalidArguments, match=r"untyped: b: its value has no JSON form"):
            of(untyped).bind((1, object()), {})


class TestRoundTrip:
    @pytest.mark.parametrize(
        ("hint", "value"),
        [
            (bool, True),
            (float, 1.5),
            (float, math.inf),
            (int, 2**70),
            (str, 'quote " and \u20ac \x00'),
            (bytes, b"\x00\xff\xfe"),
            (datetime, datetime(2026, 1, 2, 3, 4, 5, 6, UTC)),
            (date, date(2026, 1, 2)),
            (timedelta, timedelta(days=1, microseconds=5)),
            (Decimal, Decimal("1.10")),
            (UUID, UUID(int=5)),
            (Colour, Colour.RED),
            (Literal["a", "b"], "b"),
            (Line, Line("a", 2)),
            (list[Line], [Line("a"), Line("b", 3)]),
            (Point, Point(1, 2)),
            (tuple[int, str], (1, "x")),
            (set[int], {1, 2}),
            (dict[str, int], {"a": 1}),
            (int | str, "7"),
            (int | None, None),
            (JsonValue, {"a": [1, None]}),
            (Any, {"a": [1, 2.5]}),
        ],
    )
    def test_the_same_value_comes_back(self, hint: Any, value: Any) -> None:
        def handler(value: Any) -> Any: ...

        handler.__annotations__ = {"value": hint, "return": hint}
        arguments = of(handler)
        loaded = there_and_back(arguments, value)
        assert loaded == {"value": value}
        assert type(loaded["value"]) is type(value)
        assert arguments.load_result(arguments.dump_result(value)) == value

    def test_nan(self) -> None:
        def handler(value: float) -> None: ...

        assert math.isnan(there_and_back(of(handler), math.nan)["value"])

    def test_a_model_by_its_names_without_computed_fields(self) -> None:
        def handler(order: Order) -> Order: ...  # type: ignore[empty-body]

        order = Order(orderId=7, total=Decimal("1.5"))
        arguments = of(handler)
        raw = arguments.bind((order,), {})
        assert bytes(raw) == b'{"order":{"order_id":7,"total":"1.5"}}'
        assert arguments.load(raw) == {"order": order}
        assert arguments.load_result(arguments.dump_result(order)) == order

    def test_other_senders_may_use_the_aliases_of_a_model(self) -> None:
        def handler(order: Order) -> None: ...

        assert of(handler).load(Raw(b'{"order":{"orderId":7}}')) == {"order": Order(orderId=7)}

    def test_a_number_that_json_lacks_inside_a_model_is_refused(self) -> None:
        class Measure(BaseModel):
            value: float

        def handler(measure: Measure) -> None: ...

        handler.__annotations__["measure"] = Measure
        with pytest.raises(InvalidArguments, match=r"measure\.value: its value has no JSON form that reads back"):
            of(handler).bind((Measure(value=math.nan),), {})

    def test_json_within_json(self) -> None:
        def handler(value: Json[list[int]]) -> None: ...

        assert there_and_back(of(handler), "[1, 2]") == {"value": [1, 2]}

    def test_a_model_that_was_changed_to_something_else_is_refused(self) -> None:
        def handler(line: Order) -> None: ...

        order = Order(orderId=7)
        order.order_id = "seven"  # type: ignore[assignment]
        with pytest.raises(InvalidArguments, match="line: its value has no JSON form"):
            of(handler).bind((order,), {})


class TestLoad:
    @pytest.mark.parametrize(
        ("raw", "said"),
        [
            (b'{"order_id":1}', "email: missing"),
            (b'{"order_id":1,"email":"x","more":1}', "more: no such parameter"),
            (b'{"order_id":[],"email":"x"}', "order_id: Input should be a valid integer"),
            (b"[1]", "Input should be an object"),
            (b"{", "Invalid JSON"),
        ],
    )
    def test_refuses(self, raw: bytes, said: str) -> None:
        with pytest.raises(InvalidArguments, match=said):
            of(plain).load(Raw(raw))


class TestRedacted:
    def test_marks(self) -> None:
        def handler(
            a: Annotated[str, Redacted],
            b: Annotated[str, Redacted()] | None,
            c: list[Annotated[str, Redacted]],
            d: Login,
            e: dict[str, list[Card]],
            f: Tag,
            g: str,
            h: JsonValue,
        ) -> None: ...

        assert of(handler).redacted == ("a", "b", "c", "d", "e", "f")

    def test_no_error_carries_the_value(self) -> None:
        def handler(name: str, pin: Annotated[int, Redacted], code: Strict) -> None: ...

        with pytest.raises(InvalidArguments) as caught:
            of(handler).bind(("x", SECRET, {"code": "q"}), {})
        text = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
        assert SECRET not in text
        assert str(caught.value).startswith("handler: pin: does not fit its type (int_parsing); code.code: Value error")

    def test_not_even_in_the_words_of_a_validator(self) -> None:
        def handler(code: Annotated[Strict, Redacted]) -> None: ...

        for call in (
            lambda: of(handler).bind(({"code": SECRET},), {}),
            lambda: of(handler).load(Raw(f'{{"code":{{"code":"{SECRET}"}}}}'.encode())),
        ):
            with pytest.raises(InvalidArguments) as caught:
                call()
            assert str(caught.value) == "handler: code: does not fit its type (value_error)"
            assert caught.value.__context__ is None

    def test_secrets_are_every_text_that_a_traceback_may_quote(self) -> None:
        values = there_and_back(of(redacted), "bob", "line\n'quoted'\u20ac")
        assert set(of(redacted).secrets(values)) >= {
            "line\n'quoted'\u20ac",
            repr("line\n'quoted'\u20ac")[1:-1],
            json.dumps("line\n'quoted'\u20ac")[1:-1],
            "line",
            "'quoted'\u20ac",
        }

    def test_secrets_of_marked_fields_only(self) -> None:
        def handler(login: Login, cards: list[Card]) -> None: ...

        values = {"login": Login(user="bob", password="pw-1"), "cards": [Card("4111", "bob")]}
        assert {"pw-1", "4111"} <= set(of(handler).secrets(values)) and "bob" not in of(handler).secrets(values)

    def test_secrets_of_a_typed_dict_are_all_of_it(self) -> None:
        def handler(tag: Tag) -> None: ...

        assert {"one", "two"} <= set(of(handler).secrets({"tag": {"name": "one", "secret": "two"}}))

    def test_secrets_within_containers_numbers_and_bytes(self) -> None:
        def handler(a: Annotated[dict[str, Any], Redacted], b: Annotated[bytes, Redacted]) -> None: ...

        found = of(handler).secrets({"a": {"k": [1234, True, None, Decimal("9.5")]}, "b": b"\xffpw"})
        assert {"k", "1234", "9.5", "\\xffpw"} <= set(found)
        assert "True" not in found

    def test_secrets_in_every_form_that_their_type_has(self) -> None:
        def handler(a: Annotated[list[Any], Redacted]) -> None: ...

        when, number = datetime(2026, 1, 2, 3, 4, tzinfo=UTC), UUID(int=7)
        found = of(handler).secrets({"a": [when, number, Tone.LOUD]})
        assert {"2026-01-02T03:04:00+00:00", "2026-01-02 03:04:00+00:00", number.hex, str(number), "l0ud"} <= set(found)

    def test_nothing_is_secret_without_a_mark(self) -> None:
        assert of(plain).secrets({"order_id": 1, "email": "x"}) == ()

    def test_secret_str_is_refused_with_the_fix(self) -> None:
        class Inner(BaseModel):
            token: SecretStr

        def direct(token: SecretStr) -> None: ...
        def nested(inner: list[Inner]) -> None: ...

        direct.__annotations__["token"] = SecretStr
        nested.__annotations__["inner"] = list[Inner]
        for handler in (direct, nested):
            with pytest.raises(ConfigurationError, match=r"SecretStr.*Annotated\[str, Redacted\]"):
                of(handler).bind(("x",), {})

    def test_a_field_that_a_dump_leaves_out_is_refused(self) -> None:
        class Inner(BaseModel):
            token: str = Field(exclude=True)

        def handler(inner: Inner) -> None: ...

        handler.__annotations__["inner"] = Inner
        with pytest.raises(ConfigurationError, match=r"Inner\.token has exclude=True"):
            of(handler).bind((), {})


class TestTypes:
    def test_a_name_that_is_not_found(self) -> None:
        def handler(value: Missing) -> None: ...  # type: ignore[name-defined] # noqa: F821

        with pytest.raises(ConfigurationError, match=r"the type of 'value' is not found .*Missing"):
            of(handler).bind((1,), {})

    def test_a_type_that_pydantic_cannot_check(self) -> None:
        class Opaque: ...

        def handler(value: Opaque) -> None: ...

        handler.__annotations__["value"] = Opaque
        with pytest.raises(ConfigurationError, match="a type cannot be kept as JSON"):
            of(handler).bind((1,), {})

    def test_fingerprint_is_the_same_whether_a_default_is_given(self) -> None:
        arguments = of(with_defaults)

        def digest(*args: object) -> str:
            values = arguments.validate(args, {})
            return arguments.fingerprint(values, arguments.encode(values))

        prints = [digest(*args) for args in ((1,), (1, "x"), (1, "x", None))]
        assert len(set(prints)) == 1
        assert digest(2) not in prints


class TestResult:
    def test_none_keeps_none(self) -> None:
        assert of(plain).dump_result(None) is None
        assert of(plain).load_result(None) is None

    def test_plain_data_of_another_type_is_kept_as_it_is(self) -> None:
        def handler() -> Line: ...  # type: ignore[empty-body]

        raw = of(handler).dump_result({"a": 1})
        assert raw == Raw(b'{"a":1}')
        assert of(handler).load_result(raw) == {"a": 1}

    @pytest.mark.parametrize(
        ("handler", "value", "said"),
        [
            (plain, object(), "plain: its result, an object: it is neither of the declared return type nor plain data"),
            (plain, {"a": b"x"}, "plain: its result, a dict: it is neither"),
            (
                untyped_result,
                {"a": (1,)},
                r"untyped_result: its result, a dict: \['a'\]: a tuple would arrive as a list",
            ),
            (untyped_result, "\ud800", "untyped_result: its result, a str: its value has no JSON form"),
            (untyped_result, 10**5000, "untyped_result: its result, an int: its value has no JSON form"),
            (opaque_result, object(), "opaque_result: its result, an object: .*return type cannot be kept as JSON"),
        ],
        ids=range(6),
    )
    def test_what_would_be_read_changed_is_refused(self, handler: Any, value: Any, said: str) -> None:
        with pytest.raises(InvalidArguments, match=f"^{said}.*set result_ttl=0") as caught:
            of(handler).dump_result(value)
        assert caught.value.__context__ is None

    def test_a_type_without_a_json_form_may_give_plain_data(self) -> None:
        assert of(opaque_result).load_result(of(opaque_result).dump_result([1])) == [1]

    def test_numbers_of_any_size(self) -> None:
        for number in (2**63, 2**64, -(2**63) - 1, 10**400):
            assert of(untyped_result).load_result(of(untyped_result).dump_result(number)) == number


def test_some_of_the_arguments_are_checked_alone() -> None:
    arguments = of(plain)
    assert arguments.some({"order_id": "7"}) == Raw(b'{"order_id":7}')
    assert arguments.some({}) == Raw(b"{}")
    with pytest.raises(InvalidArguments, match="order_id: Input should be a valid integer"):
        arguments.some({"order_id": "x"})
    with pytest.raises(InvalidArguments, match=r"other: no such parameter \(it takes order_id, email\)"):
        arguments.some({"other": 1})
    with pytest.raises(InvalidArguments, match="plain: email"):
        arguments.bind((), {"order_id": 7})


def test_some_of_the_arguments_are_written_as_all_of_them_are() -> None:
    def odd(data: bytes, number: float) -> None: ...

    arguments = of(odd)
    assert arguments.some({"data": b"\xff", "number": math.inf}) == arguments.bind((b"\xff", math.inf), {})


def test_of_a_redacted_argument_not_even_a_wrong_value_is_told() -> None:
    with pytest.raises(InvalidArguments) as caught:
        of(redacted).some({"token": ["hunter2"]})
    assert "hunter2" not in str(caught.value)
