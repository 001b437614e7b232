"""A Composer makes messages from calls, with the declarations and settings of an app. It needs no store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from msgspec import Raw, structs

from outlast.core.bounds import KEY_LIMIT, LAST_MOMENT, check_text
from outlast.core.clock import Clock
from outlast.core.errors import BodyTooLarge, ConfigurationError, InvalidArguments
from outlast.core.ids import IdFactory, job_id
from outlast.core.message import Message
from outlast.core.policy import seconds
from outlast.core.registry import Declaration, Registry
from outlast.core.unique import Unique
from outlast.declare.arguments import Arguments
from outlast.declare.options import NO_OPTIONS, Options
from outlast.declare.signature import template_names
from outlast.settings import Settings

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

    def message(
        self,
        declaration: Declaration,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        options: Options = NO_OPTIONS,
    ) -> Message:
        """Return the message of a call, validated and encoded, with its id. Nothing is stored.

        Raise InvalidArguments, BodyTooLarge, or ConfigurationError for an option that does not fit the kind.
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
            key = None if declaration.key is None else _key(declaration, arguments, values, options)
            unique = None if declaration.unique is None else _unique(declaration, arguments, values, options)
        else:
            own_id, run_at = options.id, options.due(now)
            priority = options.priority or declaration.priority
            expires = declaration.expires if options.expires is None else seconds(options.expires, "expires")
            key = _key(declaration, arguments, values, options)
            unique = _unique(declaration, arguments, values, options)
        return Message(
            id=self.ids.new(queue, now, self.rng.getrandbits(62)) if own_id is None else job_id(queue, own_id),
            queue=queue,
            kind=kind,
            args=Raw(body),
            enqueued_at=now,
            run_at=run_at,
            priority=priority,
            key=key,
            unique=unique,
            expires_at=None if expires is None else min(run_at + expires, LAST_MOMENT),
            headers=options.headers,
            redacted=arguments.redacted,
        )


def _key(declaration: Declaration, arguments: Arguments, values: dict[str, Any], options: Options) -> str | None:
    if options.key is not None:
        return options.key
    rule = declaration.key
    if rule is None:
        return None
    if callable(rule):
        value: object = rule(**arguments.complete(values))
    else:
        if rule in arguments.redacted:
            raise ConfigurationError(f"job {declaration.kind!r}: key={rule!r} would show a redacted argument")
        value = arguments.complete(values)[rule]
    if value is None:
        return None
    text = str(value)
    if len(text) > KEY_LIMIT:
        raise InvalidArguments(f"{declaration.kind}: its key has {len(text)} characters: make it at most {KEY_LIMIT}")
    check_text(text, f"{declaration.kind}: its key")
    return text


def _unique(declaration: Declaration, arguments: Arguments, values: dict[str, Any], options: Options) -> Unique | None:
    on_conflict = options.on_conflict or declaration.on_conflict
    if isinstance(options.unique, Unique):
        replace = on_conflict == "replace" or (options.on_conflict is None and options.unique.replace)
        return options.unique if replace == options.unique.replace else structs.replace(options.unique, replace=replace)
    text = options.unique
    if text is None:
        rule = declaration.unique
        if rule is None:
            if options.on_conflict == "replace":
                raise ConfigurationError(
                    f"job {declaration.kind!r}: on_conflict='replace' needs a unique key: give unique="
                )
            return None
        if callable(rule):
            text = rule(**arguments.complete(values))
        else:
            _check_shown(declaration, rule, arguments)
            if rule:
                text = rule.format_map(arguments.complete(values))
            else:
                text = f"{declaration.kind}:{arguments.fingerprint(values)}"
        if text is None:
            return None
    if not 1 <= len(text) <= KEY_LIMIT:
        raise InvalidArguments(
            f"{declaration.kind}: its unique key has {len(text)} characters: make it 1 to {KEY_LIMIT}"
        )
    return Unique(text, declaration.unique_until, declaration.unique_seconds, on_conflict == "replace")


def _check_shown(declaration: Declaration, rule: str, arguments: Arguments) -> None:
    """Raise ConfigurationError for a unique key that shows a redacted argument; a hash of a short one shows it too."""
    if not arguments.redacted:
        return
    named = template_names(rule, "unique") if rule else set(arguments.signature.names)
    if secret := named & set(arguments.redacted):
        raise ConfigurationError(
            f"job {declaration.kind!r}: unique={rule or True!r} would show the redacted {min(secret)!r}: name other "
            "parameters in a template, or give a callable"
        )
