"""What a test of the suite needs of a store, read from the names in its code: what a store lacks is not collected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any, Final

__all__ = ["NEEDS", "TURNS", "names_of", "needs_of"]

NEEDS: Final[dict[str, frozenset[str]]] = {
    "records": frozenset(("record", "state", "get", "find", "count", "handle", "Query")),
    "control": frozenset(("apply", "do", "Cancel", "Redrive", "Edit", "RunNow", "Pause", "Purge", "Prune", "Adjust")),
    "schedules": frozenset(("enlist", "amend", "amended", "schedules", "ScheduleEntry")),
    "guards": frozenset(("guards", "swap", "guards_changed")),
    "history": frozenset(("keep_samples", "samples", "add_entries", "journal", "add_costs", "costs")),
    "leases": frozenset(("extend", "lapse", "forfeit", "lease", "LEASE", "two", "B", "C")),
    "unique": frozenset(("unique", "Unique", "replace", "succeed", "successor")),
    "ids": frozenset(("Exists",)),
    "keys": frozenset(("key",)),
    "priorities": frozenset(("priority",)),
    "limits": frozenset(("concurrency", "rate", "burst", "per_key", "weights", "Limit", "declare")),
    "bounds": frozenset(("max_depth", "max_bytes", "max_age", "on_full", "Full", "shed")),
    "retention": frozenset(("record_ttl", "records", "dead_ttl", "id_memory", "result", "result_ttl")),
    "forecast": frozenset(("loads", "Offer", "forecast", "max_wait")),
    "progress": frozenset(("save", "Note")),
    "once": frozenset(("raw_effects",)),
    "delays": frozenset(("delay", "advance", "at", "run_at", "Reschedule", "Park", "expires", "clock")),
    "totals": frozenset(("totals", "kinds_of")),
    "stats": frozenset(("stats", "drain_rate", "oldest")),
}
"""By what a store may lack, the names that tests use of it: attributes, keywords and fixtures."""
TURNS: Final = "turns"
"""What the mark `needs` names beside these: queues take turns by one job each, in the order of acceptance."""


def needs_of(test: Callable[..., Any]) -> set[str]:
    """Return what a test, with the functions of its module that it calls, needs."""
    names = names_of(test)
    return {need for need, words in NEEDS.items() if names & words}


def names_of(test: Callable[..., Any]) -> set[str]:
    """Return the names in the code of a test, and of the functions of its module that it calls."""
    inner = getattr(getattr(test, "hypothesis", None), "inner_test", test)  # of a property, the function below `given`
    return set(_names(inner.__code__, inner.__globals__, set()))


def _names(code: CodeType, module: dict[str, Any], seen: set[CodeType]) -> Iterator[str]:
    seen.add(code)
    yield from code.co_names
    yield from code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    for each in code.co_consts:
        if isinstance(each, CodeType) and each not in seen:
            yield from _names(each, module, seen)
        elif isinstance(each, tuple):  # the names of keyword arguments
            yield from (name for name in each if isinstance(name, str))
    for name in code.co_names:
        called = module.get(name)
        if isinstance(called, FunctionType) and called.__globals__ is module and called.__code__ not in seen:
            yield from _names(called.__code__, module, seen)
