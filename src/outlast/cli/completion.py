"""What a shell may complete: names of queues, kinds and states, and filters. Looks, makes nothing, fails in silence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from outlast.core.message import State

__all__ = ["filters", "kinds", "queues", "states"]

_LATEST = 200
"""Jobs whose kinds are offered when no app is named."""


def states(incomplete: str) -> list[str]:
    """Return the states; behind a comma too."""
    before, comma, rest = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in get_args(State) if name.startswith(rest)]


def queues(ctx: Any, incomplete: str) -> list[str]:
    """Return the names of the store's queues."""
    return _beginning(incomplete, _queues(ctx))


def kinds(ctx: Any, incomplete: str) -> list[str]:
    """Return the kinds that the app declares, else those of the latest jobs."""
    return _beginning(incomplete, _kinds(ctx))


def filters(ctx: Any, incomplete: str) -> list[str]:
    """Return the fields of a filter, and the values of those that have a few."""
    from outlast.core.filters import FIELDS

    field, colon, value = incomplete.partition(":")
    if not colon:
        return _beginning(incomplete, [*(f"{each}:" for each in FIELDS), "args."])
    match field:
        case "state":
            found = states(value)
        case "queue":
            found = queues(ctx, value)
        case "kind":
            found = kinds(ctx, value)
        case _:
            return []
    return [f"{field}:{each}" for each in found]


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def _queues(ctx: Any) -> Iterable[str]:
    from outlast.cli.store_access import find_store, on_store

    try:
        return on_store(find_store(_options(ctx)), lambda store: store.broker.stats(()))
    except Exception:  # a shell is waiting for words, and has no place for an error
        return ()


def _kinds(ctx: Any) -> Iterable[str]:
    from outlast.cli.store_access import find_store, on_store
    from outlast.core.store.records import Query

    try:
        access = find_store(_options(ctx))
        if access.app is not None:
            return access.app.registry.declarations
        return {
            record.kind for record in on_store(access, lambda store: store.records.find(Query(limit=_LATEST))).records
        }
    except Exception:  # a shell is waiting for words, and has no place for an error
        return ()


def _options(ctx: Any) -> Any:
    """Return what the words so far say: while completing, no command has run that would have kept it."""
    from outlast.cli.common_options import CommonOptions

    found: list[dict[str, Any]] = []
    while ctx is not None:
        found.append(ctx.params)
        ctx = ctx.parent
    url, app = (next((each[name] for each in found if each.get(name)), None) for name in ("url", "app"))
    return CommonOptions(url=url, app=app)
