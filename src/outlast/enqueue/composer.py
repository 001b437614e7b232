"""A Composer makes messages from calls, with the declarations and settings of an app. It needs no store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from msgspec import Raw

from outlast.brokers.registry import find_kind
from outlast.core.bounds import LAST_MOMENT
from outlast.core.clock import Clock
from outlast.core.errors import BodyTooLarge
from outlast.core.exchanges.checks import checked_event_headers, checked_event_key
from outlast.core.exchanges.values import ExchangeEvent
from outlast.core.ids import IdFactory, checked_event_id, job_id
from outlast.core.message import Message
from outlast.core.policy import seconds
from outlast.core.registry import Declaration, Registry
from outlast.core.store.features import ALL_FEATURES, Features, check_feature, check_messages
from outlast.core.tracing import Tracing
from outlast.core.urls import redact_url
from outlast.declare.arguments import Arguments
from outlast.declare.event_body import event_body
from outlast.declare.options import NO_OPTIONS, EventOptions, Options, check_names, positive
from outlast.enqueue.keys import key_of, unique_of
from outlast.resilience.deadlines import remaining
from outlast.settings import Settings
from outlast.toolkit.objects.claims import Claims
from outlast.toolkit.objects.places import objects_url

__all__ = ["Composer"]

_shared_rng: Final = Random()  # noqa: S311 - ids must be unique, not secret
if hasattr(os, "register_at_fork"):
    # With the same state, a forked child would make the same ids as its parent.
    os.register_at_fork(after_in_child=_shared_rng.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Composer:
    """Makes messages on any thread; needs no store and no event loop."""

    app_name: str
    settings: Settings
    registry: Registry
    clock: Clock
    arguments: Mapping[str, Arguments]
    rng: Random = _shared_rng
    ids: IdFactory = field(default_factory=IdFactory)
    features: Features = field(init=False)
    """What the store of the settings offers."""
    latest: list[Message | None] = field(default_factory=lambda: [None])
    """The message that was made last: `enqueue_many` need not check what comes directly from here."""
    tracing: Tracing | None = None
    given_claims: Claims | None = None
    claims: Claims = field(init=False)
    """Where large arguments and results go: what was given, else one by the settings."""

    def __post_init__(self) -> None:
        kind = find_kind(self.settings.url)  # an unknown one is refused when the store is opened
        object.__setattr__(self, "features", ALL_FEATURES if kind is None else kind.features)
        object.__setattr__(self, "claims", self.given_claims or self._claims())

    def _claims(self) -> Claims:
        settings = self.settings
        return Claims(
            objects_url(settings.objects_url, settings.url),
            clock=self.clock,
            timeout=settings.objects_timeout,
            over=settings.objects_over,
            keep=settings.objects_keep,
        )

    def check_progress(self) -> None:
        """Raise ConfigurationError where the store keeps no progress of jobs."""
        check_feature("progress", "ctx.progress", self.features, redact_url(self.settings.url))

    def check_once(self) -> None:
        """Raise ConfigurationError where the store keeps no results of effects."""
        check_feature("once", "ctx.once", self.features, redact_url(self.settings.url))

    def message(
        self,
        declaration: Declaration,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        options: Options = NO_OPTIONS,
    ) -> Message:
        """Return the message of a call, validated and encoded, with its id. Nothing is stored.

        Raise InvalidArguments, BodyTooLarge, or ConfigurationError for an option that does not fit the kind or the
        store.
        """
        kind, queue = declaration.wire, declaration.queue
        arguments = self.arguments[kind]
        values = arguments.validate(args, kwargs or {})
        body = arguments.encode(values)
        if len(body) > self.settings.max_body:
            raise BodyTooLarge(kind, len(body), self.settings.max_body)
        now = self.clock.time()
        if options is NO_OPTIONS:
            own_id, run_at, priority, expires = None, now, declaration.priority, declaration.expires
            key = None if declaration.key is None else key_of(declaration, arguments, values, options)
            unique = None if declaration.unique is None else unique_of(declaration, arguments, values, body, options)
        else:
            own_id, run_at = options.id, options.due(now)
            priority = options.priority or declaration.priority
            expires = declaration.expires if options.expires is None else seconds(options.expires, "expires")
            key = key_of(declaration, arguments, values, options)
            unique = unique_of(declaration, arguments, values, body, options)
        max_wait = self.registry.max_wait(declaration)
        if options.max_wait is not None:
            max_wait = seconds(options.max_wait, "max_wait")
        expires_at = None if expires is None else min(run_at + expires, LAST_MOMENT)
        if declaration.inherit_deadline and (left := remaining()) is not None:
            expires_at = now + left if expires_at is None else min(expires_at, now + left)
        message = self.latest[0] = Message(
            id=self.ids.new(queue, now, self.rng.getrandbits(62)) if own_id is None else job_id(queue, own_id),
            queue=queue,
            kind=kind,
            args=Raw(body),
            enqueued_at=now,
            run_at=run_at,
            priority=priority,
            key=key,
            unique=unique,
            expires_at=expires_at,
            max_wait=max_wait,
            headers=options.headers,
            redacted=arguments.redacted,
        )
        if self.features is not ALL_FEATURES:
            check_messages((message,), self.features, redact_url(self.settings.url))
        return message

    def event(self, exchange: str, key: str, event: object, options: EventOptions) -> ExchangeEvent:
        """Return an event, checked and encoded, with its id. Nothing is stored.

        Raise InvalidArguments, BodyTooLarge, InvalidEvent for a key or headers, ConfigurationError for another option.
        """
        check_names(options, EventOptions.__optional_keys__, "publish")
        own_id, expires = options.get("id"), options.get("expires")
        body, redacted = event_body(exchange, event)
        if len(body) > self.settings.max_body:
            raise BodyTooLarge(exchange, len(body), self.settings.max_body, what="event for exchange")
        now = self.clock.time()
        return ExchangeEvent(
            id=self.ids.new_event(now, self.rng.getrandbits(62)) if own_id is None else checked_event_id(own_id),
            exchange=exchange,
            key=checked_event_key(exchange, key),
            body=body,
            at=now,
            headers=checked_event_headers(exchange, options.get("headers")),
            expires_at=None if expires is None else min(now + positive(expires, "expires"), LAST_MOMENT),
            redacted=redacted,
            own=self.registry.own_bindings(exchange),
        )
