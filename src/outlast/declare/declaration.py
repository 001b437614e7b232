"""What the job decorator was given, checked, and the declaration that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, structs

from outlast.core.durations import Duration, seconds
from outlast.core.errors import ConfigurationError
from outlast.core.ids import fits
from outlast.core.kinds import KIND_NAME, Upgrade, check_aliases, check_upgrades
from outlast.core.policy import Policy, Priority, Retry
from outlast.core.registry import Declaration, Mode
from outlast.core.unique import OnConflict, Unique
from outlast.declare.arguments import Arguments, check_template
from outlast.declare.options import check_conflict, check_priority
from outlast.declare.signature import check_importable, read

if TYPE_CHECKING:
    from outlast.declare.context import Middleware

__all__ = ["Declared", "check_isolate", "check_retry", "declaration_of", "positive"]


class Declared(Struct, frozen=True, kw_only=True):
    """The options of the decorator, checked once for however many handlers it is put on."""

    kind: str | None
    queue: str
    policy: Policy
    priority: Priority
    expires: float | None
    key: str | Callable[..., str | None] | None
    unique: bool | str | Callable[..., str | None] | None
    unique_until: Literal["start", "finish"]
    unique_seconds: float | None
    on_conflict: OnConflict
    isolated: bool
    version: int
    aliases: Iterable[str]
    upgrades: Mapping[int, Upgrade] | None


def positive(value: Duration, setting: str) -> float:
    """Return a duration in seconds; raise ConfigurationError for none, naming `setting`."""
    number = seconds(value, setting)
    if number == 0:
        raise ConfigurationError(f"{setting}={value!r}: give more than 0 seconds, or None for none")
    return number


def check_retry(retry: object) -> Retry:
    """Return the rule, or the default one; raise ConfigurationError for what is none."""
    if retry is None:
        return Retry()
    if not isinstance(retry, Retry):
        raise ConfigurationError(f"retry={retry!r}: give Retry(attempts=...), or None for the defaults")
    return retry


def check_isolate(isolate: str | None) -> bool:
    """Tell whether a process of its own is wanted; raise ConfigurationError for another word."""
    if isolate not in (None, "process"):
        raise ConfigurationError(f"isolate={isolate!r}: give 'process' or None")
    return isolate == "process"


def declaration_of(
    function: Callable[..., Any], declared: Declared, around: Sequence[Middleware]
) -> tuple[Declaration, Arguments]:
    """Check a handler against its options; return what the registry keeps of it. Raise ConfigurationError."""
    signature = read(function)
    kind = function.__name__ if declared.kind is None else declared.kind
    where = f"job {kind!r}"
    if not fits(KIND_NAME, kind):
        raise ConfigurationError(f"{where}: a kind is 1 to 128 letters, digits or _ . -; name it with kind=...")
    aliases = check_aliases(kind, declared.aliases)
    upgrades = check_upgrades(kind, declared.version, declared.upgrades)
    mode: Mode = "process" if declared.isolated else "async" if signature.is_async else "thread"
    if declared.isolated:
        check_importable(function)
    if signature.needs:
        from outlast.declare.dependencies import graph

        graph(signature.needs, where=where, on_loop=signature.is_async)
    check_priority(declared.priority)
    for name, rule in (("key", declared.key), ("unique", declared.unique)):
        if rule == "" or not isinstance(rule, str | Callable | bool | None):
            raise ConfigurationError(f"{where}: {name}={rule!r}: give text or a callable")
    if isinstance(declared.key, str) and declared.key not in signature.names:
        raise ConfigurationError(
            f"{where}: key={declared.key!r} names no parameter; there are {', '.join(signature.names) or 'none'}"
        )
    unique = "" if declared.unique is True else declared.unique or None
    if isinstance(unique, str) and unique:
        check_template(unique, signature, f"{where}: unique")
    if unique is None and (declared.unique_seconds, declared.unique_until, declared.on_conflict) != (
        None,
        "finish",
        "existing",
    ):
        raise ConfigurationError(f"{where}: unique_until=, unique_for= and on_conflict= need unique=")
    check_conflict(declared.on_conflict)
    Unique("-", declared.unique_until, declared.unique_seconds)
    declaration = Declaration(
        kind=kind,
        handler=function,
        mode=mode,
        takes_context=signature.takes_context,
        needs=signature.needs,
        middleware=around,
        unique=unique,
        aliases=aliases,
        upgrades=upgrades,
        **{
            name: value
            for name, value in structs.asdict(declared).items()
            if name not in ("kind", "unique", "isolated", "aliases", "upgrades")
        },
    )
    return declaration, Arguments(function, kind=kind, takes_context=signature.takes_context)
