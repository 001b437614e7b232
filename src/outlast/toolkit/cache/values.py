"""Values as bytes: typed JSON, compressed over a size, within a bound; what cannot be read back is refused."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Final, Protocol, get_args

import msgspec

from outlast.core.errors import InvalidArguments
from outlast.core.text import shown

__all__ = ["StructForm", "UnreadableBody", "ValueForm", "ValueForms", "ValuePacking", "form_of"]

PLAIN: Final = b"j"
ZIPPED: Final = b"z"
LEVEL: Final = 1
"""Of zlib: higher ones take several times as long for a tenth less."""


class ValueForm(Protocol):
    """How values of one type are written and read. `outlast.declare.json_form.JsonForm` is one, by pydantic."""

    @property
    def validate(self) -> Callable[[Any], Any]:
        """Returns the value as the type has it; raises ValueError."""

    def write(self, value: Any) -> bytes:
        """Return the value as JSON; raise ValueError when it would not be read back equal."""

    def read(self, body: bytes) -> Any:
        """Return the value; raise ValueError."""


class ValueForms(Protocol):
    """Makes forms of types. `outlast.declare.value_forms` has them."""

    def of(self, hint: Any) -> ValueForm:
        """Return the form of a type; raise ConfigurationError."""

    def returned(self, function: Callable[..., Any]) -> Any:
        """Return the type that a function says that it returns, Any when it says none; raise ConfigurationError."""


class StructForm:
    """Values of types that hold a `msgspec.Struct`, by msgspec."""

    def __init__(self, hint: Any) -> None:
        self._encode: Final = msgspec.json.Encoder().encode
        self.read: Final = msgspec.json.Decoder(hint | None).decode

    def validate(self, value: Any) -> Any:
        """Return the value; `write` checks it."""
        return value

    def write(self, value: Any) -> bytes:
        """Return the value as JSON; raise ValueError when it would not be read back equal."""
        body = self._encode(value)
        if self.read(body) != value:
            raise ValueError("it would not be read back equal")
        return body


def form_of(hint: Any, others: ValueForms) -> ValueForm:
    """Return the form of a type: of msgspec when it holds a Struct, else of `others`."""
    return StructForm(hint) if _holds_struct(hint) else others.of(hint)


def _holds_struct(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return True
    return any(map(_holds_struct, get_args(hint)))


class UnreadableBody(ValueError):
    """A stored value is not of its type any more: another release of the app wrote it."""


class ValuePacking:
    """Packs values of one type. most: bytes of a packed value; compress_over: bytes of JSON.

    JSON of more bytes is compressed. where: what errors begin with.
    """

    def __init__(self, form: ValueForm, *, most: int, compress_over: int, where: str) -> None:
        self._form = form
        self.read: Final = form.read
        """Returns the value of its JSON."""
        self._most = most
        self._compress_over = compress_over
        self._where = where

    def packed(self, value: Any) -> tuple[Any, bytes | None]:
        """Return the value as readers will get it, and its bytes, None when they are more than `most`.

        Raise InvalidArguments for a value that is not of its type, or that would not be read back equal.
        """
        try:
            value = self._form.validate(value)
            body = self._form.write(value)
        except (ValueError, TypeError, RecursionError) as error:
            what = getattr(error, "what", "") or type(error).__name__
            raise InvalidArguments(
                f"{self._where}: a {type(value).__name__} cannot be kept ({what}): annotate the type of the value "
                "exactly, or give it as type="
            ) from None
        made = PLAIN + body
        if len(body) > self._compress_over:
            zipped = zlib.compress(body, LEVEL)
            if len(zipped) < len(body):
                made = ZIPPED + zipped
        return value, made if len(made) <= self._most else None

    def json(self, made: bytes) -> bytes:
        """Return the JSON of a packed value; raise ValueError, zlib.error."""
        if made[:1] == ZIPPED:
            return zlib.decompress(made[1:])
        if made[:1] != PLAIN:
            raise UnreadableBody(shown(made[:1]))
        return made[1:]

    def refuse_size(self) -> InvalidArguments:
        """Return the error for a value that is too large."""
        return InvalidArguments(
            f"{self._where}: the value has more than max_value={self._most} bytes: keep less, or raise max_value of "
            "cache.configure"
        )

    def unpacked(self, made: bytes) -> Any:
        """Return the value; raise UnreadableBody."""
        try:
            return self.read(self.json(made))
        except (ValueError, TypeError, RecursionError, zlib.error) as error:
            raise UnreadableBody(self._where) from error
