"""`outlast exchanges`: show the exchanges, and what is bound to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from outlast.cli import completion
from outlast.cli.common_options import CommonOptions, command
from outlast.cli.output import show
from outlast.cli.output.bindings import binding_document, binding_text
from outlast.cli.store_access import declared_topology, find_store, on_store, remark_on_bridge
from outlast.core.errors import StoreMissing
from outlast.core.exchanges.values import Binding, Bindings, ExchangeType
from outlast.core.exitcodes import NOT_FOUND
from outlast.core.text import clean, counted

if TYPE_CHECKING:
    from outlast.admin.access import StoreAccess
    from outlast.admin.exchanges import ExchangeStatus

__all__ = ["register", "unknown_exchange"]

_HEADS: Final = ("exchange", "type", "bindings", "queues", "unroutable", "")
_BOUND: Final = ("exchange", "queue", "binding", "kind", "app")


def register(root: typer.Typer) -> None:
    """Add the command."""
    command(root, "exchanges", short_help="Show the exchanges, and what is bound to them.")(exchanges)


def exchanges(
    options: CommonOptions,
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="Only these, with each of their bindings.", autocompletion=completion.exchanges
        ),
    ] = None,
) -> None:
    """Show every exchange: its type, its bindings and queues, and what becomes of events that no binding takes."""
    access = find_store(options)
    known, absent = _statuses(access)
    found = [each for each in known if not names or each.exchange.name in names]
    if options.json:
        show.json({"exchanges": [_document(each) for each in found]})
    elif names and found:
        rows = [_bound(each.exchange.type, binding) for each in found for binding in each.bindings]
        show.table(_BOUND, rows, empty="nothing is bound to it" if len(found) == 1 else "nothing is bound to them")
    elif not names:
        show.table(
            _HEADS,
            (_row(each, asked=access.app is not None) for each in found),
            empty=f"no exchanges in {access.shown}: an app that declares one adds it when it opens the store",
        )
    if not options.json:
        remark_on_bridge(access)
    if absent is not None:
        raise absent
    missing = [name for name in names or () if all(each.exchange.name != name for each in found)]
    for name in missing:
        show.note(f"outlast: {clean(name)}: {unknown_exchange(name, [each.exchange.name for each in known])}")
    if missing:
        raise typer.Exit(NOT_FOUND)


def unknown_exchange(name: str, known: list[str]) -> str:
    """Return why there is no such exchange, and what to do."""
    from outlast.admin.guards import nearest

    near = nearest(name, known)
    if near:
        return f"no exchange of this name, did you mean {near!r}?"
    return "no exchange of this name: an app that declares it adds it when it opens the store"


def _statuses(access: StoreAccess) -> tuple[list[ExchangeStatus], StoreMissing | None]:
    """Return the exchanges; those of the app alone, and the error, if there is no store yet."""
    from outlast.admin.exchanges import exchanges_of, statuses_of

    declared = declared_topology(access)
    try:
        return on_store(access, lambda store: exchanges_of(store, declared)), None
    except StoreMissing as error:
        if not declared.exchanges:
            raise
        return statuses_of(Bindings(), declared, {}), error


def _row(status: ExchangeStatus, *, asked: bool) -> list[show.Cell]:
    queues = status.queues
    return [
        status.exchange.name,
        status.exchange.type,
        len(status.bindings),
        ", ".join(queues) or "-",
        f"kept: {status.kept}" if status.exchange.unroutable == "keep" else "refused",
        (", ".join(_remarks(status, asked=asked)), "bold yellow"),
    ]


def _remarks(status: ExchangeStatus, *, asked: bool) -> list[str]:
    """Return what is not as it should be. asked: whether an app was named."""
    remarks = []
    if status.stored is None:
        remarks.append("not in the store yet")
    elif status.declared is not None and status.declared != status.stored:
        remarks.append(
            f"declared with type={status.declared.type!r}, unroutable={status.declared.unroutable!r}: "
            f"outlast topology prune --exchange {status.exchange.name} removes the stored one"
        )
    elif asked and status.declared is None:
        remarks.append("not declared by this app")
    if status.stored is not None and not status.bindings:
        remarks.append("nothing is bound to it")
    if status.stored is not None and status.new:
        remarks.append(f"{counted(len(status.new), 'binding')} of the app not in the store yet")
    return remarks


def _bound(type_: ExchangeType, binding: Binding) -> list[show.Cell]:
    return [binding.exchange, binding.queue, binding_text(type_, binding), binding.kind, binding.app or "-"]


def _document(status: ExchangeStatus) -> dict[str, Any]:
    return {
        "name": status.exchange.name,
        "type": status.exchange.type,
        "unroutable": status.exchange.unroutable,
        "kept": status.kept,
        "queues": status.queues,
        "bindings": [binding_document(each) for each in status.bindings],
        "stored": status.stored is not None,
        "declared": status.declared is not None,
        "new": [binding_document(each) for each in status.new],
    }
