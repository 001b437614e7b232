"""Compare a value with what would arrive in its place: deeply, by type and value."""

from __future__ import annotations

import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import is_dataclass
from datetime import datetime, time
from decimal import Decimal
from enum import Enum
from functools import cached_property, lru_cache, partial
from inspect import getattr_static
from math import isfinite
from types import FunctionType, MemberDescriptorType
from typing import Any, Final, NamedTuple, TypeAlias

__all__ = ["Difference", "a_or_an", "difference", "shown_key"]


class Difference(NamedTuple):
    """Where two values differ, such as `.items[3].price` ("": the value itself), and how."""

    path: str
    what: str

    def below(self, step: str) -> Difference:
        """Return the same difference, seen from one step above."""
        return Difference(step + self.path, self.what)


Pairs: TypeAlias = set[tuple[int, int]]
"""The objects compared so far, by `id`: an object may contain itself."""
Rule: TypeAlias = Callable[[Any, Any, Pairs], Difference | None]

_CHANGED: Final = Difference("", "its value would arrive changed")
_SIMPLE: Final = (str, int, bool, type(None), bytes)
_UNSET: Final = object()


def difference(given: Any, read: Any, *, fields: bool = False) -> Difference | None:
    """Return the first difference between a value and what would arrive in its place, None for none. Never raises.

    Types must be identical. Objects are compared by their fields, others by `==`; NaN equals NaN. Times are equal that
    show the same clock and the same offset. Not compared: the order of sets and dicts, the name of a time zone, cached
    properties, and which fields of a model were set. fields: both are dicts of named values.
    """
    try:
        return _namespace(dict, given, read, set()) if fields else _differ(given, read, set())
    except RecursionError:
        return Difference("", "its value is nested too deeply")
    except Exception as error:  # from user code: an `==`, a time zone, a property
        return Difference("", f"its value cannot be compared with what would arrive ({type(error).__name__})")


def a_or_an(kind: type) -> str:
    """Return the name of a type with its article."""
    if kind is type(None):
        return "None"
    name = kind.__qualname__.rpartition(".")[2]
    return f"{'an' if name[:1] in 'aeioAEIO' else 'a'} {name}"


def shown_key(key: object) -> str:
    """Return an index or a key for an error text, cut to 40 characters."""
    text = (
        repr(key) if type(key) in _SIMPLE and not (type(key) is int and key.bit_length() > 128) else a_or_an(type(key))
    )
    return text if len(text) <= 40 else text[:37] + "..."


def _differ(given: Any, read: Any, pairs: Pairs) -> Difference | None:
    if given is read:
        return None
    kind = type(given)
    if kind is not type(read):
        if kind is float and type(read) is str and not isfinite(given):
            return Difference("", "a float that is not finite (NaN or infinity) would arrive as a str")
        return Difference("", _arrives_as(kind, type(read)))
    if kind in _SIMPLE:
        return None if given == read else _CHANGED
    pair = (id(given), id(read))
    if pair in pairs:
        return None
    pairs.add(pair)
    for rule in _rules(kind):  # type: ignore[arg-type]  # a type is hashable
        if (found := rule(given, read, pairs)) is not None:
            return found
    return None


def _arrives_as(kind: type, other: type) -> str:
    names = a_or_an(kind), a_or_an(other)
    if names[0] == names[1]:
        names = f"{kind.__module__}.{kind.__qualname__}", f"{other.__module__}.{other.__qualname__}"
    return f"{names[0]} would arrive as {names[1]}"


# Rules: how two values of one type are compared


# `base` is the builtin type: its own methods are called, whatever a subclass makes of them.


def _plain(base: Any, given: Any, read: Any, pairs: Pairs) -> Difference | None:
    return None if base.__eq__(given, read) else _CHANGED


def _number(base: Any, given: Any, read: Any, pairs: Pairs) -> Difference | None:
    if base is not Decimal and base.__eq__(given, read):  # a signalling NaN of Decimal cannot be compared
        return None
    return None if base.__repr__(given) == base.__repr__(read) or base.__eq__(given, read) else _CHANGED


def _clock(base: Any, given: datetime | time, read: datetime | time, pairs: Pairs) -> Difference | None:
    """Compare what the clock shows and the offset: `==` of two zones ignores the first, and fails at a fold."""
    if given.utcoffset() != read.utcoffset():
        return Difference("", f"its offset from UTC, {given.utcoffset()}, would arrive as {read.utcoffset()}")
    if given.tzinfo is None and given.fold != read.fold:
        return Difference("", "its fold would be lost")
    one, other = (base.replace(each, tzinfo=None, fold=0) for each in (given, read))
    return None if base.__eq__(one, other) else _CHANGED


def _items(base: Any, given: Any, read: Any, pairs: Pairs) -> Difference | None:
    if base.__len__(given) != base.__len__(read):
        return _counted(base, given, read)
    for index, (item, other) in enumerate(zip(base.__iter__(given), base.__iter__(read), strict=True)):
        if (found := _differ(item, other, pairs)) is not None:
            names = getattr(type(given), "_fields", ())  # of a named tuple
            return found.below(f".{names[index]}" if index < len(names) else f"[{index}]")
    if isinstance(given, deque) and given.maxlen != read.maxlen:
        return Difference("", "its maxlen would be lost")
    return None


def _mapping(base: Any, given: Any, read: Any, pairs: Pairs) -> Difference | None:
    if base.__len__(given) != base.__len__(read):
        return _counted(base, given, read)
    if isinstance(given, defaultdict) and (found := _differ(given.default_factory, read.default_factory, pairs)):
        return found.below(".default_factory")
    for (key, item), (other, arrived) in zip(base.items(given), base.items(read), strict=True):
        if key is not other and _differ(key, other, set()) is not None:
            return _unordered(base.items(given), base.items(read), pairs)
        if (found := _differ(item, arrived, pairs)) is not None:
            return found.below(f"[{shown_key(key)}]")
    return None


def _members(base: Any, given: Any, read: Any, pairs: Pairs) -> Difference | None:
    if base.__len__(given) != base.__len__(read):
        return _counted(base, given, read)
    one, other = ([(each, None) for each in base.__iter__(members)] for members in (given, read))
    return _unordered(one, other, pairs)


def _unordered(given: Iterable[tuple[Any, Any]], read: Iterable[tuple[Any, Any]], pairs: Pairs) -> Difference | None:
    """Compare entries by key, in any order; as many were given as read."""
    left: dict[tuple[type, int], list[tuple[Any, Any]]] = {}
    for entry in read:
        left.setdefault(_bucket(entry[0]), []).append(entry)
    for key, item in given:
        candidates = left.get(_bucket(key), [])
        for index, (other, arrived) in enumerate(candidates):
            if _differ(key, other, set()) is None:  # a set of its own: what a wrong candidate left proves nothing
                del candidates[index]
                if (found := _differ(item, arrived, pairs)) is not None:
                    return found.below(f"[{shown_key(key)}]")
                break
        else:
            return Difference(f"[{shown_key(key)}]", f"its key or member, {a_or_an(type(key))}, would arrive changed")
    return None


def _bucket(key: Any) -> tuple[type, int]:
    nan = isinstance(key, float | complex | Decimal) and key != key  # noqa: PLR0124 - the hash of NaN is its address
    return type(key), 0 if nan else hash(key)


def _counted(base: Any, given: Any, read: Any) -> Difference:
    return Difference("", f"{base.__len__(given)} entries would arrive as {base.__len__(read)}")


def _attributes(given: Any, read: Any, pairs: Pairs) -> Difference | None:
    """Compare all that two objects hold, whatever their `==` says; private attributes and extras of a model too."""
    kind: Any = type(given)
    if kind.__dictoffset__ and (found := _namespace(kind, given.__dict__, read.__dict__, pairs)) is not None:
        return found
    for member in _slots(kind):
        one, other = _slot(member, given), _slot(member, read)
        if member.__name__.startswith("__pydantic_") and type(one) is dict is type(other):  # private attributes, extras
            found = _namespace(kind, one, other, pairs)
        elif (found := _differ(one, other, pairs)) is not None:
            found = found.below(f".{member.__name__}")
        if found is not None:
            return found
    return None


def _namespace(kind: type, given: dict[str, Any], read: dict[str, Any], pairs: Pairs) -> Difference | None:
    for name, value in given.items():
        if name in read:
            if (found := _differ(value, read[name], pairs)) is not None:
                return found.below(f".{name}")
        elif not _is_cached(kind, name):
            return Difference(f".{name}", "it would be lost")
    for name in read:
        if name not in given and not _is_cached(kind, name):
            return Difference(f".{name}", "it would arrive, and was not given")
    return None


def _by_equality(given: Any, read: Any, pairs: Pairs) -> Difference | None:
    same = given == read
    if type(same) is not bool:
        same = same.all() if hasattr(same, "all") else bool(same)  # an array compares item by item
    return None if same else _CHANGED


def _unless_denied(given: Any, read: Any, pairs: Pairs) -> Difference | None:
    """Compare objects with equal fields by their `==` too: an extension type may hold more than its fields."""
    try:
        return _by_equality(given, read, pairs)
    except Exception:  # its `==` is broken, and its fields are equal
        return None


_CONTENTS: Final[tuple[tuple[type, Rule], ...]] = tuple(
    (base, partial(rule, base))
    for rule, bases in (
        (_plain, (str, int, bytes, bytearray)),
        (_number, (float, complex, Decimal)),
        (_clock, (datetime, time)),
        (_items, (list, tuple, deque)),
        (_mapping, (dict,)),
        (_members, (set, frozenset)),
    )
    for base in bases
)


@lru_cache(maxsize=1024)
def _rules(kind: Any) -> tuple[Rule, ...]:
    if issubclass(kind, Enum | type | FunctionType):
        return (lambda *_: _CHANGED,)  # each is a single object
    if hasattr(kind, "__next__"):
        return (lambda *_: Difference("", "an iterator can be read only once: use a list"),)
    rules = [rule for base, rule in _CONTENTS if issubclass(kind, base)][:1]
    known = bool(rules)
    if kind.__dictoffset__ or _slots(kind):
        rules.append(_attributes)
        generated = is_dataclass(kind) or any(
            hasattr(kind, name) for name in ("__pydantic_fields__", "__struct_fields__", "__attrs_attrs__")
        )
        if not known and not generated and kind.__eq__ is not object.__eq__:
            rules.append(_by_equality if _is_standard(kind) else _unless_denied)
    elif not known:
        rules.append(_by_equality)
    return tuple(rules)


@lru_cache(maxsize=1024)
def _slots(kind: Any) -> tuple[MemberDescriptorType, ...]:
    """Return the slots of a class. Those of the standard library hold caches of what `==` compares."""
    return tuple(
        member
        for base in kind.__mro__
        if not _is_standard(base)
        for name, member in vars(base).items()
        if isinstance(member, MemberDescriptorType) and name != "__pydantic_fields_set__"
    )


def _slot(member: MemberDescriptorType, holder: object) -> Any:
    try:
        return member.__get__(holder, type(holder))
    except AttributeError:
        return _UNSET


def _is_standard(kind: type) -> bool:
    return str(kind.__module__).partition(".")[0] in sys.stdlib_module_names


def _is_cached(kind: type, name: str) -> bool:
    return isinstance(getattr_static(kind, name, None), cached_property)
