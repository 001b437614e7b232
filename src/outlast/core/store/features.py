"""What a store offers beside carrying jobs, and the refusal of each declaration and each option that needs more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct

from outlast.core.backoff import Constant, Exponential
from outlast.core.errors import ConfigurationError
from outlast.core.ids import GENERATED
from outlast.core.message import Message
from outlast.core.policy import DEFAULTS, Policy
from outlast.core.registry import Registry
from outlast.core.text import shown
from outlast.core.topology import Queue

__all__ = ["ALL_FEATURES", "NEEDS_STORE", "Features", "check_declared", "check_feature", "check_messages", "refusal"]

NEEDS_STORE: Final = "give url='redis://...' (Settings or OUTLAST_URL)"
"""The fix wherever only a store that keeps jobs can help."""


class Features(Struct, frozen=True, kw_only=True):
    """What a store offers to those who declare and enqueue jobs. What it does not offer is refused, never ignored."""

    unique: bool = True
    """Unique keys."""
    ids: bool = True
    """Ids that the client gives: it remembers them, so that the same id is the same job."""
    keys: bool = True
    """Keys: turns between them, and purges by key."""
    priorities: bool = True
    limits: bool = True
    """Limits of queues and keys: concurrency, rates, weights."""
    bounds: bool = True
    """Bounds of queues: depth, bytes, age."""
    retention: bool = True
    """Records and results of ended jobs, kept as declared."""
    forecast: bool = True
    """When a job would begin: `max_wait`."""
    progress: bool = True
    """`ctx.progress`."""
    once: bool = True
    """`ctx.once`."""
    delays: tuple[float, ...] | None = None
    """The delays in seconds that it can keep, shortest first; None: a job may be due at any moment."""


ALL_FEATURES: Final = Features()

_LACKS: Final[Mapping[str, str]] = {
    "unique": "keeps no unique keys",
    "ids": "remembers no ids",
    "keys": "gives no turns to keys and purges nothing by key",
    "priorities": "hands jobs out in one order, without priorities",
    "limits": "limits neither queues nor keys",
    "bounds": "bounds no queue",
    "retention": "keeps no records and no results",
    "forecast": "makes no forecast",
    "progress": "keeps no progress",
    "once": "keeps no results of effects",
}
"""What a store without the feature does or does not do, as `refusal` says it."""


def refusal(subject: str, lack: str, url: str) -> ConfigurationError:
    """Return the error for something (`subject`, "" for a call) that the store of `url` does not offer."""
    return ConfigurationError(f"{subject}{': ' if subject else ''}the store of {url} {lack}: {NEEDS_STORE}")


_SAME: Final = 0.001
"""Seconds by which a delay may differ from one that is kept: both are differences of times of day."""


class _Setting(NamedTuple):
    """A setting, the feature that it needs, and how to tell that it is used."""

    name: str
    feature: str
    used: Callable[[Any], bool]


def _differs(name: str, usual: object = None) -> Callable[[Any], bool]:
    return lambda value: getattr(value, name) != usual


_PLAIN: Final = Queue(name="plain")
_OF_QUEUES: Final = tuple(
    _Setting(name, feature, _differs(name, getattr(_PLAIN, name)))
    for feature, names in (
        ("limits", ("concurrency", "rate", "burst", "per_key", "weights")),
        ("bounds", ("max_depth", "max_bytes", "max_age", "on_full")),
        ("retention", ("retention",)),
        ("forecast", ("max_wait",)),
    )
    for name in names
)
_OF_KINDS: Final = (
    _Setting("priority", "priorities", _differs("priority", "normal")),
    _Setting("unique", "unique", _differs("unique")),
    _Setting("key", "keys", _differs("key")),
    _Setting("max_wait", "forecast", _differs("max_wait")),
)
_OF_MESSAGES: Final = (
    *_OF_KINDS,
    _Setting("id", "ids", lambda message: len(message.id) - len(message.queue) - 1 != GENERATED),
)


def check_feature(feature: str, subject: str, features: Features, url: str) -> None:
    """Raise ConfigurationError if the store of `url` does not offer the feature that `subject` needs."""
    if not getattr(features, feature):
        raise refusal(subject, _LACKS[feature], url)


def check_declared(registry: Registry, features: Features, url: str, longest_run: float | None) -> None:
    """Raise ConfigurationError for the first declaration that needs what the store of `url` does not offer.

    longest_run: the most seconds for which the store lets a worker hold a job, None for no bound.
    """
    for queue in registry.queues.values():
        _check(queue, f"queue {queue.name!r}", _OF_QUEUES, features, url)
    for declared in registry.declarations.values():
        subject = f"job {declared.kind!r}"
        _check(declared, subject, _OF_KINDS, features, url)
        _check_policy(declared.policy, subject, features, url)
        if longest_run is not None:
            _check_run(declared.policy, subject, longest_run, url)


def check_messages(messages: Sequence[Message], features: Features, url: str) -> None:
    """Raise ConfigurationError for the first message with an option that the store of `url` does not offer."""
    if features is ALL_FEATURES:
        return
    for message in messages:
        subject = f"job {message.kind!r}"
        _check(message, subject, _OF_MESSAGES, features, url)
        if features.delays is not None:
            delay = message.run_at - message.enqueued_at
            if delay > _SAME and not any(abs(delay - each) <= _SAME for each in features.delays):
                raise refusal(f"{subject}: delay={round(delay, 2):g}", _only_delays(features.delays), url)


def _check(value: object, subject: str, settings: Sequence[_Setting], features: Features, url: str) -> None:
    for name, feature, used in settings:
        if not getattr(features, feature) and used(value):
            raise refusal(f"{subject}: {name}={shown(getattr(value, name))}", _LACKS[feature], url)


def _check_policy(policy: Policy, subject: str, features: Features, url: str) -> None:
    """Refuse a time for which results are kept, and a backoff that is longer than the longest delay."""
    if not features.retention and policy.result_ttl not in (0, DEFAULTS.result_ttl):
        raise refusal(f"{subject}: result_ttl={policy.result_ttl:g}", _LACKS["retention"], url)
    backoff = policy.retry.backoff
    longest = backoff.cap if isinstance(backoff, Exponential) else 0.0
    longest = backoff.seconds if isinstance(backoff, Constant) else longest
    if features.delays is not None and longest > features.delays[-1]:
        raise refusal(f"{subject}: a backoff of up to {longest:g} s", _only_delays(features.delays), url)


def _check_run(policy: Policy, subject: str, longest_run: float, url: str) -> None:
    """Refuse a timeout, with the grace that a run has to end after it, for which the store does not let jobs run."""
    if policy.timeout is None or policy.timeout + DEFAULTS.kill_grace > longest_run:
        most = max(0.0, longest_run - DEFAULTS.kill_grace)
        raise ConfigurationError(
            f"{subject}: timeout={policy.timeout}: the server of {url} takes a job from its worker after "
            f"consumer_timeout={longest_run:g} s: give timeout= of at most {most:g} s, or set a longer "
            "consumer_timeout in the server's configuration, and the same in the url (?consumer_timeout=SECONDS)"
        )


def _only_delays(delays: Sequence[float]) -> str:
    return f"keeps delays of {', '.join(f'{each:g}' for each in delays)} s only"
