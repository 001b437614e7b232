"""Whether a fallback takes every call that the function takes for which it answers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["why_not_in_place_of"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def why_not_in_place_of(fallback: Callable[..., Any], function: Callable[..., Any]) -> str:
    """Return why `fallback` cannot be called in place of `function`; "" when it can, or when that cannot be known."""
    try:
        wanted = inspect.signature(function).parameters
        offered = inspect.signature(fallback).parameters
    except (TypeError, ValueError):  # a builtin without a signature
        return ""
    takes_rest = any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in offered.values())
    takes_names = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in offered.values())
    places = [each.name for each in offered.values() if each.kind in _POSITIONAL]
    for place, each in enumerate(each for each in wanted.values() if each.kind in _POSITIONAL):
        if not takes_rest and place >= len(places):
            return f"it has no parameter {each.name!r}"
        if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and not _named(offered, each.name, takes_names):
            return f"it has no parameter {each.name!r}"
        if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and places[place : place + 1] not in ([], [each.name]):
            return f"its parameter {places[place]!r} has the place of {each.name!r}"
    for each in wanted.values():
        if each.kind is inspect.Parameter.KEYWORD_ONLY and not _named(offered, each.name, takes_names):
            return f"it has no parameter {each.name!r}"
        if each.kind is inspect.Parameter.VAR_POSITIONAL and not takes_rest:
            return f"it does not take *{each.name}"
        if each.kind is inspect.Parameter.VAR_KEYWORD and not takes_names:
            return f"it does not take **{each.name}"
    return _more_needed(wanted, offered)


def _named(offered: Any, name: str, takes_names: bool) -> bool:
    known = offered.get(name)
    return takes_names if known is None else known.kind is not inspect.Parameter.POSITIONAL_ONLY


def _more_needed(wanted: Any, offered: Any) -> str:
    """Return which parameter the fallback needs, and a call of the function may not have."""
    places = [each for each in wanted.values() if each.kind in _POSITIONAL]
    for place, each in enumerate(offered.values()):
        if each.default is not inspect.Parameter.empty or each.kind not in (
            *_POSITIONAL,
            inspect.Parameter.KEYWORD_ONLY,
        ):
            continue
        of = places[place] if each.kind is inspect.Parameter.POSITIONAL_ONLY and place < len(places) else None
        same = of or wanted.get(each.name)
        if same is None or same.default is not inspect.Parameter.empty:
            return f"it needs {each.name!r}, which a call may leave out"
    return ""
