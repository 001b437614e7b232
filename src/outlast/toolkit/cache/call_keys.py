"""The key and the tags of one call of a cached function, from its arguments."""

from __future__ import annotations

import inspect
import string
from collections.abc import Callable, Sequence
from datetime import date, time
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import msgspec

from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.core.text import shown

__all__ = ["CallText", "all_arguments"]

_PLAIN: Final = (str, int, bool, float, type(None), UUID, Decimal, date, time, Enum)
_ENDS: Final = str.maketrans({"%": "%25", ":": "%3A"})
_REQUIRED: Final = object()
_packed: Final = msgspec.msgpack.Encoder(order="deterministic").encode


class CallText:
    """A template such as "product:{id}" for the calls of a function. Raise ConfigurationError if it names no parameter.

    With more than one field, ":" and "%" in the texts that are put in become "%3A" and "%25": "a:b" and "c" must not
    make the key of "a" and "b:c". None in a key becomes "%None", which is the key of no text. With one field all is put
    in as it is, so that the key can be written by hand.
    """

    def __init__(self, template: str, function: Callable[..., Any], what: str) -> None:
        where = f"{getattr(function, '__qualname__', function)}: {what}={shown(template)}"
        given: object = template
        if not isinstance(given, str) or not given:
            raise ConfigurationError(f"{where}: give text such as 'product:{{id}}'")
        self._function = f"{getattr(function, '__qualname__', function)}: {what}"
        self._parts: list[tuple[str, str, int, object]] = []
        places = {each.name: (at, each.default) for at, each in enumerate(_parameters(function, where))}
        try:
            parsed = list(string.Formatter().parse(template))
        except ValueError as error:
            raise ConfigurationError(f"{where} is not a template: {error}") from None
        self._last = ""
        for text, field, form, conversion in parsed:
            if field is None:
                self._last += text
                continue
            if field not in places or form or conversion:
                known = ", ".join(places) or "none"
                raise ConfigurationError(f"{where}: {{{field}}} is no parameter of it (it has: {known})")
            at, default = places[field]
            self._parts.append(
                (self._last + text, field, at, _REQUIRED if default is inspect.Parameter.empty else default)
            )
            self._last = ""
        self._quoted = len(self._parts) > 1
        self._none = "%None" if self._quoted and what == "key" else "None"

    def of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return the text of one call; raise TypeError for a missing argument, InvalidArguments for one of no text."""
        made: list[str] = []
        for before, name, at, default in self._parts:
            value = args[at] if at < len(args) else kwargs.get(name, default)
            none = value is None
            if type(value) is int:
                value = str(value)
            elif type(value) is not str:
                if value is _REQUIRED:
                    raise TypeError(f"{self._function}: the argument {name!r} is missing")
                if not isinstance(value, _PLAIN):
                    raise InvalidArguments(
                        f"{self._function}: {{{name}}} is a {type(value).__name__}: name parameters that are text, "
                        "numbers, UUIDs, dates or enums"
                    )
                value = str(value.value if isinstance(value, Enum) else value)
            if not self._quoted:
                return f"{before}{value}{self._last}"
            made += (before, self._none if none else value.translate(_ENDS))
        return "".join((*made, self._last))


def all_arguments(function: Callable[..., Any]) -> Callable[[tuple[Any, ...], dict[str, Any]], str]:
    """Return what makes the key of a call from the name of the function and all arguments, as JSON.

    JSON has one text for values that are not equal: null for None, nan and inf, a text for bytes. Where it has a text
    or null, a digest of the arguments in MessagePack tells them apart.
    """
    name = f"{function.__module__}.{function.__qualname__}"
    signature = inspect.signature(function)
    encode = msgspec.json.Encoder(order="deterministic").encode

    def key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        values = list(bound.arguments.values())
        try:
            text = encode(values)
            digest = f"#{_digest(values)}" if b'"' in text or b"null" in text else ""
            return f"{name}:{text.decode()}{digest}"
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidArguments(f"{name}: its arguments make no key ({error}): give key='...{{name}}'") from None

    return key


def _digest(values: list[Any]) -> str:
    try:
        return sha256(_packed(values)).hexdigest()[:16]
    except OverflowError:  # a number beyond 64 bits, which JSON has
        return sha256(repr(values).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _parameters(function: Callable[..., Any], where: str) -> Sequence[inspect.Parameter]:
    found = list(inspect.signature(function).parameters.values())
    for each in found:
        if each.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            raise ConfigurationError(f"{where}: *args and **kwargs have no names: declare each parameter")
    return found
