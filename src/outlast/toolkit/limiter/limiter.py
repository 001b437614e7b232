"""The limiter of an app: its rules, its store, and what it does while that is away."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Awaitable, Callable
from secrets import token_hex
from typing import Final

from outlast.core.bounds import plain_text
from outlast.core.errors import ConfigurationError, InvalidArguments, ToolkitAway
from outlast.core.text import counted, shown
from outlast.toolkit.access import Toolkit
from outlast.toolkit.keys import key_text
from outlast.toolkit.limiter.decide import Outcome
from outlast.toolkit.limiter.decision import Decision, decision_of
from outlast.toolkit.limiter.memory import MemoryLimits
from outlast.toolkit.limiter.quotas import rules_of
from outlast.toolkit.limiter.stores import limits_of
from outlast.toolkit.store import ToolkitStore

__all__ = ["Limiter"]

_log = logging.getLogger("outlast.toolkit")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
NOTE_EVERY: Final = 5.0
"""Seconds between two notes that this process uses the limiter."""


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
        self._toolkit = toolkit
        self._token = token_hex(8)
        self._note_at: dict[int, float] = {}
        """By the id of a process: after a fork the child is another one."""
        self._processes = 1
        self._local: MemoryLimits | None = None
        self._was_away = False

    async def take(self, key: str, *, cost: int = 1) -> Decision:
        """Return the decision for a request of `key`, any text; its cost is taken if it is admitted.

        Raise InvalidArguments for a cost that is no whole number of 1 or more, or above the limits, which would never
        admit it; ToolkitAway if the store is away and the limiter is closed.
        """
        stored, kit = self._checked(key, cost), self._toolkit()
        try:
            return self._decided(await kit.use(self._call(kit, stored, cost)))
        except ToolkitAway as error:
            return self._away(kit, stored, cost, error)

    def take_sync(self, key: str, *, cost: int = 1) -> Decision:
        """Do the same from blocking code; raise WrongThread on a thread that runs an event loop."""
        stored, kit = self._checked(key, cost), self._toolkit()
        try:
            return self._decided(kit.use_sync(self._call(kit, stored, cost)))
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
            limits, now, process = limits_of(store), kit.clock.monotonic(), os.getpid()
            if now >= self._note_at.get(process, now):
                self._note_at = {process: now + NOTE_EVERY}
                self._processes = max(1, await limits.live(self.name, f"{process}-{self._token}"))
            return await limits.take(self.rules, stored, cost)

        return call

    def _decided(self, outcome: Outcome) -> Decision:
        if self._was_away:
            self._was_away = False
            _log.info("limiter %r: the store is back", self.name)
        return decision_of(self.rules, outcome)

    def _away(self, kit: Toolkit, stored: str, cost: int, error: ToolkitAway) -> Decision:
        """Decide alone over the share of this process, or refuse to decide."""
        if not self._was_away:
            self._was_away = True
            share = f"this process alone decides, as one of {counted(self._processes, 'process')}"
            side = "requests are refused" if self.closed else share
            _log.warning("limiter %r: %s: %s", self.name, error, side)
        if self.closed:
            raise error
        if self._local is None:
            self._local = MemoryLimits(kit.clock)
        processes = self._processes
        return decision_of(
            self.rules, self._local.take_now(self.rules, stored, cost, scale=processes), processes=processes
        )

    def __repr__(self) -> str:
        return f"Limiter({self.name!r})"
