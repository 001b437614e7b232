"""The fields of a session as one request sees them: what is stored, and what it has read and changed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from outlast.toolkit.sessions.store import FieldWrite
from outlast.toolkit.sessions.values import FLASH, FieldForm, field_name, name_of

if TYPE_CHECKING:
    from outlast.toolkit.sessions.sessions import Sessions

__all__ = ["ABSENT", "SessionFields"]

T = TypeVar("T")

ABSENT: Final = object()
"""No value."""
_UNCHANGING: Final = (str, int, float, type(None))

Given = tuple[Any, FieldForm]
"""A value that was handed out, which may be changed in place, with the form of its type."""


class SessionFields(ABC):
    """The part of a `Session` that holds fields. Names within begin with what tells fields from flash values."""

    _sessions: Sessions
    _writes: dict[str, bytes | None]
    _read: set[str]
    _given: dict[str, Given]

    @abstractmethod
    def _stored_fields(self) -> dict[str, bytes]:
        """Return the fields as they were read."""

    @abstractmethod
    def _check_writable(self) -> None:
        """Raise the error for which nothing can be written."""

    def get(self, name: str, default: T | None = None, *, type: Any = Any) -> Any | T:
        """Return the value of a field; `default` when there is none, or when it is not of `type` any more."""
        field, form = field_name(name), self._sessions.form(type)
        if field in self._given and self._given[field][1] is form:
            return self._given[field][0]
        self._collect_field(field)
        self._read.add(field)
        body = self._body(field)
        if body is None:
            return default
        value = form.read(body, ABSENT)
        if value is ABSENT:
            return default
        if not isinstance(value, _UNCHANGING):
            self._given[field] = value, form
        return value

    def set(self, name: str, value: Any, *, type: Any = Any) -> None:
        """Set a field to a value of `type`, by default plain data, as JSON has it.

        Raise InvalidArguments for a value that would not be read back equal, or of more than `max_bytes`; SessionEnded
        and ToolkitAway as `save` does.
        """
        field, form = field_name(name), self._sessions.form(type)
        self._check_writable()
        body = form.write(name, value, self._sessions.rule.max_bytes)
        self._given.pop(field, None)
        if not isinstance(value, _UNCHANGING):
            self._given[field] = value, form
        self._writes[field] = body

    def pop(self, name: str, default: T | None = None, *, type: Any = Any) -> Any | T:
        """Remove a field and return its value. Of two requests that pop at once, one raises SessionConflict."""
        value = self.get(name, default, type=type)
        if name in self:
            del self[name]
        return value

    def clear(self) -> None:
        """Remove all fields that this request knows, flash values too."""
        self._check_writable()
        self._given.clear()
        self._writes = dict.fromkeys(self._stored_fields())

    def __getitem__(self, name: str) -> Any:
        """Return the value of a field, plain data; raise KeyError."""
        value = self.get(name, ABSENT)
        if value is ABSENT:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        """See `set`."""
        self.set(name, value)

    def __delitem__(self, name: str) -> None:
        """Remove a field; raise KeyError."""
        if name not in self:
            raise KeyError(name)
        self._check_writable()
        self._given.pop(field_name(name), None)
        self._writes[field_name(name)] = None

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a field."""
        field = field_name(name)
        self._read.add(field)
        return self._body(field) is not None

    def __iter__(self) -> Iterator[str]:
        """Return the names of the fields."""
        names = {**self._stored_fields(), **self._writes}
        return iter([name_of(name) for name in names if name[0] != FLASH and self._body(name) is not None])

    def __len__(self) -> int:
        """Return the number of fields."""
        return sum(1 for _ in self)  # a list would ask for the length first

    # Within

    def _drop_writes(self) -> None:
        self._writes, self._read, self._given = {}, set(), {}

    def _body(self, field: str) -> bytes | None:
        return self._writes[field] if field in self._writes else self._stored_fields().get(field)

    def _collect(self) -> None:
        """Take the values that were changed in place as writes."""
        for field in [*self._given]:
            self._collect_field(field)

    def _collect_field(self, field: str) -> None:
        if field not in self._given:
            return
        value, form = self._given.pop(field)
        body, before = form.write(name_of(field), value, self._sessions.rule.max_bytes), self._body(field)
        if before is not None and body != before and not form.is_same(before, body):
            self._check_writable()
            self._writes[field] = body
        self._given[field] = value, form

    def _keep_given(self, given: dict[str, tuple[bytes | None, Given]], fields: dict[str, bytes]) -> None:
        """Look after values that were handed out, unless another request has changed their fields meanwhile."""
        for field, (body, each) in given.items():
            if body is not None and fields.get(field) == body and field not in self._given:
                self._given[field] = each
                self._read.add(field)

    def _changed_fields(self) -> tuple[FieldWrite, ...]:
        """Return the writes of fields that are not as they are stored."""
        stored = self._stored_fields()
        return tuple(
            FieldWrite(name, body, name in self._read, stored.get(name))
            for name, body in self._writes.items()
            if body != stored.get(name)
        )
