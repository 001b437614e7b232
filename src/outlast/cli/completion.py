"""Shell completion of queues, kinds, states and filters; creates nothing and reports no error."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, get_args

from outlast.core.message import State

if TYPE_CHECKING:
    from outlast.admin.access import StoreAccess

__all__ = ["exchanges", "filters", "guards", "kinds", "queues", "states"]

_LATEST = 200
"""Number of jobs to read kinds from if no app is named."""


def states(incomplete: str) -> list[str]:
    """Return the matching states, also after a comma."""
    before, comma, rest = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in get_args(State) if name.startswith(rest)]


def queues(ctx: Any, incomplete: str) -> list[str]:
    """Return the names of the store's queues."""
    from outlast.cli.store_access import on_store

    return _names(ctx, incomplete, lambda access: on_store(access, lambda store: store.broker.stats(())))


def guards(ctx: Any, incomplete: str) -> list[str]:
    """Return the guards that the store or the app knows."""
    return _names(ctx, incomplete, _guards)


def exchanges(ctx: Any, incomplete: str) -> list[str]:
    """Return the exchanges that the store has."""
    from outlast.cli.store_access import on_store

    return _names(
        ctx,
        incomplete,
        lambda access: [each.name for each in on_store(access, lambda store: store.exchanges.bindings()).exchanges],
    )


def kinds(ctx: Any, incomplete: str) -> list[str]:
    """Return the kinds that the app declares, else the kinds of the latest jobs."""
    return _names(ctx, incomplete, _kinds)


def filters(ctx: Any, incomplete: str) -> list[str]:
    """Return the fields of a filter, or the values of state, queue and kind."""
    from outlast.core.filters import FIELDS

    field, colon, value = incomplete.partition(":")
    if not colon:
        return _matching(incomplete, [*(f"{each}:" for each in FIELDS), "args."])
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


def _matching(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def _names(ctx: Any, incomplete: str, read: Callable[[StoreAccess], Iterable[str]]) -> list[str]:
    from outlast.cli.store_access import find_store

    try:
        return _matching(incomplete, read(find_store(_options(ctx))))
    except Exception:  # the shell expects words and cannot show an error
        return []


def _kinds(access: StoreAccess) -> Iterable[str]:
    from outlast.cli.store_access import on_store
    from outlast.core.store.records import Query

    if access.app is not None:
        return access.app.registry.declarations
    page = on_store(access, lambda store: store.records.find(Query(limit=_LATEST)))
    return {record.kind for record in page.records}


def _guards(access: StoreAccess) -> Iterable[str]:
    from outlast.admin.guards import states_of
    from outlast.cli.store_access import on_store

    declared = {} if access.app is None else access.app.registry.guards
    return [each.name for each in on_store(access, lambda store: states_of(store, declared))]


def _options(ctx: Any) -> Any:
    """Return the options typed so far; during completion the root command does not run and store them."""
    from outlast.cli.common_options import CommonOptions

    typed: list[dict[str, Any]] = []
    while ctx is not None:
        typed.append(ctx.params)
        ctx = ctx.parent
    url, app = (next((each[name] for each in typed if each.get(name)), None) for name in ("url", "app"))
    return CommonOptions(url=url, app=app)
