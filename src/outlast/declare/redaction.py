"""`Redacted` marks arguments that no record, traceback, log or page may show; find marks in types and values."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from datetime import date, time
from enum import Enum
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints
from uuid import UUID

from outlast.core.errors import ConfigurationError

__all__ = ["Redacted", "is_redacted", "refuse_unkept", "texts"]

_ENCODED: Final = 4
"""The encoded form of a shorter text is so short that it would mask unrelated text."""


class Redacted:
    """`Annotated[str, Redacted]`: the handler gets the value; records, logs, tracebacks and pages mask it.

    On a field of a model, dataclass or TypedDict it masks the whole argument. The store keeps the value unencrypted.
    """


def _is_mark(item: object) -> bool:
    return item is Redacted or isinstance(item, Redacted)


def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Return the fields of a model, dataclass, TypedDict or NamedTuple: their type, and whether they are marked."""
    if not isinstance(kind, type):
        return {}
    model = getattr(kind, "__pydantic_fields__", None)
    if isinstance(model, dict) and all(hasattr(field, "annotation") for field in model.values()):
        return {
            name: (field.annotation, any(map(_is_mark, field.metadata)) or is_redacted(field.annotation))
            for name, field in model.items()
        }
    if dataclasses.is_dataclass(kind) or hasattr(kind, "__required_keys__") or hasattr(kind, "_field_defaults"):
        try:
            hints = get_type_hints(kind, include_extras=True)
        except NameError as error:
            raise ConfigurationError(f"{kind.__qualname__}: a field's type is not found ({error})") from None
        return {name: (hint, is_redacted(hint)) for name, hint in hints.items()}
    return {}


def _parts(hint: Any) -> Iterator[Any]:
    """Yield every type in `hint`, itself first; each class and alias once, since both may be recursive."""
    seen: set[int] = set()
    waiting = [hint]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        if isinstance(item, type) or hasattr(item, "__value__"):
            seen.add(id(item))
        value = getattr(item, "__value__", None)  # a `type X = ...` alias
        if value is not None and not isinstance(item, type):
            waiting.append(value)
        yield item
        waiting.extend(get_args(item))
        if isinstance(item, type):
            waiting.extend(kind for kind, _ in _fields(item).values())


def is_redacted(hint: Any, *, inside: bool = False) -> bool:
    """Return whether a type is marked; with `inside`, also whether a type or field in it is."""
    if get_origin(hint) is Annotated and any(map(_is_mark, hint.__metadata__)):
        return True
    if not inside:
        # Optional[Annotated[str, Redacted]] and list[Annotated[...]] mark the whole.
        return get_origin(hint) is not Annotated and any(is_redacted(part) for part in get_args(hint))
    return any(is_redacted(part) or any(marked for _, marked in _fields(part).values()) for part in _parts(hint))


def refuse_unkept(hint: Any, where: str) -> None:
    """Raise ConfigurationError for a type whose JSON is a mask, or lacks fields: a job would run without the value."""
    from pydantic import BaseModel
    from pydantic.types import Secret, SecretBytes, SecretStr

    for part in _parts(hint):
        origin = get_origin(part) or part
        if not isinstance(origin, type):
            continue
        if issubclass(origin, SecretStr | SecretBytes | Secret):
            raise ConfigurationError(
                f"{where} is or contains a {origin.__name__}, which is stored as '**********': use "
                "Annotated[str, Redacted] (or bytes), which is stored in full and never shown"
            )
        if issubclass(origin, BaseModel):
            for name, field in origin.model_fields.items():
                if field.exclude:
                    raise ConfigurationError(
                        f"{where}: {origin.__name__}.{name} has exclude=True, so the job would run without it: pass a "
                        "model that keeps all its fields"
                    )


def texts(value: Any, *, marked: bool) -> Iterator[str]:
    """Yield the texts to mask: every leaf of the marked values, in each form that a traceback may show."""
    match value:
        case str() | bytes() | bytearray():
            yield from _quotes(value) if marked else ()
        case Mapping():
            fields = _fields(type(value))
            for name, item in value.items():
                if marked:
                    yield from texts(name, marked=True)
                yield from texts(item, marked=marked or fields.get(name, (None, False))[1])
        case list() | tuple() | set() | frozenset() if not hasattr(value, "_fields"):
            for item in value:
                yield from texts(item, marked=marked)
        case _ if fields := _fields(type(value)):
            for name, (_, field_marked) in fields.items():
                yield from texts(getattr(value, name, None), marked=marked or field_marked)
        case _ if marked:
            yield from _quotes(value)


def _quotes(leaf: Any) -> Iterator[str]:
    """Yield each form of a single value that a traceback may show."""
    written: tuple[str, ...]
    match leaf:  # no str() of bytes: under `python -bb` it raises
        case bool() | None:
            written = ()  # "True" or "None" would mask unrelated text
        case str():
            written = (str.__str__(leaf),)
        case bytes() | bytearray():
            written = (bytes(leaf).decode("latin-1"), bytes(leaf).decode("utf-8", "replace"), repr(bytes(leaf))[2:-1])
            yield from (bytes(leaf).hex(), *_base64_parts(bytes(leaf))) if len(leaf) >= _ENCODED else ()
        case Enum():
            written = (str(leaf), repr(leaf), *texts(leaf.value, marked=True))
        case int():
            written = (str(leaf), f"{leaf:,}")
        case date() | time():
            written = (str(leaf), repr(leaf), leaf.isoformat())  # the form in JSON
        case UUID():
            written = (str(leaf), repr(leaf), leaf.hex)
        case _:
            written = (str(leaf), repr(leaf))
    for text in written:
        yield from _forms(text)


def _forms(text: str) -> Iterator[str]:
    """Yield a text as it may stand in an error: quoted, escaped, stripped, or encoded for a URL, a page or a header."""
    from html import escape
    from urllib.parse import quote, quote_plus

    for each in {text, text.strip(), *text.splitlines()}:  # the traceback of an exception group indents each line
        if stripped := each.strip():
            yield from (each, stripped)
            for quoted in _quoted(each):
                yield from (quoted, *_quoted(quoted))  # quoted again, such as by the repr of an error that quotes it
            yield escape(each)
    for raw in {each.encode("utf-8", "surrogatepass") for each in (text, text.strip())}:
        yield from (repr(raw)[2:-1], quote(raw), quote(raw, safe=""), quote_plus(raw))
        if len(raw) >= _ENCODED:
            yield from (raw.hex(), *_base64_parts(raw))


def _quoted(text: str) -> tuple[str, ...]:
    quoted = (repr(text), ascii(text), json.dumps(text), json.dumps(text, ensure_ascii=False))
    return tuple(each[1:-1] for each in quoted)


def _base64_parts(raw: bytes) -> Iterator[str]:
    """Yield what base64 makes of some bytes wherever they stand in the encoded whole, in both alphabets."""
    from base64 import b64encode

    for before in range(3):
        whole = b64encode(bytes(before) + raw).decode()
        part = whole[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]  # the characters that no other byte changes
        yield from (part, part.replace("+", "-").replace("/", "_"))
