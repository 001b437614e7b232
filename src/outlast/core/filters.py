"""Parse filters such as `state:dead kind:send_receipt args.order_id:7`, for the command line and pages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final, Literal, cast, get_args

import msgspec

from outlast.core.durations import seconds
from outlast.core.errors import ConfigurationError
from outlast.core.matching import ArgIs, JsonScalar
from outlast.core.message import State
from outlast.core.store.records import Query, Without

__all__ = ["FIELDS", "is_filter", "parse"]

STATES: Final[tuple[State, ...]] = get_args(State)
_BOUNDS: Final = {"older": "accepted_before", "newer": "accepted_after"}
FIELDS: Final = ("state", "queue", "kind", "key", "reason", "older", "newer")
"""Fields beside `args.NAME`, which may be a path: `args.customer.city`."""


def is_filter(word: str) -> bool:
    """Tell whether `word` is a filter and not a job's id: an id has a dot before any colon, of filters only `args.`."""
    field, sign, _ = _split(word)
    return bool(sign) and ("." not in field or field.startswith("args."))


def parse(words: Iterable[str], now: float) -> Query:
    """Return the query for `field:value` and `field!=value` words; a job must match all of them.

    Several `state:` (or `state:dead,expired`) match any of these states. `older:2h` and `newer:1d` compare the time of
    acceptance with `now` (wall time, seconds). A value of `args.` that is a JSON scalar matches that scalar or the same
    text; in double quotes it matches text only. `kind!=send` matches all other kinds, `key!=acme` also jobs without a
    key. Raise ConfigurationError that names the word and the known fields.
    """
    fields: dict[str, Any] = {}
    states: list[str] = []
    args: list[ArgIs] = []
    without: list[Without] = []
    other: set[str] = set()
    for word in words:
        field, sign, value = _split(word)
        if not is_filter(word) or not value:
            raise ConfigurationError(
                f"filter {word!r}: give field:value, such as state:dead, or field!=value; {_known()}"
            )
        if sign == "!=" and field in _BOUNDS:
            raise ConfigurationError(f"filter {word!r}: give {'newer' if field == 'older' else 'older'}:{value}")
        if sign == "!=" and field.startswith("args."):
            without.append(Without("args", ArgIs(tuple(field.split(".")[1:]), _values(value))))
        elif sign == "!=" and field == "state":
            other.update(_states(word, value))
        elif sign == "!=" and field in FIELDS:
            without.append(Without(cast("Literal['queue', 'kind', 'key', 'reason']", field), value))
        elif field.startswith("args."):
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
    wanted = states or (STATES if other else ())
    kept = tuple(state for state in STATES if state in wanted and state not in other)
    if wanted and not kept:
        raise ConfigurationError(f"filter state!={','.join(sorted(other))}: it leaves no state to look for")
    return Query(states=kept, args=tuple(args), without=tuple(without), **fields)


def _split(word: str) -> tuple[str, str, str]:
    """Return the field, ":" or "!=", whichever comes first, and the value; the sign is "" in another word."""
    found = re.match(r"([^:!]*)(:|!=)(.*)", word, re.DOTALL)
    return (found[1], found[2], found[3]) if found is not None else (word, "", "")


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
