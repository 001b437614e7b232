"""Conditions on arguments of jobs, with the same meaning in every store."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from outlast.core.errors import ConfigurationError

__all__ = ["ArgIs", "JsonScalar", "holds", "same"]

JsonScalar = str | int | float | bool | None

DEEPEST: Final = 8
"""The most names in one path."""
LONGEST_NAME: Final = 1000
"""The most characters of one name: digits are read as a number, and Python reads at most 4,300 of them."""
WIDEST: Final = 1 << 63
"""Whole numbers from this one on are compared as floats: no store keeps them exactly."""
_MISSING: Final = object()


class ArgIs(Struct, frozen=True):
    """The argument at `path` equals one of `values`. A name of digits is an index of a list as well as a key.

    Numbers are equal by value (7 equals 7.0, but not "7" or true). null equals only null, not a missing argument. A
    redacted argument never equals anything: else a search would reveal its value.
    """

    path: tuple[str, ...]
    values: tuple[JsonScalar, ...]

    def __post_init__(self) -> None:
        shown = ".".join(self.path)
        if not 0 < len(self.path) <= DEEPEST or not all(self.path):
            raise ConfigurationError(
                f"args.{shown}: give 1 to {DEEPEST} names with dots between, such as args.order.id"
            )
        if any(len(name) > LONGEST_NAME for name in self.path):
            raise ConfigurationError(f"args.{shown[:40]}...: a name in a path has at most {LONGEST_NAME} characters")
        if any(sign in name for name in self.path for sign in '"\\\0'):
            raise ConfigurationError(f"args.{shown}: a name in a path may hold no quote and no backslash")


def holds(args: dict[str, Any], redacted: tuple[str, ...], wanted: ArgIs) -> bool:
    """Tell whether a job with these arguments meets the condition. redacted: names of redacted arguments."""
    if wanted.path[0] in redacted:
        return False
    found: Any = args
    for name in wanted.path:
        if isinstance(found, dict):
            found = found.get(name, _MISSING)
        elif isinstance(found, list) and name.isdecimal() and name.isascii() and int(name) < len(found):
            found = found[int(name)]
        else:
            return False
    return any(same(found, value) for value in wanted.values)


def same(found: Any, value: JsonScalar) -> bool:
    """Tell whether two JSON values are the same scalar."""
    if isinstance(found, bool) or isinstance(value, bool) or value is None or isinstance(value, str):
        return type(found) is type(value) and found == value
    return isinstance(found, int | float) and _number(found) == _number(value)


def _number(value: float) -> float:
    return float(value) if abs(value) >= WIDEST else value
