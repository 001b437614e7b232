"""Types of arguments that lose something on their way, and some that do not."""

from __future__ import annotations

import dataclasses
import enum
from datetime import datetime
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    RootModel,
    SerializationInfo,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import TypedDict

from outlast.declare.arguments import Arguments
from outlast.declare.signature import read

T = TypeVar("T")
NAN, INF = float("nan"), float("inf")


def taking(hint: Any) -> Arguments:
    def handler(value: Any) -> Any: ...

    handler.__annotations__ = {"value": hint, "return": hint}
    return Arguments(handler, read(handler), kind="send")


class Event(BaseModel):
    id: int


class Paid(Event):
    amount: int = 0


class Batch(BaseModel):
    events: list[Event]
    by_name: dict[str, Event] = {}


class Ids(RootModel[list[Event]]): ...


class Generic1(BaseModel, Generic[T]):
    value: T


class Open(BaseModel, extra="allow"): ...


class Private(BaseModel):
    id: int = 1
    _seen: int = PrivateAttr(0)


class Aliased(BaseModel):
    order_id: int = Field(alias="orderId")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return self.order_id * 2


class Masked(BaseModel):
    token: str

    @field_serializer("token")
    def masked(self, token: str) -> str:
        return "***"


class ByContext(BaseModel):
    token: str

    @model_serializer
    def shown(self, info: SerializationInfo) -> dict[str, str]:
        return {"token": self.token if info.context else ""}


class Doubled(BaseModel):
    amount: int

    @field_validator("amount")
    @classmethod
    def doubled(cls, amount: int) -> int:
        return amount * 2


class FromNumber(BaseModel):
    amount: int

    @model_validator(mode="before")
    @classmethod
    def number(cls, value: Any) -> Any:
        return {"amount": value} if isinstance(value, int) else value


class Once(BaseModel):
    """Valid when it is made; what is stored cannot be read."""

    amount: int

    @field_validator("amount")
    @classmethod
    def never_again(cls, amount: int) -> int:
        raise LookupError("used")


class Number(BaseModel):
    value: float


class Constants(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="constants")
    value: float


class Parent(BaseModel):
    children: list[Parent] = []
    _parent: Any = PrivateAttr(None)

    def model_post_init(self, context: Any) -> None:
        for child in self.children:
            child._parent = self


@dataclasses.dataclass
class Shape:
    name: str


@dataclasses.dataclass
class Circle(Shape):
    radius: float = 0.0


@dataclasses.dataclass
class Totalled:
    id: int
    total: int = dataclasses.field(init=False, default=7)


@dataclasses.dataclass
class Scaled:
    value: int
    scale: dataclasses.InitVar[int] = 1

    def __post_init__(self, scale: int) -> None:
        self.value *= scale


@dataclasses.dataclass(slots=True, kw_only=True)
class Slotted:
    a: int
    b: str = "x"


@pydantic_dataclass
class Checked:
    a: int


class Colour(enum.Enum):
    RED = (255, 0, 0)


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


class Mixed(enum.Enum):
    NUMBER = 1
    TEXT = "1"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: Any = None


class Tag(TypedDict):
    name: str


class NamedTag(Tag):
    note: str


class Text(str): ...


class Stamp(datetime): ...


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    lives: int = 1


def nested(levels: int) -> list[Any]:
    items: list[Any] = []
    for _ in range(levels):
        items = [items]
    return items


def endless() -> dict[str, Any]:
    values: dict[str, Any] = {}
    values["self"] = values
    return values


def with_seen(times: int) -> Private:
    value = Private()
    value._seen = times
    return value


class Odd(BaseModel):
    any: Any = None
    pairs: dict[Any, Any] = {}
    when: datetime | None = None
    size: Size = Size.SMALL
