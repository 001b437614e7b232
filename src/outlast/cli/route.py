"""`outlast route`: where an event would go, and why each binding takes it or does not. Nothing is published."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from outlast.cli import completion
from outlast.cli.common_options import CommonOptions, command
from outlast.cli.exchanges import unknown_exchange
from outlast.cli.output import show
from outlast.cli.output.bindings import binding_document, binding_text
from outlast.cli.store_access import declared_topology, find_store, on_store, remark_on_bridge
from outlast.core.errors import ConfigurationError, StoreMissing
from outlast.core.exchanges.checks import checked_event_headers, checked_event_key
from outlast.core.exchanges.values import Bindings
from outlast.core.exitcodes import NOT_FOUND
from outlast.core.text import clean, counted

if TYPE_CHECKING:
    from outlast.admin.access import StoreAccess
    from outlast.admin.exchanges import Route
    from outlast.core.exchanges.explain import Explanation

__all__ = ["register"]

_HEADS = ("queue", "copy", "binding", "why")


def register(root: typer.Typer) -> None:
    """Add the command."""
    command(root, "route", short_help="Show where an event would go, and why.")(route)


def route(
    options: CommonOptions,
    *,
    exchange: Annotated[str, typer.Argument(metavar="EXCHANGE", autocompletion=completion.exchanges)],
    key: Annotated[str, typer.Argument(metavar="KEY", help="The routing key; empty by default.")] = "",
    headers: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            "-H",
            metavar="NAME=VALUE",
            help="A header of the event; may be repeated. A JSON number, true, false and null are that, all else text.",
        ),
    ] = None,
) -> None:
    """Show which queues would get a copy of an event, and why each binding takes it or does not. Publishes nothing."""
    plain_key = checked_event_key(exchange, key)
    plain_headers = checked_event_headers(exchange, _headers_of(headers or []))
    access = find_store(options)
    known = _bindings(access)
    names = [each.name for each in known.exchanges]
    if exchange not in names:
        show.note(f"outlast: {clean(exchange)}: {unknown_exchange(exchange, names)}")
        raise typer.Exit(NOT_FOUND)
    from outlast.admin.exchanges import route_of

    found = route_of(known, exchange, plain_key, plain_headers)
    if options.json:
        show.json(_document(found, plain_key, plain_headers))
        return
    if found.why:
        show.table(_HEADS, (_row(found, each) for each in found.why), empty="")
    copies = f"{counted(len(found.queues), 'queue')}: {', '.join(found.queues)}" if found.queues else "no queue"
    show.line((copies, "bold"), "" if found.queues else f": it would be {found.fate}")
    remark_on_bridge(access)


def _bindings(access: StoreAccess) -> Bindings:
    """Return what the store has; what the app declares, with a remark, if there is no store yet."""
    try:
        return on_store(access, lambda store: store.exchanges.bindings())
    except StoreMissing:
        declared = declared_topology(access)
        if not declared.exchanges:
            raise
        show.note(f"outlast: no store at {access.shown} yet: this is by the declaration of the app")
        return Bindings(0, declared.exchanges, declared.bindings)


def _headers_of(pairs: list[str]) -> dict[str, Any]:
    """Return `name=value` pairs by name; raise ConfigurationError that names the pair."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not (equals and name):
            raise ConfigurationError(f"--header {pair}: give NAME=VALUE")
        if name in values:
            raise ConfigurationError(f"--header {pair}: {name} is given twice")
        values[name] = _value(text)
    return values


def _value(text: str) -> Any:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return text if isinstance(value, list | dict) else value


def _row(route: Route, explanation: Explanation) -> list[show.Cell]:
    taken = explanation.matches and not explanation.repeated
    return [
        explanation.binding.queue,
        ("yes", "green") if taken else "-",
        binding_text(route.exchange.type, explanation.binding),
        explanation.why,
    ]


def _document(route: Route, key: str, headers: dict[str, Any]) -> dict[str, Any]:
    return {
        "exchange": route.exchange.name,
        "type": route.exchange.type,
        "unroutable": route.exchange.unroutable,
        "key": key,
        "headers": headers,
        "queues": route.queues,
        "bindings": [
            {
                **binding_document(each.binding),
                "matches": each.matches,
                "copy": each.matches and not each.repeated,
                "why": each.why,
            }
            for each in route.why
        ],
    }
