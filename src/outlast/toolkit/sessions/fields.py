"""The fields of a session as one request sees them: what is stored, and what it has read and changed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
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

Given = tuple[Any, FieldForm, bytes]
"""A value that was handed out, which may be changed in place, with the form of its type, and its JSON then."""


class SessionFields(ABC):
    """The part of a `Session` that holds fields. Names within begin with what tells fields from flash values."""

    _sessions: Sessions
    _writes: dict[str, bytes | None]
    _read: dict[str, bytes | None]
    """The fields whose stored value this request has seen, as it was then: until the request sees a later one, what it
    writes there must find that. None: absent."""
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
        self._given.pop(field, None)  # of another type
        body = self._seen(field)
        if body is None:
            return default
        value = form.read(body, ABSENT)
        if value is ABSENT:
            return default
        if not isinstance(value, _UNCHANGING):
            self._given[field] = value, form, body
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
            self._given[field] = value, form, body
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
        return self._seen(field_name(name)) is not None

    def __iter__(self) -> Iterator[str]:
        """Return the names of the fields."""
        names = {**self._stored_fields(), **self._writes}
        return iter([name_of(name) for name in names if name[0] != FLASH and self._body(name) is not None])

    def __len__(self) -> int:
        """Return the number of fields."""
        return sum(1 for _ in self)  # a list would ask for the length first

    # Within

    def _drop_writes(self) -> None:
        self._writes, self._given = {}, {}

    def _body(self, field: str) -> bytes | None:
        return self._writes[field] if field in self._writes else self._stored_fields().get(field)

    def _seen(self, field: str) -> bytes | None:
        """Return the body of a field, which the request sees from now on, unless it has a value of before."""
        if field not in self._writes and field not in self._given:
            self._read[field] = self._stored_fields().get(field)
        return self._body(field)

    def _collect(self) -> None:
        """Take the values that were changed in place as writes."""
        for field in [*self._given]:
            self._collect_field(field)

    def _collect_field(self, field: str) -> None:
        if field not in self._given:
            return
        value, form, before = self._given.pop(field)
        body = form.write(name_of(field), value, self._sessions.rule.max_bytes)
        if body != before and not form.is_same(before, body):
            self._check_writable()
            self._writes[field] = before = body
        self._given[field] = value, form, before

    def _forget_seen(self, writes: Sequence[FieldWrite]) -> None:
        """Forget what was seen of fields that are about to be saved: a change meanwhile is of what is seen then."""
        for write in writes:
            self._read.pop(write.name, None)

    def _keep_unsaved(self, writes: Sequence[FieldWrite]) -> None:
        """Let what was seen of fields that were not saved count, until a later value is seen."""
        for write in writes:
            if write.checked:
                self._read.setdefault(write.name, write.expected)

    def _keep_saved(self, writes: Sequence[FieldWrite], given: dict[str, Given]) -> None:
        """Note the saved fields as seen, and look after the values that were handed out."""
        for write in writes:
            if write.checked or write.name in given:
                self._read.setdefault(write.name, write.value)
        for field, each in given.items():
            self._given.setdefault(field, each)

    def _changed_fields(self) -> tuple[FieldWrite, ...]:
        """Return the writes of fields that are not as they were seen; of those that were not, as they are stored."""
        if not self._writes:
            return ()
        before = {**self._stored_fields(), **self._read}
        return tuple(
            FieldWrite(name, body, name in self._read, before.get(name))
            for name, body in self._writes.items()
            if body != before.get(name)
        )
