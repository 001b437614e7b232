"""The link of one process and app to the guards in its store: what others do is adopted, votes and probes are made."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from secrets import token_hex
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from outlast.aio.portal import portal
from outlast.aio.tasks import cancel
from outlast.core.errors import ConfigurationError, StoreError
from outlast.core.guards.record import ProbeOutcome
from outlast.core.store.guards import Guards
from outlast.core.store.store import Store
from outlast.resilience.ports import FIRST_READ, ProbeAnswer, SharedGuard
from outlast.resilience.shared_states import HeldProbe, SharedStates

if TYPE_CHECKING:
    from outlast.core.guards.answers import Transition

__all__ = ["GuardLink"]

READ_AGAIN: Final = 15.0
"""Seconds after which the states are read again, in case a notification was missed."""
ANSWER: Final = 0.9
"""Seconds in which the store must say who has the probe: less than the guard waits for it."""
SOONEST: Final = 0.25
"""The first pause, in seconds, before the store is tried again; each is twice as long."""
LAST_REPORT: Final = 1.0
"""Seconds that the store has for the ends of probes when the link is closed: others wait for their leases else."""
LATEST: Final = 15.0
"""The longest pause, in seconds."""
_log: Final = logging.getLogger("outlast")
_OUTCOMES: Final[dict[Transition, ProbeOutcome]] = {"": "neutral", "opened": "failure", "closed": "success"}


class GuardLink:
    """Shares the guards of an app with all processes that use its store. Implements `GuardSharing`.

    Its work runs on the portal's loop, so that it answers also while the loops of the app are blocked. It reads at the
    start, when the store tells of a change, and every 15 s; it writes when a guard opens, and for the probes of one
    that is open for all. While the store is away each guard goes by its own breaker alone, which the log says once.

    connect: returns the open store of the app, on the running loop; raises StoreError or ConfigurationError.
    """

    def __init__(self, connect: Callable[[], Awaitable[Store]], *, clock: Callable[[], float] = monotonic) -> None:
        self._connect = connect
        self._clock = clock
        self._session: _Session | None = None
        self._guards: dict[str, SharedGuard] = {}

    def start(self, guard: SharedGuard) -> Future[None]:
        """Follow the state of a guard; the future is done within FIRST_READ: it is adopted, or the store is away."""
        self._guards[guard.name] = guard
        return self._submit(lambda session: session.start(guard), None)

    def tripped(self, name: str) -> None:
        """Ask the other processes whether the guard is to be open for all."""
        self._submit(lambda session: session.trip(name), None)

    def take_probe(self, name: str) -> Future[ProbeAnswer]:
        """Ask for the one probe of all processes; each process has its own while the store is away."""
        guard = self._guards.get(name)
        lease = ANSWER if guard is None or guard.breaker is None else guard.breaker.probe_lease
        return self._submit(lambda session: session.take(name), ProbeAnswer(True, self._clock() + lease))

    def renew_probe(self, name: str) -> Future[ProbeAnswer]:
        """Ask for the whole lease again of the probe that this process has, of all processes or of its own."""
        return self._submit(lambda session: session.renew(name), ProbeAnswer(False, self._clock()))

    def probe_ended(self, name: str, result: Transition) -> None:
        """Report the end of the probe that `take_probe` has given; `close` waits for that while the store is there."""
        if self._session is not None:
            self._submit(lambda session: session.end(name, result), None)

    def resume(self) -> None:
        """Follow the states again, if `close` has ended that."""
        if self._guards and self._session is None:
            self._submit(_Session.wait, None)

    async def close(self) -> None:
        """End the work of this link; the next call of any method begins again. Call it before the store is closed."""
        if portal().loop is asyncio.get_running_loop():
            await self._end()
        else:
            await portal().visit(self._end)

    async def _end(self) -> None:
        """End the session, on the portal's loop: what was submitted before belongs to it."""
        session, self._session = self._session, None
        if session is not None and session.pid == os.getpid():
            await session.close()

    def _submit(self, work: Callable[[_Session], Coroutine[Any, Any, Any]], alone: Any) -> Future[Any]:
        """Run `work` on the portal's loop. Its result is `alone` if it fails, or the process or the link ends."""

        async def run() -> Any:
            session = self._current()
            try:
                with session.doing():
                    return await work(session)
            except asyncio.CancelledError:
                if not session.closed:
                    raise
            except Exception:
                _log.exception("the link of guards failed; the guard goes on alone")
            return alone

        made = run()
        try:
            return portal().submit(lambda: made)
        except RuntimeError:  # the loop has ended, or no thread can be started any more
            made.close()
            done: Future[Any] = Future()
            done.set_result(alone)
            return done

    def _current(self) -> _Session:
        """Return the session of this process, begun if there is none. A forked child has no thread of its parent."""
        session = self._session
        if session is None or session.pid != os.getpid():
            session = self._session = _Session(self._connect, self._clock)
            portal().at_stop(self._end)
            for guard in self._guards.values():
                session.follow(guard)
        return session


class _Session:
    """The work of a link on the portal's loop of this process, from its first call until it is closed."""

    def __init__(self, connect: Callable[[], Awaitable[Store]], clock: Callable[[], float]) -> None:
        self.pid: Final = os.getpid()
        self._connect = connect
        self._clock = clock
        self._states = SharedStates(f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}", clock)
        self._probes: dict[str, HeldProbe] = {}
        self._own_probes: set[str] = set()
        """The guards of which this process has the probe for itself alone."""
        self._asking: set[str] = set()
        self._store: Guards | None = None
        """None while the store is away, or shares no guards."""
        self._tried = asyncio.Event()
        self._told = False
        self._waiting: asyncio.Task[int] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._reports: set[asyncio.Task[Any]] = set()
        self.closed = False
        self._spawn(self._watch())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="outlast-guards")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @contextmanager
    def doing(self) -> Iterator[None]:
        """Have the current task cancelled by `close`."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    async def close(self) -> None:
        """End all tasks, those that report the end of a probe after at most LAST_REPORT; the store stays open."""
        self.closed = True
        if self._store is not None and self._reports:
            await asyncio.wait(set(self._reports), timeout=LAST_REPORT)
        self._store = None
        await cancel(*self._tasks)

    def follow(self, guard: SharedGuard) -> None:
        """Follow the state of a guard from the next read on."""
        if guard.breaker is not None:
            self._states.add(guard, guard.breaker)

    async def wait(self) -> None:
        """Wait for the first read of the states, at most FIRST_READ."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_READ):
                await self._tried.wait()

    async def start(self, guard: SharedGuard) -> None:
        """Follow a guard, and adopt its state as soon as the store is there, or return when it is away."""
        self.follow(guard)
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_READ):
                await self._tried.wait()
                await self._with_store(self._states.refresh)

    async def _watch(self) -> None:
        """Adopt each change until cancelled; try again, ever more rarely, while the store is away."""
        pause = SOONEST
        while True:
            try:
                store = await self._connect()
                if not store.shares_guards():
                    return  # the app has told it when it opened the store
                seen = await store.guards.guards_changed(0, 0)
                while True:
                    await self._states.refresh(store.guards)
                    self._is_back(store.guards)
                    seen = await self._changed(store.guards, seen)
                    if self._store is None:  # it may still answer reads: without a pause this would never rest
                        break
                    pause = SOONEST
            except (StoreError, ConfigurationError) as error:
                self._is_away(error)
            except Exception as error:
                _log.exception("the link of guards failed; it tries again")
                self._is_away(error)
            finally:
                self._tried.set()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads the processes
            pause = min(2 * pause, LATEST)

    async def _changed(self, guards: Guards, seen: int) -> int:
        """Wait for a change of the states, or until a call finds the store away."""
        task = asyncio.current_task()
        self._waiting = asyncio.ensure_future(guards.guards_changed(seen, READ_AGAIN))
        try:
            return await self._waiting
        except asyncio.CancelledError:
            if task is None or task.cancelling():
                raise
            return seen
        finally:
            self._waiting.cancel()

    def _is_back(self, guards: Guards) -> None:
        if self._store is None:
            self._store = guards
            for name in self._states.names():  # one that has opened meanwhile could not ask
                self._spawn(self.trip(name))
        self._store = guards
        self._tried.set()
        if self._told:
            self._told = False
            _log.info("the store is back: guards are shared between processes again")

    def _is_away(self, error: Exception) -> None:
        self._store = None
        if self._waiting is not None:
            self._waiting.cancel()  # look for the store soon, and again until it is back
        if not self._told:
            self._told = True
            _log.warning("guards are not shared between processes until the store is back: %s", error)

    async def _with_store(self, do: Callable[[Guards], Awaitable[Any]]) -> bool:
        """Call `do` with the store; return whether it was there and answered."""
        if self._store is None:
            return False
        try:
            await do(self._store)
        except StoreError as error:
            self._is_away(error)
            return False
        return True

    async def trip(self, name: str) -> None:
        """Ask for votes and count them if it is open, unless a call for this guard does so already."""
        if name not in self._asking:
            self._asking.add(name)
            try:
                await self._with_store(lambda store: self._states.ask(store, name))
            finally:
                self._asking.discard(name)

    async def take(self, name: str) -> ProbeAnswer:
        """Take the probe; locally while the store is away."""
        lease = self._states.rules(name).lease
        store = self._store
        self._own_probes.add(name)
        if store is None:
            return ProbeAnswer(True, self._clock() + lease)
        holder = self._states.new_holder()
        try:
            async with asyncio.timeout(ANSWER):
                answer, probe = await self._states.take(store, name, holder)
        except (TimeoutError, StoreError) as error:
            unanswered = not isinstance(error, StoreError)
            if not unanswered:
                self._is_away(error)
            until = self._clock() + lease  # it may be taken: give it back when the store answers
            self._spawn(self._repeat(lambda store: self._states.give_back(store, name, holder), until))
            return ProbeAnswer(False, self._clock() + ANSWER) if unanswered else ProbeAnswer(True, until)
        if probe is not None:
            self._probes[name] = probe
            self._own_probes.discard(name)
        return answer

    async def renew(self, name: str) -> ProbeAnswer:
        """Renew the lease of the probe; the store's stays as it is while the store is away."""
        probe = self._probes.get(name)
        if probe is None:  # or the link was closed since it was given
            own = name in self._own_probes
            return ProbeAnswer(own, self._clock() + (self._states.rules(name).lease if own else 0.0))
        renewed: HeldProbe | None = None

        async def renew(store: Guards) -> None:
            nonlocal renewed
            renewed = await self._states.renew(store, name, probe)

        await self._with_store(renew)
        if renewed is None:
            return ProbeAnswer(False, probe.until)
        if self._probes.get(name) is probe:  # it has not ended meanwhile
            self._probes[name] = renewed
        return ProbeAnswer(True, renewed.until)

    async def end(self, name: str, result: Transition) -> None:
        """Report the end of the probe, again until the store has it or the lease is over."""
        probe = self._probes.pop(name, None)
        if probe is not None:
            outcome, task = _OUTCOMES[result], asyncio.current_task()
            assert task is not None
            self._reports.add(task)
            try:
                await self._repeat(lambda store: self._states.end(store, name, probe, outcome), probe.until)
            finally:
                self._reports.discard(task)
        elif result == "opened":  # a probe of this process alone
            await self.trip(name)

    async def _repeat(self, do: Callable[[Guards], Awaitable[None]], until: float) -> None:
        """Call `do` with the store until that has answered, or until a local time."""
        while not await self._with_store(do):
            if self._clock() >= until:
                return
            await asyncio.sleep(SOONEST)
