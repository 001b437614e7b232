"""Exchanges, bindings and events: what an app declares, what a store keeps, and what is published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Raw, Struct, field

from outlast.core.policy import Priority
from outlast.core.settlement import Published

__all__ = ["Binding", "Bindings", "Copy", "Exchange", "ExchangeEvent", "ExchangeType", "HeaderValue", "Routed"]

ExchangeType = Literal["direct", "topic", "fanout", "headers"]
HeaderValue = str | int | float | bool | None
"""A header of an event, or of a binding to a headers exchange."""


class Exchange(Struct, frozen=True, kw_only=True):
    """An exchange. unroutable: what becomes of an event that no binding takes: it is refused, or kept in a queue.

    The queue that keeps it is `<name>-unroutable`.
    """

    name: str
    type: ExchangeType = "topic"
    unroutable: Literal["refuse", "keep"] = "refuse"


class Binding(Struct, frozen=True, kw_only=True):
    """One binding of a queue to an exchange. A queue gets one copy of an event, however many bindings take it.

    kind: the wire kind of the job that a copy is; parameter: its argument that is the event, redacted: whether it must
    not be shown. key: of a direct or topic exchange. arguments: of a headers exchange, with its "x-match". app: the app
    that declared it. priority, expires (seconds): those that the job declares. aliases: former names of its kind.
    """

    exchange: str
    queue: str
    kind: str
    parameter: str
    key: str = ""
    arguments: Mapping[str, HeaderValue] = field(default_factory=dict)
    app: str = ""
    priority: Priority = "normal"
    expires: float | None = None
    redacted: bool = False
    aliases: tuple[str, ...] = ()


class Bindings(Struct, frozen=True):
    """All exchanges and bindings of a store. version: changes with each change, and never comes back."""

    version: int = 0
    exchanges: tuple[Exchange, ...] = ()
    bindings: tuple[Binding, ...] = ()


class ExchangeEvent(Struct, frozen=True, kw_only=True, gc=False):
    """One event that is published to an exchange. id: repeating it publishes no second copy. body: JSON.

    at: wall time in seconds. expires_at: the latest start of each copy. redacted: its type says that it must not be
    shown. own: by queue and name of the kind, the binding as the publisher's own release declares it
    (`Registry.own_bindings`).
    """

    id: str
    exchange: str
    key: str
    body: Raw
    at: float
    headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    expires_at: float | None = None
    redacted: bool = False
    own: Mapping[tuple[str, str], Binding] = field(default_factory=dict)


class Copy(Struct, frozen=True):
    """The copy of an event for one queue: the id of its job, what the store answered, and the wire kind of the job."""

    queue: str
    id: str
    answer: Published
    kind: str = ""


class Routed(Struct, frozen=True):
    """What became of one event: a copy for each queue that is bound to it, in the order of their names.

    No copies: it was not routable, and nothing was stored. kept: the one copy is in the queue that keeps what no
    binding takes. native: a server routes the events itself, and does not say to which queues; it confirmed this one.
    """

    copies: tuple[Copy, ...] = ()
    kept: bool = False
    native: bool = False
