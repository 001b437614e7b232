"""The fields of a session: their names, and their values as JSON."""

from __future__ import annotations

from typing import Any, Final

from outlast.core.errors import InvalidArguments
from outlast.core.text import is_utf8, shown
from outlast.toolkit.cache.values import ValueForm, ValueForms, form_of

__all__ = ["FLASH", "FieldForm", "field_name", "form_for", "name_of", "user_text"]

FLASH: Final = "~"
"""What the names of flash values begin with in a store."""
_FIELD: Final = "."
_MOST_NAME: Final = 100
_MOST_USER: Final = 200


class FieldForm:
    """How values of one type are written and read."""

    def __init__(self, form: ValueForm) -> None:
        self._form = form

    def write(self, name: str, value: Any, most: int) -> bytes:
        """Return the JSON of a value; raise InvalidArguments when it would not be read back equal, or is too large."""
        try:
            body = self._form.write(self._form.validate(value))
        except (ValueError, TypeError, RecursionError) as error:
            what = getattr(error, "what", "") or type(error).__name__
            raise InvalidArguments(
                f"session[{shown(name)}]: a {type(value).__name__} cannot be kept ({what}): give plain data, or the "
                "type of the value exactly: session.set(name, value, type=...)"
            ) from None
        if len(body) > most:
            raise InvalidArguments(
                f"session[{shown(name)}]: the value has {len(body):,} bytes, more than max_bytes={most:,} of the "
                "sessions: keep it elsewhere and its key here, or raise max_bytes"
            )
        return body

    def read(self, body: bytes, default: Any) -> Any:
        """Return the value, `default` when it is not of the type."""
        try:
            return self._form.read(body)
        except (ValueError, TypeError, RecursionError):
            return default

    def is_same(self, before: bytes, body: bytes) -> bool:
        """Return whether `body` is what this form makes of the value that another form has written."""
        try:
            return self._form.write(self._form.read(before)) == body
        except (ValueError, TypeError, RecursionError):
            return False


def form_for(hint: Any, others: ValueForms) -> FieldForm:
    """Return the form of a type; raise ConfigurationError."""
    return FieldForm(form_of(hint, others))


def field_name(name: object) -> str:
    """Return the name of a field in a store; raise InvalidArguments."""
    return _FIELD + _text(name, "the name of a field", _MOST_NAME)


def name_of(field: str) -> str:
    """Return the name of a field of a store."""
    return field[1:]


def user_text(user: object) -> str:
    """Return the text of a user; raise InvalidArguments."""
    return _text(user, "user", _MOST_USER)


def _text(text: object, what: str, most: int) -> str:
    if not isinstance(text, str) or not text or not is_utf8(text) or len(text.encode()) > most:
        raise InvalidArguments(f"session: {what}={shown(text)}: give text of 1 to {most} bytes")
    return text
