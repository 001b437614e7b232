"""Exchanges of an app: `orders = shop.exchange("orders")`, bindings for its jobs, and the events that it publishes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack

from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.core.exchanges.checks import checked_binding, checked_exchange
from outlast.core.exchanges.declared import DeclaredBinding
from outlast.core.exchanges.values import Exchange, ExchangeEvent, ExchangeType, HeaderValue
from outlast.core.text import shown
from outlast.declare.options import EventOptions
from outlast.enqueue.job import AppLink, JobApp

if TYPE_CHECKING:
    from outlast.enqueue.published import PublishedEvent

__all__ = ["EventExchange", "Exchanging", "Match"]

Match = Literal["all", "any", "all-with-x", "any-with-x"]
"""How many headers of a binding an event must have; headers that begin with `x-` count only with `-with-x`."""


class EventExchange:
    """A declared exchange. Each queue that is bound to it gets a copy of an event, as a job with its own retries."""

    def __init__(self, exchange: Exchange, app_link: AppLink) -> None:
        self.exchange: Final = exchange
        self._app_link = app_link

    @property
    def name(self) -> str:
        """The name."""
        return self.exchange.name

    @property
    def type(self) -> ExchangeType:
        """How it finds the queues of an event."""
        return self.exchange.type

    @property
    def _app(self) -> JobApp:
        app = self._app_link.app
        if app is None:
            raise ConfigurationError(
                f"exchange {self.name!r} belongs to a JobRouter that no app includes: call shop.include(router)"
            )
        return app

    def binding(
        self, key: str | None = None, *, headers: Mapping[str, HeaderValue] | None = None, match: Match = "all"
    ) -> DeclaredBinding:
        """Return which events a job gets: `@shop.job(on=orders.binding("order.*.paid"))`. Does no I/O.

        key: of a direct exchange, the routing key; of a topic exchange a pattern of words between dots, in which `*` is
        one word and `#` any number of them. headers: of a headers exchange, those that an event must have, all or any
        of them by `match`; a value None asks only for the name. A fanout exchange takes neither. Raise
        ConfigurationError for what does not fit the type.
        """
        owner = f"binding to {self.type} exchange {self.name!r}"
        if key is None and self.type in ("direct", "topic"):
            example = "order.*.paid" if self.type == "topic" else "paid"
            raise ConfigurationError(f"{owner}: give the routing key: {self.name}.binding({example!r})")
        if headers is None and self.type == "headers":
            raise ConfigurationError(f"{owner}: give the headers: {self.name}.binding(headers={{'vip': True}})")
        if match != "all" and self.type != "headers":
            raise ConfigurationError(f"{owner}: match={shown(match)} is only for exchanges with type='headers'")
        arguments: object = headers
        if self.type == "headers" and isinstance(headers, Mapping):
            if "x-match" in headers:
                raise ConfigurationError(f"{owner}: give match={headers['x-match']!r} instead of a header 'x-match'")
            arguments = {**headers, "x-match": match}
        checked_key, checked_arguments = checked_binding(self.exchange, "" if key is None else key, arguments)
        return DeclaredBinding(self.exchange, checked_key, checked_arguments)

    def event(self, key: str, event: object, **options: Unpack[EventOptions]) -> ExchangeEvent:
        """Return the checked event of a call, for `publish_many`. Nothing is stored. Raise as `publish` does."""
        return self._app.compose_event(self.name, key, event, options)

    async def publish(self, key: str, event: object, **options: Unpack[EventOptions]) -> PublishedEvent:
        """Store a copy of an event for each bound queue that takes it; return the handles of the copies by queue.

        key: the routing key, "" for a fanout or headers exchange. event: a model, a dataclass or plain data, which each
        handler gets as the type that it declares. options: headers, which are also in `ctx.headers` of the handlers as
        text; id of the event, with which publishing it again completes it and stores nothing twice; expires: see
        `outlast.declare.options.EventOptions`.

        Raise EventUnroutable when no binding takes it, and nothing was stored; EventIncomplete when queues were full:
        the copies of the others are stored then. Raise InvalidArguments, InvalidEvent for a key or headers that do not
        fit, BodyTooLarge, ConfigurationError, StoreError; EnqueueUnknown when the store did not answer in time:
        publishing again with the same id is safe.
        """
        made = self.event(key, event, **options)
        return (await self._app.publish_events([made]))[0]

    def publish_sync(self, key: str, event: object, **options: Unpack[EventOptions]) -> PublishedEvent:
        """Publish from blocking code; raise WrongThread on a thread that runs an event loop, else as `publish` does."""
        made = self.event(key, event, **options)
        return self._app.publish_events_sync([made])[0]

    async def publish_many(self, events: Iterable[ExchangeEvent]) -> list[PublishedEvent]:
        """Publish events of this exchange (`orders.event(...)`), many in one step; return their results in order.

        All events are published; then raise the first error, as `publish` does. It has `stored`, the ids of the copies
        that are stored, and `unstored`, the events that are not, or not known to be in all their queues. An event keeps
        its id, so that the same events may be published again.
        """
        try:
            given = iter(events)
        except TypeError:
            raise InvalidArguments(
                f"publish_many: {shown(events)} is not an iterable of events: give {self.name}.event(key, event) for "
                "each one, and collect an async iterable in a list"
            ) from None
        made: list[Any] = list(given)
        for index, each in enumerate(made):
            if not isinstance(each, ExchangeEvent) or each.exchange != self.name:
                raise InvalidArguments(
                    f"publish_many: event {index}: {shown(each)} is not an event of exchange {self.name!r}: give "
                    f"{self.name}.event(key, event)"
                )
        return await self._app.publish_events(made)

    def __repr__(self) -> str:
        return f"EventExchange({self.name!r}, type={self.type!r})"


class Exchanging(ABC):
    """The base of app and router that has `exchange`."""

    _app_link: AppLink

    @abstractmethod
    def _declare_exchange(self, exchange: Exchange) -> None:
        """Keep an exchange."""

    def exchange(
        self,
        name: str,
        *,
        type: ExchangeType = "topic",  # noqa: A002 - as RabbitMQ calls it
        unroutable: Literal["refuse", "keep"] = "refuse",
    ) -> EventExchange:
        """Declare an exchange, which gives each bound queue a copy of an event. Does no I/O.

        type: "topic" compares the words of the routing key with patterns, "direct" the whole key, "headers" the
        headers, "fanout" nothing: every bound queue takes every event. unroutable: an event that no binding takes is
        refused (EventUnroutable), or kept as a job in the queue `<name>-unroutable`. Another app on the same store may
        declare the same exchange, with the same settings. Raise ConfigurationError.
        """
        exchange = checked_exchange(name, type, unroutable)
        self._declare_exchange(exchange)
        return EventExchange(exchange, self._app_link)
