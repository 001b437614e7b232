"""`outlast topology prune`: remove bindings and exchanges that an app does not declare any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from outlast.cli import completion
from outlast.cli.common_options import CommonOptions, command
from outlast.cli.exchanges import unknown_exchange
from outlast.cli.output import show
from outlast.cli.output.bindings import binding_document, binding_text
from outlast.cli.store_access import declared_topology, find_store, on_store
from outlast.core.errors import ConfigurationError
from outlast.core.exchanges.values import Bindings
from outlast.core.exitcodes import FAILED, NOT_FOUND
from outlast.core.text import clean, counted

if TYPE_CHECKING:
    from outlast.admin.access import StoreAccess
    from outlast.admin.exchanges import Undeclared
    from outlast.core.store.store import Store
    from outlast.core.topology import Topology

__all__ = ["register"]

group = typer.Typer(help="Remove bindings and exchanges that an app does not declare any more.")


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(group, name="topology")


@group.callback()
def _topology() -> None:
    """Remove bindings and exchanges that an app does not declare any more."""


@command(group, "prune")
def prune(
    options: CommonOptions,
    *,
    exchanges: Annotated[
        list[str] | None,
        typer.Option(
            "--exchange",
            metavar="NAME",
            help="Remove this exchange too; may be repeated.",
            autocompletion=completion.exchanges,
        ),
    ] = None,
    retired: Annotated[
        str,
        typer.Option("--retired", metavar="APP", help="Instead, all bindings of this app, which runs no more."),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove it; without it only show it.")] = False,
) -> None:
    """Show the bindings in the store that the app of --app declared and does not declare any more; --yes removes them.

    --retired names an app whose code is gone; its queues get copies until its bindings are removed.

    An exchange has no owner: one that nothing is bound to is removed only if it is named with --exchange.
    """
    access = find_store(options)
    declared, wanted = _declared(access, retired), exchanges or []
    known, found, removed = on_store(access, lambda store: _prune(store, declared, wanted, yes=yes), bridged=True)
    if retired and not found.bindings:
        show.note(f"outlast: {clean(retired)}: {_unknown_app(retired, known)}")
        raise typer.Exit(NOT_FOUND)
    named = [name for name in found.exchanges if name in wanted]
    if options.json:
        show.json(
            {
                "bindings": [binding_document(each) for each in found.bindings],
                "exchanges": found.exchanges,
                "bound": found.bound,
                "removed": removed,
            }
        )
    else:
        _show(known, found, named, removed if yes else None, app=declared.app)
    refused = [name for name in wanted if name not in named]
    for name in refused:
        show.note(f"outlast: {clean(name)}: {_why_not(name, known, declared, found)}")
    if refused:
        unknown = not {each.name for each in known.exchanges} & set(refused)
        raise typer.Exit(NOT_FOUND if unknown else FAILED)


def _declared(access: StoreAccess, retired: str) -> Topology:
    """Return what stays: what the app of --app declares, nothing of an app that has retired."""
    from outlast.core.topology import Topology

    if not retired:
        if access.app is None:
            raise ConfigurationError(
                "topology prune: give --app module:name: what that app declares stays; or --retired NAME for an app "
                "whose code is gone"
            )
        return declared_topology(access)
    if access.app is not None and access.app.name == retired:
        raise ConfigurationError(f"topology prune: --retired {retired}: it is the app of --app: leave one of them out")
    return Topology(app=retired)


def _unknown_app(name: str, known: Bindings) -> str:
    """Return that an app has no bindings in the store, and which apps have some."""
    apps = ", ".join(sorted({repr(each.app) for each in known.bindings})) or "none"
    return f"no app of this name has bindings in the store (those that have: {apps})"


async def _prune(store: Store, declared: Topology, wanted: list[str], *, yes: bool) -> tuple[Bindings, Undeclared, int]:
    """Return what the store has, what of it is not declared, and how much was removed."""
    from outlast.admin.exchanges import prune, undeclared_of

    known = await store.exchanges.bindings()
    found = undeclared_of(known, declared)
    return known, found, await prune(store, found, wanted) if yes else 0


def _show(known: Bindings, found: Undeclared, named: list[str], removed: int | None, *, app: str) -> None:
    """Print what is not declared, and what was removed; None: nothing was to be removed."""
    types = {each.name: each.type for each in known.exchanges}
    rows: list[list[show.Cell]] = [
        ["binding", each.exchange, each.queue, binding_text(types[each.exchange], each)] for each in found.bindings
    ]
    rows += [["exchange", name, "-", "-"] for name in named]
    if rows:
        show.table(("", "exchange", "queue", "binding"), rows, empty="")
    for name in found.exchanges:
        if name not in named:
            show.note(
                f"outlast: nothing else is bound to exchange {name!r}: if no app publishes to it, remove it too with "
                f"--exchange {name}"
            )
    for name, apps in found.bound.items():
        others = ", ".join(each or "(an app without a name)" for each in apps)
        show.note(
            f"outlast: exchange {name!r} is declared with other settings than the store has, and stays while it has "
            f"bindings of: {others}"
        )
    if removed is not None and rows:
        show.say(f"{removed} removed")
    elif rows:
        show.note("outlast: nothing was removed: add --yes")
    else:
        show.say(f"app {app!r} declares all bindings that it has in the store")


def _why_not(name: str, known: Bindings, declared: Topology, found: Undeclared) -> str:
    """Return why an exchange that was named is not removed."""
    stored = {each.name: each for each in known.exchanges}
    if name not in stored:
        return unknown_exchange(name, list(stored))
    if stored[name] in declared.exchanges:
        return "the app declares it: remove it from the code first"
    others = [each for each in known.bindings if each.exchange == name and each not in found.bindings]
    return f"other apps use it: they have {counted(len(others), 'binding')} to it in the store"
