"""A guard: the policies around one dependency, with one breaker and bulkhead, or with those of each key."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import suppress
from random import Random
from time import monotonic
from typing import Any, Final
from weakref import WeakSet

from outlast.core.durations import Duration
from outlast.core.errors import ConfigurationError
from outlast.core.guards.answers import BreakerView, Held, SharedBreaker
from outlast.core.guards.permits import PermitsInUse
from outlast.core.guards.policies import Breaker, Bulkhead, Fallback, Timeout
from outlast.core.policy import Retry
from outlast.core.text import shown
from outlast.meters import meters
from outlast.resilience.blocks import Block, Blocks
from outlast.resilience.calls import Calls
from outlast.resilience.guard_metrics import GuardStanding, show_standings
from outlast.resilience.guarding import Guarding
from outlast.resilience.keyed import KeyOf, Lanes
from outlast.resilience.lane import Lane
from outlast.resilience.news import GuardEvent, GuardNews
from outlast.resilience.ports import GuardSharing
from outlast.resilience.settings import MOST_KEYS, BudgetSetting, Key, settings_of

__all__ = ["Guard", "GuardOfKey"]


class Guard(Guarding):
    """The policies around one dependency. One object per process, used on any event loop and in any thread.

    It needs no app: `payments = Guard("payments", timeout=2, breaker=Breaker())`, then `await payments.call(f, ...)`,
    `async with payments:`, `with payments:` or `@payments`. In an app, `shop.guard(...)` also shares the breaker's
    state between processes. A call is bounded by the deadline around it, repeated by `retry` within `budget`; each
    attempt waits for a permit of the bulkhead, asks the breaker, and ends past `timeout`; the fallback answers what
    remains an error.

    timeout, bulkhead, retry, breaker: policies, or the plain value of one (seconds, calls at once, attempts, True).
    budget: the retries of all calls together, by default a tenth of the successes and ten more; None: no bound.
    key: the name of a parameter, or a function of the arguments: each key has a breaker and a bulkhead of its own, in
    this process only; at most `max_keys` are kept. idempotent: whether POST and PATCH may be repeated, and a plain
    function of which a timed-out call still runs. Raise ConfigurationError.
    """

    def __init__(
        self,
        name: str,
        *,
        timeout: Timeout | Duration | None = None,
        retry: Retry | int | None = None,
        budget: BudgetSetting = "default",
        breaker: Breaker | bool | None = None,
        bulkhead: Bulkhead | int | None = None,
        fallback: Fallback | None = None,
        key: Key | None = None,
        max_keys: int = MOST_KEYS,
        idempotent: bool = False,
        sharing: Callable[[], GuardSharing | None] | None = None,
        tell: Callable[[GuardEvent], object] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.settings: Final = settings_of(
            name,
            timeout=timeout,
            retry=retry,
            budget=budget,
            breaker=breaker,
            bulkhead=bulkhead,
            fallback=fallback,
            key=key,
            max_keys=max_keys,
            idempotent=idempotent,
        )
        self.name = self.settings.name
        self._clock = clock
        self._sharing = sharing if self.settings.breaker is not None and self.settings.breaker.share else None
        self._tell = tell
        self._key_of = None if self.settings.key is None else KeyOf(self.name, self.settings.key)
        self._start()
        _guards.add(self)

    def renew(self) -> None:
        """Begin as if no call had been made; the next call reads the shared state first."""
        self._start()

    def _start(self) -> None:
        """Make what no other process may share; again in a process that was forked."""
        settings, clock = self.settings, self._clock
        news = self._news = None if settings.breaker is None else GuardNews(settings.name, self._tell)
        make = functools.partial(
            Lane, settings.name, settings.breaker, settings.bulkhead, settings.timeout, clock, news=news
        )
        rest = functools.partial(Lane, settings.name, None, settings.bulkhead, settings.timeout, clock)
        self._calls = Calls(settings, clock, Random())  # noqa: S311 - it spreads retries, and keeps no secret
        self._blocks = Blocks[Block]()
        self._lane: Lane | None = make() if settings.key is None else None
        self._lanes = None if settings.key is None else Lanes(settings.name, settings.max_keys, make, rest)
        self._begun = self._sharing is None or self._lane is None
        self._beginning = threading.Lock()
        self._started: Future[None] | None = None  # all calls that come before it is done wait for it

    @property
    def breaker(self) -> Breaker | None:
        """The policy of its breaker."""
        return self.settings.breaker

    @property
    def keyed(self) -> bool:
        """Whether it has a breaker for each key."""
        return self.settings.key is not None

    def of(self, key: Hashable) -> GuardOfKey:
        """Return the guard of one key, for blocks and for calls whose arguments do not hold the key."""
        if self._lanes is None:
            raise ConfigurationError(f"guard {self.name!r} has no key=: declare it with one, or use the guard itself")
        return GuardOfKey(self, key)

    def view(self) -> BreakerView:
        """Return the state of its breaker; raise ConfigurationError when it has none, or one for each key."""
        return self._only_lane("view").view()

    def permits_in_use(self, process: str) -> PermitsInUse | None:
        """Return the permits in use in this process, which is called so; None without a bulkhead, or with many."""
        permits = None if self._lane is None else self._lane.permits
        if permits is None:
            return None
        return PermitsInUse(self.name, process, permits.taken, permits.policy.concurrency, permits.waiting)

    def standing(self) -> GuardStanding:
        """Return what its metrics show of it in this process. The permits are those of a guard without keys."""
        permits = None if self._lane is None else self._lane.permits
        allowance = self._calls.allowance
        return GuardStanding(
            self.name,
            None if self._news is None else self._news.open,
            None if permits is None else permits.policy.concurrency,
            0 if permits is None else permits.taken,
            0 if permits is None else permits.waiting,
            None if allowance is None else allowance.left,
        )

    def hold(self, held: Held) -> None:
        """Hold the breaker "open" or "closed" in this process until the next `hold`; "" lets it move by itself."""
        self._only_lane("hold").hold(held)

    def adopt(self, shared: SharedBreaker) -> None:
        """Take over the state that all processes share (see `SharedGuard`)."""
        self._only_lane("adopt").adopt(shared)

    def _only_lane(self, use: str) -> Lane:
        if self.settings.breaker is None:
            raise ConfigurationError(f"guard {self.name!r} has no breaker: declare it with breaker=Breaker(...)")
        if self._lane is None:
            raise ConfigurationError(f"guard {self.name!r} has a breaker for each key: use guard.of(key).{use}(...)")
        return self._lane

    def _take(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Lane:
        if self._lane is not None:
            return self._lane
        assert self._lanes is not None
        assert self._key_of is not None
        return self._lanes.take(self._key_of(function, args, kwargs))

    def _take_for_block(self) -> Lane:
        if self._lane is None:
            raise ConfigurationError(f"guard {self.name!r} has a key: write 'with guard.of(key):'")
        return self._lane

    def _put(self, lane: Lane) -> None:
        if self._lanes is not None:
            self._lanes.give_back(lane)

    def _check(self, function: Callable[..., Any], *, blocking: bool) -> None:
        super()._check(function, blocking=blocking)
        if self._key_of is not None:
            self._key_of.check(function)

    def _begin(self) -> Future[None] | None:
        with self._beginning:
            if self._started is None:
                link = None if self._sharing is None else self._sharing()
                if link is None or self._lane is None:
                    self._begun = True
                    return None
                self._lane.share(link)
                self._started = link.start(self)
            return self._started

    def __repr__(self) -> str:
        return f"Guard({self.name!r})"


class GuardOfKey(Guarding):
    """One key of a guard: its own breaker and bulkhead, and the other policies of the guard."""

    _begun = True

    def __init__(self, guard: Guard, key: Hashable) -> None:
        self.name = guard.name
        self.key: Final = key
        self._guard: Final = guard

    # Of the guard as it is now: a forked process has others, and the lock of the parent's may be held for ever.

    @property
    def _lanes(self) -> Lanes:
        lanes = self._guard._lanes
        assert lanes is not None
        return lanes

    @property
    def _calls(self) -> Calls:  # type: ignore[override]
        return self._guard._calls

    @property
    def _blocks(self) -> Blocks[Block]:  # type: ignore[override]
        return self._guard._blocks

    def view(self) -> BreakerView:
        """Return the state of the breaker of this key; raise ConfigurationError when the guard has none."""
        lane = self._lanes.take(self.key)
        try:
            return lane.view()
        finally:
            self._put(lane)

    def hold(self, held: Held) -> None:
        """Hold the breaker of this key, as `Guard.hold` does."""
        lane = self._lanes.take(self.key)
        try:
            lane.hold(held)
        finally:
            self._put(lane)

    def _take(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Lane:
        return self._lanes.take(self.key)

    def _take_for_block(self) -> Lane:
        return self._lanes.take(self.key)

    def _put(self, lane: Lane) -> None:
        self._lanes.give_back(lane)

    def _begin(self) -> Future[None] | None:
        return None

    def __repr__(self) -> str:
        return f"Guard({self.name!r}).of({shown(self.key)})"


_guards: Final[WeakSet[Guard]] = WeakSet()


def _start_again() -> None:
    """A fork copies permits and locks of threads that it does not copy."""
    for guard in list(_guards):
        guard._start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_again)


def _show_standings() -> None:
    """Set the gauges of the guards."""
    with suppress(RuntimeError):  # another thread declares a guard meanwhile: the next reading has them all
        show_standings([guard.standing() for guard in _guards])


meters.before_reading(_show_standings)
