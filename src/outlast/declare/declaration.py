"""Make a declaration from a handler and the options of the job decorator, after a list of checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from outlast.core.bounds import plain_text
from outlast.core.calls import is_async
from outlast.core.durations import Duration, seconds
from outlast.core.errors import ConfigurationError
from outlast.core.exchanges.declared import DeclaredBinding, EventParameter
from outlast.core.guards.needs import guard_names
from outlast.core.ids import check_queue_name, fits
from outlast.core.kinds import KIND_NAME, check_aliases, check_upgrades
from outlast.core.policy import DEFAULTS, Policy, Retry
from outlast.core.registry import Declaration, Mode
from outlast.core.text import shown
from outlast.core.unique import Unique
from outlast.declare.arguments import Arguments
from outlast.declare.options import JobOptions, check_conflict, check_priority, positive
from outlast.declare.signature import Signature, check_importable, read, template_names

if TYPE_CHECKING:
    from outlast.declare.context import Middleware

__all__ = ["declaration_of"]


def declaration_of(
    handler: Callable[..., Any], options: JobOptions, *, default_queue: str, middleware: Sequence[Middleware]
) -> tuple[Declaration, Arguments]:
    """Return the declaration and the arguments of a handler; raise ConfigurationError for the first failed check."""
    signature = read(handler)
    kind = _kind(handler, options)
    where = f"job {kind!r}"
    mode = _mode(handler, signature, options)
    queue = options.get("queue")
    version = options.get("version", 1)
    priority = check_priority(options.get("priority", "normal"))
    _check_dependencies(signature, where)
    _check_key(options, signature, where)
    _check_unique(options, signature, where)
    key, unique = options.get("key"), options.get("unique")
    on = _on(options, signature, where)
    arguments = Arguments(handler, signature, kind=kind)
    declaration = Declaration(
        kind=kind,
        queue=check_queue_name(default_queue if queue is None else queue),
        handler=handler,
        mode=mode,
        takes_context=signature.takes_context,
        policy=_policy(options),
        priority=priority,
        expires=_positive(options.get("expires"), "expires"),
        max_wait=_positive(options.get("max_wait"), "max_wait"),
        key=plain_text(key) if isinstance(key, str) else key,
        unique="" if unique is True else plain_text(unique) if isinstance(unique, str) else unique or None,
        unique_until=options.get("unique_until", "finish"),
        unique_seconds=_positive(options.get("unique_for"), "unique_for"),
        guards=guard_names(options["needs"], where) if "needs" in options else None,
        inherit_deadline=_flag(options.get("inherit_deadline", False), f"{where}: inherit_deadline"),
        on_conflict=check_conflict(options.get("on_conflict", "existing")),
        version=version,
        aliases=check_aliases(kind, options.get("aliases", ())),
        upgrades=check_upgrades(kind, version, options.get("upgrades")),
        needs=signature.needs,
        middleware=middleware,
        on=on,
        event=_event(signature, arguments) if on else None,
    )
    return declaration, arguments


def _kind(handler: Callable[..., Any], options: JobOptions) -> str:
    kind = options.get("kind")
    kind = handler.__name__ if kind is None else kind
    if not fits(KIND_NAME, kind):
        raise ConfigurationError(f"job {kind!r}: a kind is 1 to 128 letters, digits or _ . -; name it with kind=...")
    return plain_text(kind)


def _mode(handler: Callable[..., Any], signature: Signature, options: JobOptions) -> Mode:
    isolate = options.get("isolate")
    if isolate is None:
        return "async" if signature.is_async else "thread"
    if isolate != "process":
        raise ConfigurationError(f"isolate={isolate!r}: give 'process' or None")
    check_importable(handler)
    return "process"


def _policy(options: JobOptions) -> Policy:
    retry = options.get("retry")
    if retry is not None and not isinstance(retry, Retry):
        raise ConfigurationError(f"retry={retry!r}: give Retry(attempts=...), or None for the defaults")
    return Policy(
        retry=retry or Retry(),
        timeout=_positive(options.get("timeout", DEFAULTS.timeout), "timeout"),
        result_ttl=seconds(options.get("result_ttl", DEFAULTS.result_ttl), "result_ttl"),
    )


def _positive(duration: Duration | None, setting: str) -> float | None:
    """Return a duration in seconds, None for None; raise ConfigurationError for 0 or less."""
    return None if duration is None else positive(duration, setting)


def _flag(value: object, setting: str) -> bool:
    if type(value) is not bool:
        raise ConfigurationError(f"{setting}={shown(value)}: give True or False")
    return value


def _check_dependencies(signature: Signature, where: str) -> None:
    if signature.needs:
        from outlast.declare.dependencies import graph

        graph(signature.needs, where=where, on_loop=signature.is_async)


def _check_key(options: JobOptions, signature: Signature, where: str) -> None:
    key: object = options.get("key")
    if key is None:
        return
    if callable(key):
        _check_callable(key, f"{where}: key")
        return
    if not (isinstance(key, str) and key):
        raise ConfigurationError(f"{where}: key={key!r}: give text or a callable")
    if key not in signature.names:
        names = ", ".join(signature.names) or "none"
        raise ConfigurationError(f"{where}: key={key!r} names no parameter; there are {names}")


def _check_unique(options: JobOptions, signature: Signature, where: str) -> None:
    unique = options.get("unique")
    until, on_conflict = options.get("unique_until", "finish"), options.get("on_conflict", "existing")
    if unique is None or unique is False:
        if options.get("unique_for") is not None or (until, on_conflict) != ("finish", "existing"):
            raise ConfigurationError(f"{where}: unique_until=, unique_for= and on_conflict= need unique=")
        return
    if isinstance(unique, str) and unique:
        if unknown := template_names(unique, f"{where}: unique") - set(signature.names):
            names = ", ".join(signature.names) or "none"
            raise ConfigurationError(f"{where}: unique={unique!r}: no parameter {min(unknown)!r}; there are {names}")
    elif callable(unique):
        _check_callable(unique, f"{where}: unique")
    elif unique is not True:
        raise ConfigurationError(f"{where}: unique={unique!r}: give text or a callable")
    Unique("-", until)


_OF_ENQUEUES: Final = ("key", "unique", "max_wait", "inherit_deadline")
"""Options that the process of an enqueue applies. The publisher of an event does not have the job's code."""


def _on(options: JobOptions, signature: Signature, where: str) -> tuple[DeclaredBinding, ...]:
    on: object = options.get("on", ())
    found = (on,) if isinstance(on, DeclaredBinding) else on
    if isinstance(found, str) or not isinstance(found, Sequence):
        raise ConfigurationError(f"{where}: on={shown(on)}: give exchange.binding(...), or a list of them")
    bindings: list[DeclaredBinding] = []
    for each in found:
        if not isinstance(each, DeclaredBinding):
            raise ConfigurationError(f"{where}: on={shown(each)}: give exchange.binding(...), or a list of them")
        bindings.append(each)
    if bindings:
        _check_event_handler(options, signature, where)
    return tuple(bindings)


def _check_event_handler(options: JobOptions, signature: Signature, where: str) -> None:
    required = [name for name in signature.names if name not in signature.defaults]
    if len(required) != 1:
        takes = ", ".join(required) or "none"
        raise ConfigurationError(
            f"{where}: with on= it must take one argument without a default, the event, and it takes {takes}: declare "
            "one parameter for the whole event, such as a model"
        )
    for name in _OF_ENQUEUES:
        if options.get(name) not in (None, False):
            raise ConfigurationError(
                f"{where}: {name}= does not apply to the copies of events, which their publishers make without this "
                f"job's code: leave it out, or enqueue a second job, which has {name}=, from this one"
            )


def _event(signature: Signature, arguments: Arguments) -> EventParameter:
    name = next(name for name in signature.names if name not in signature.defaults)
    return EventParameter(name, lambda: name in arguments.redacted)


def _check_callable(rule: Callable[..., object], setting: str) -> None:
    if is_async(rule):
        raise ConfigurationError(f"{setting}={shown(rule)}: give a plain function: an enqueue does not await it")
