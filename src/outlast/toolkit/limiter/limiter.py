"""The limiter of an app: its rules, its store, and what it does while that is away."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Awaitable, Callable
from math import inf
from secrets import token_hex
from typing import Final
from weakref import WeakKeyDictionary

from outlast.core.bounds import plain_text
from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.core.text import counted, shown
from outlast.core.toolkit_errors import ToolkitAway
from outlast.toolkit.access import Toolkit
from outlast.toolkit.keys import key_text
from outlast.toolkit.limiter.decide import Outcome
from outlast.toolkit.limiter.decision import Decision, decision_of
from outlast.toolkit.limiter.forms import limits_of
from outlast.toolkit.limiter.memory import MemoryLimits
from outlast.toolkit.limiter.quotas import rules_of
from outlast.toolkit.metrics import LIMITER_DECISIONS, degraded, series_of
from outlast.toolkit.store import ToolkitStore

__all__ = ["Limiter"]

_log = logging.getLogger("outlast.toolkit")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_AWAY: Final = degraded("limiter", "local", "raised")
NOTE_EVERY: Final = 5.0
"""Seconds between two notes that this process uses the limiter."""


class _Side:
    """The state of a limiter for one toolkit in one process: who shares the limits, and what was decided alone."""

    __slots__ = ("local", "note_at", "pid", "processes", "was_away")

    def __init__(self, kit: Toolkit, pid: int) -> None:
        self.local = MemoryLimits(kit.clock)
        self.note_at = -inf
        self.pid = pid
        self.processes = 1
        self.was_away = False


class Limiter:
    """Limits how often each key may do something, over all processes that share the store of the toolkit.

    `await limiter.take(key)` decides and takes in one atomic step over all limits. A refused request costs nothing in
    any of them, unless count_refused is set. While the store is away, each process decides alone over its share of the
    limits: the count divided by the processes that used this limiter last; with closed=True, `take` raises ToolkitAway.
    """

    def __init__(
        self,
        toolkit: Callable[[], Toolkit],
        limits: object,
        *,
        name: object,
        algorithm: object = "gcra",
        burst: int | None = None,
        count_refused: bool = False,
        closed: object = False,
    ) -> None:
        if not isinstance(name, str) or not _NAME.match(name):
            raise ConfigurationError(
                f"limiter(name={shown(name)}): give 1 to 64 letters, digits or _ . - such as name='api'"
            )
        if type(closed) is not bool:
            raise ConfigurationError(f"limiter({name!r}): closed={shown(closed)}: give True or False")
        self.name: Final = plain_text(name)
        self.closed: Final = closed
        self.rules: Final = rules_of(self.name, limits, algorithm=algorithm, burst=burst, count_refused=count_refused)
        results = series_of(LIMITER_DECISIONS, self.name, results=("allowed", "refused"))
        self._allowed, self._refused = results["allowed"], results["refused"]
        self._toolkit = toolkit
        self._token = token_hex(8)
        self._sides: WeakKeyDictionary[Toolkit, _Side] = WeakKeyDictionary()

    async def take(self, key: str, *, cost: int = 1) -> Decision:
        """Return the decision for a request of `key`, any text; its cost is taken if it is admitted.

        Raise InvalidArguments for a cost that is no whole number of 1 or more, or above the limits, which would never
        admit it; ToolkitAway if the store is away and the limiter is closed, or if the caller's deadline has passed.
        """
        stored, kit = self._checked(key, cost), self._toolkit()
        try:
            return self._decided(kit, await kit.use(self._call(kit, stored, cost)))
        except ToolkitAway as error:
            return self._away(kit, stored, cost, error)

    def take_sync(self, key: str, *, cost: int = 1) -> Decision:
        """Do the same from blocking code; raise WrongThread on a thread that runs an event loop."""
        stored, kit = self._checked(key, cost), self._toolkit()
        try:
            return self._decided(kit, kit.use_sync(self._call(kit, stored, cost)))
        except ToolkitAway as error:
            return self._away(kit, stored, cost, error)

    def _checked(self, key: str, cost: int) -> str:
        """Return the key in the store: of this limiter with these rules, so that other rules begin from 0."""
        if type(cost) is not int or cost < 1:
            raise InvalidArguments(f"limiter {self.name!r}: cost={shown(cost)} must be a whole number, 1 or more")
        if cost > self.rules.most:
            raise InvalidArguments(
                f"limiter {self.name!r}: cost={shown(cost)} is more than its limits ever admit at once "
                f"({self.rules.most:,})"
            )
        return f"{self.name}:{self.rules.text}:{key_text(key)}"

    def _call(self, kit: Toolkit, stored: str, cost: int) -> Callable[[ToolkitStore], Awaitable[Outcome]]:
        async def call(store: ToolkitStore) -> Outcome:
            limits, now, side = limits_of(store), kit.clock.monotonic(), self._side(kit)
            if now >= side.note_at:
                side.note_at = now + NOTE_EVERY
                side.processes = max(1, await limits.live(self.name, f"{side.pid}-{self._token}"))
            return await limits.take(self.rules, stored, cost)

        return call

    def _side(self, kit: Toolkit) -> _Side:
        """Return the state for a toolkit in this process, made at its first use here or in a forked process."""
        side, pid = self._sides.get(kit), os.getpid()
        if side is not None and side.pid != pid:
            self._sides.pop(kit, None)
            side = None
        return self._sides.setdefault(kit, _Side(kit, pid)) if side is None else side

    def _decided(self, kit: Toolkit, outcome: Outcome) -> Decision:
        side = self._side(kit)
        if side.was_away:
            side.was_away = False
            _log.info("limiter %r: the store is back", self.name)
        return self._counted(decision_of(self.rules, outcome))

    def _counted(self, decision: Decision) -> Decision:
        (self._allowed if decision.allowed else self._refused).add()
        return decision

    def _away(self, kit: Toolkit, stored: str, cost: int, error: ToolkitAway) -> Decision:
        """Decide alone over the share of this process, or refuse to decide."""
        if error.by_deadline:  # a client that may choose a short one would have what is admitted here in addition
            _AWAY["raised"].add()
            raise error
        side = self._side(kit)
        if not side.was_away:
            side.was_away = True
            share = f"this process alone decides, as one of {counted(side.processes, 'process')}"
            _log.warning("limiter %r: %s: %s", self.name, error, "requests are refused" if self.closed else share)
        if self.closed:
            _AWAY["raised"].add()
            raise error
        _AWAY["local"].add()
        outcome = side.local.take_now(self.rules, stored, cost, scale=side.processes)
        return self._counted(decision_of(self.rules, outcome, processes=side.processes))

    def __repr__(self) -> str:
        return f"Limiter({self.name!r})"
