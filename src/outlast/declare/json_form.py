"""The JSON form of one type: values are written so that an equal value is read back, or they are refused."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from enum import Enum, Flag
from types import GenericAlias, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Literal,
    NotRequired,
    Optional,
    Union,
    cast,
    get_args,
    get_origin,
)

import msgspec

from outlast.core.errors import ConfigurationError
from outlast.declare.readback import difference, shown_key
from outlast.declare.redaction import Redacted

if TYPE_CHECKING:
    from pydantic import ConfigDict
    from pydantic_core import CoreConfig

__all__ = ["JsonForm", "NotKept", "is_exact", "path_of"]

_CONFIG: Final[dict[str, Any]] = {
    "ser_json_bytes": "base64",
    "val_json_bytes": "base64",
    # Without it NaN and infinity would be stored as null, and refused or lost at the run.
    "ser_json_inf_nan": "strings",
}
"""The pydantic configuration outside models; a model has its own."""
_STRICT: Final = {"extra": "forbid", **_CONFIG}
"""What a TypedDict does not name would be lost."""

_NO_FORM: Final = "its value has no JSON form that reads back as its type"

# What even an exact type may hold: a number that is too long for parsers (one byte in 127 is looked at, so that the
# check costs next to nothing), and half a character in a key, for which pydantic writes replacement characters.
MOST_DIGITS: Final = 4300
_LONG_NUMBER: Final = re.compile(rb"[0-9]{32}")
_REPLACED: Final = "\ufffd".encode()


class NotKept(ValueError):
    """A value does not survive being stored. path: where in the value, such as `.items[3]`; "" for all of it."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(what)
        self.path = path
        self.what = what


class JsonForm:
    """How values of one type are checked, written and read.

    exact: every value of the type reads back as it was written, so that `write` need not try.
    """

    def __init__(self, hint: Any, *, exact: bool, where: str, config: ConfigDict | None) -> None:
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
        from pydantic_core import SchemaSerializer

        try:
            adapter: TypeAdapter[Any] = TypeAdapter(hint, config=config)
            self._validate_json = adapter.validator.validate_json
            self.validate = adapter.validator.validate_python
            # Made here, since pydantic does not apply a TypedDict's configuration to its fields.
            self._to_json = SchemaSerializer(adapter.core_schema, cast("CoreConfig", _CONFIG)).to_json
        except (PydanticUserError, PydanticUndefinedAnnotation) as error:
            raise ConfigurationError(f"{where} cannot be kept as JSON: {str(error).partition(chr(10))[0]}") from None
        self._exact = exact
        schema = _text(adapter.core_schema)
        self._keyed = schema is None or "'type': 'dict'" in schema
        self._constants = schema is None or "'ser_json_inf_nan': 'constants'" in schema
        self._fields = config is None

    @classmethod
    def of(cls, hint: Any, *, where: str) -> JsonForm:
        """Return the form of a type, which takes None too; raise ConfigurationError for one that cannot have a form.

        The error begins with `where`.
        """
        optional: Any = Optional
        exact = is_exact(hint)
        hint = optional[_lasting(hint)]  # pydantic takes no configuration beside a TypedDict itself
        return cls(hint, exact=exact, where=where, config=cast("ConfigDict", _STRICT))

    @classmethod
    def of_fields(cls, name: str, hints: Mapping[str, Any], *, optional: Container[str], where: str) -> JsonForm:
        """Return the form of a dict with exactly these fields; those in `optional` may be missing."""
        from typing_extensions import TypedDict

        make: Any = TypedDict  # type checkers accept literal fields only
        types = {field: _lasting(hint) for field, hint in hints.items()}
        shape = make(name, {field: NotRequired[hint] if field in optional else hint for field, hint in types.items()})
        shape.__pydantic_config__ = _STRICT
        return cls(shape, exact=all(map(is_exact, hints.values())), where=where, config=None)

    def write(self, value: Any) -> bytes:
        """Return a value that `validate` returned as JSON from which `read` makes an equal one; raise NotKept."""
        try:
            if self._exact:
                body = self._to_json(value)
                if (len(body) <= MOST_DIGITS or not _LONG_NUMBER.search(body[::127])) and not (
                    self._keyed and 0xEF in body and _REPLACED in body
                ):
                    return body
            else:
                # By name and without computed fields. An error for a value that was changed after its validation.
                body = self._to_json(value, by_alias=False, round_trip=True, warnings="error")
            read = self.read(body)
            if self._constants:
                msgspec.json.decode(body)  # NaN is no JSON, which pydantic reads all the same
        except Exception as error:  # serializers and validators are user code
            raise NotKept(_place(error), _NO_FORM) from None
        if (found := difference(value, read, fields=self._fields)) is not None:
            raise NotKept(found.path, found.what)
        return body

    def read(self, body: bytes) -> Any:
        """Return the value in `body`; raise what its validators raise."""
        # Other senders may use the aliases of a model; `write` uses the field names.
        return self._validate_json(body, by_alias=True, by_name=True)


def _text(schema: object) -> str | None:
    try:
        return str(schema)
    except Exception:  # it shows defaults, whose `repr` is user code
        return None


def _place(error: Exception) -> str:
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return path_of(error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"])
    return ""


def path_of(location: tuple[str | int, ...]) -> str:
    """Return a location of pydantic's as a path: `.items[3].price`."""
    steps = (step for step in location if step != "[key]")
    return "".join(f"[{shown_key(step)}]" if isinstance(step, int) else f".{step}" for step in steps)


def _lasting(hint: Any) -> Any:
    """Return a list instead of an Iterable, which pydantic makes an iterator: it could be read only once."""
    if hint is Iterable or get_origin(hint) is Iterable:
        return GenericAlias(list, get_args(hint) or (Any,))
    return _with_true_ints(hint) if is_exact(hint) else hint


def _with_true_ints(hint: Any) -> Any:
    """Return an exact type whose ints are ints: pydantic takes any Enum member for an int, whatever its value is.

    A bound makes it look at the value, for 0.03 us an int; every int is a multiple of 1.
    """
    from pydantic import Field

    if hint is int:
        return Annotated[int, Field(multiple_of=1)]
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        whole = _with_true_ints(args[0])
        return hint if whole is args[0] else Annotated[(whole, *args[1:])]
    if origin in (list, tuple, dict, Union, UnionType):
        made: Any = Union if origin is UnionType else origin
        return made[tuple(map(_with_true_ints, args))]
    return hint


# Exact types

_SCALARS: Final = (str, int, bool, type(None), None)


def is_exact(hint: Any) -> bool:
    """Return whether every valid value of a type reads back equal: scalars, and containers and unions of them.

    False when in doubt: the value is then read back and compared.
    """
    if hint in _SCALARS or hint is float:
        return True
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return is_exact(args[0]) and all(mark is Redacted or isinstance(mark, Redacted) for mark in args[1:])
    if origin is list or origin is tuple:
        return bool(args) and all(part is ... or is_exact(part) for part in args)
    if origin is dict:
        return args[0] is str and is_exact(args[1])
    if origin is Union or origin is UnionType:
        some = [part for part in args if part is not type(None)]
        # NaN is written as text, so not beside str.
        return (len(some) == 1 and is_exact(some[0])) or any(
            all(part in kinds for part in some) for kinds in ((str, int, bool), (float, int, bool))
        )
    if origin is Literal:
        return len(kinds := {type(each) for each in args}) == 1 and kinds <= {str, int, bool}
    return isinstance(hint, type) and issubclass(hint, Enum) and _is_exact_enum(hint)


def _is_exact_enum(kind: type[Enum]) -> bool:
    values = [member.value for member in kind]
    return (
        not issubclass(kind, Flag)
        and not hasattr(kind, "__get_pydantic_core_schema__")
        and len({type(value) for value in values}) == 1
        and type(values[0]) in (str, int)
        and all(value is member._value_ for value, member in zip(values, kind, strict=True))  # found by it when read
    )
