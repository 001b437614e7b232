"""Parse filters such as `state:dead kind:send_receipt args.order_id:7`, for the command line and pages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final, get_args

import msgspec

from outlast.core.durations import seconds
from outlast.core.errors import ConfigurationError
from outlast.core.matching import ArgIs, JsonScalar
from outlast.core.message import State
from outlast.core.store.records import Query

__all__ = ["FIELDS", "is_filter", "parse"]

STATES: Final[tuple[State, ...]] = get_args(State)
_BOUNDS: Final = {"older": "accepted_before", "newer": "accepted_after"}
FIELDS: Final = ("state", "queue", "kind", "key", "reason", "older", "newer")
"""Fields beside `args.NAME`, which may be a path: `args.customer.city`."""


def is_filter(word: str) -> bool:
    """Tell whether `word` is a filter and not a job's id: an id has a dot before any colon, of filters only `args.`."""
    field, colon, _ = word.partition(":")
    return bool(colon) and ("." not in field or field.startswith("args."))


def parse(words: Iterable[str], now: float) -> Query:
    """Return the query for `field:value` words; a job must match all of them.

    Several `state:` (or `state:dead,expired`) match any of these states. `older:2h` and `newer:1d` compare the time of
    acceptance with `now` (wall time, seconds). A value of `args.` that is a JSON scalar matches that scalar or the same
    text; in double quotes it matches text only. Raise ConfigurationError that names the word and the known fields.
    """
    fields: dict[str, Any] = {}
    states: list[str] = []
    args: list[ArgIs] = []
    for word in words:
        field, _, value = word.partition(":")
        if not is_filter(word) or not value:
            raise ConfigurationError(f"filter {word!r}: give field:value, such as state:dead; {_known()}")
        if field.startswith("args."):
            args.append(ArgIs(tuple(field.split(".")[1:]), _values(value)))
        elif field == "state":
            states += _states(word, value)
        elif field in _BOUNDS:
            _once(fields, _BOUNDS[field], word, now - seconds(value, field))
        elif field in FIELDS:
            _once(fields, field, word, value)
        else:
            near = get_close_matches(field, FIELDS, 1)
            raise ConfigurationError(
                f"filter {word!r}: no field {field!r}{f', did you mean {near[0]!r}?' if near else ';'} {_known()}"
            )
    return Query(states=tuple(state for state in STATES if state in states), args=tuple(args), **fields)


def _once(fields: dict[str, Any], name: str, word: str, value: object) -> None:
    if fields.get(name, value) != value:
        raise ConfigurationError(f"filter {word!r}: this field has another value already, and no job has both")
    fields[name] = value


def _states(word: str, value: str) -> list[str]:
    named = value.split(",")
    for each in named:
        if each not in STATES:
            raise ConfigurationError(f"filter {word!r}: no state {each!r}: give one of {', '.join(STATES)}")
    return named


def _values(text: str) -> tuple[JsonScalar, ...]:
    """Return the values that `text` matches."""
    try:
        value: JsonScalar = msgspec.json.decode(text, type=JsonScalar)
    except msgspec.DecodeError:
        return (text,)
    return (value,) if isinstance(value, str) else (value, text)


def _known() -> str:
    return f"there are {', '.join(FIELDS)} and args.NAME"
