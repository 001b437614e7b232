"""Which types need no reading back: each of their values arrives; and that all others are read back."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from outlast import ConfigurationError, Redacted
from outlast.declare.json_form import JsonForm, NotKept, is_exact, path_of
from tests.support.argument_types import Colour, Event, Mixed, Rights, Size, Tag

UNION: Any = Union


class Unmatched(enum.Enum):
    ONE = "1"

    @property
    def value(self) -> str:
        return "one"


class Schemed(enum.Enum):
    ONE = "1"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return handler(source)


class Empty(enum.Enum): ...


@pytest.mark.parametrize(
    "hint",
    [
        int,
        str,
        bool,
        float,
        None,
        Size,
        Literal["a", "b"],
        Literal[1, 2],
        list[int],
        tuple[int, ...],
        tuple[int, str],
        dict[str, list[float]],
        int | str | None,
        float | int,
        list[int] | None,
        UNION[list[int], None],
        Annotated[str, Redacted],
        Annotated[dict[str, int], Redacted()],
    ],
)
def test_exact_types(hint: Any) -> None:
    assert is_exact(hint)


@pytest.mark.parametrize(
    "hint",
    [
        Any,
        bytes,
        list,
        dict,
        tuple,
        set[int],
        dict[int, str],
        dict[str, Any],
        list[bytes],
        float | str,
        int | list[int],
        list[int] | list[str],
        Colour,
        Mixed,
        Rights,
        Unmatched,
        Schemed,
        Empty,
        Literal[1, "1"],
        Literal[True, 1],
        Annotated[int, Field(gt=0)],
        Annotated[int, AfterValidator(abs)],
        Event,
        Tag,
        Event | None,
        "int",
    ],
)
def test_others(hint: Any) -> None:
    assert not is_exact(hint)


def form(hint: Any) -> JsonForm:
    return JsonForm.of(hint, where="here: it")


@pytest.mark.parametrize("value", [[7] * 3000, [10**18 + n for n in range(500)], ["\u20ac" * 2000], ["7" * 4000, 7]])
def test_an_exact_value_is_written_without_being_read(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = form(list[UNION[int, str]])
    monkeypatch.setattr(JsonForm, "read", None)
    assert made.write(value)


@pytest.mark.parametrize("digits", [4301, 4400, 5000, 100_000])
@pytest.mark.parametrize("before", [0, 1, 100, 4000])
def test_a_number_that_no_parser_takes_is_found_wherever_it_stands(digits: int, before: int) -> None:
    with pytest.raises(NotKept):
        form(list[int]).write([7] * before + [10 ** (digits - 1)] + [7] * before)


@pytest.mark.parametrize("key", ["\ud800", "a\udfffb", "\ud800" * 3])
def test_half_a_character_in_a_key(key: str) -> None:
    made = form(dict[str, list[dict[str, int]]])
    values: list[Any] = [{key: []}, {"a": [{key: 1}]}]
    for value in values:
        with pytest.raises(NotKept):
            made.write(value)
    assert made.read(made.write({"\ufffd": []})) == {"\ufffd": []}


def test_what_only_pydantic_reads_is_not_written() -> None:
    class Constants(BaseModel):
        model_config = ConfigDict(ser_json_inf_nan="constants")
        value: float

    class Shown:
        def __repr__(self) -> str:
            raise LookupError

    class Outer(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        inner: Constants | None = None
        shown: Annotated[Any, Field(exclude=True)] = Shown()

    for made, value in (
        (form(Constants), Constants(value=math.inf)),
        (form(Outer), Outer(inner=Constants(value=math.nan))),
    ):
        with pytest.raises(NotKept, match="has no JSON form"):
            made.write(value)
    assert form(Constants).write(Constants(value=1.0)) == b'{"value":1.0}'


def test_an_iterable_is_read_as_a_list() -> None:
    assert form(Iterable).validate(iter([1])) == [1]
    assert form(Iterable[int]).validate(iter(["1"])) == [1]


def test_a_type_without_a_form_is_told_in_one_line() -> None:
    with pytest.raises(ConfigurationError, match=r"^here: it cannot be kept as JSON: Unable .*Form'>\.[^\n]*$"):
        form(JsonForm)


def test_paths() -> None:
    assert path_of(("order", "items", 3, "price")) == ".order.items[3].price"
    assert path_of(("counts", "a", "[key]")) == ".counts.a"
    assert path_of(()) == ""
