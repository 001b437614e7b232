"""`shop.testing()`: an app whose jobs stay in memory, where a test inspects them and runs them on demand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from outlast.aio.portal import portal
from outlast.brokers.memory import MemoryStore
from outlast.core.clock import Clock
from outlast.core.codec import redact_args
from outlast.core.errors import InvalidArguments
from outlast.core.kinds import name_of
from outlast.core.message import Message
from outlast.core.policy import seconds
from outlast.core.schedule import ScheduleAdvance, ScheduleEntry
from outlast.core.settlement import Accepted, Finish, Lost, Published, Reschedule, Settlement
from outlast.core.store.records import JobRecord
from outlast.core.store.store import Store
from outlast.resilience.guard import Guard
from outlast.settings import Settings
from outlast.testing.clock import FakeClock
from outlast.testing.drain import drain
from outlast.testing.hooks import TestHooks

if TYPE_CHECKING:
    from outlast.app import Outlast
    from outlast.enqueue.job import Bound
    from outlast.enqueue.wiring import Wiring

__all__ = ["Enqueued", "Testing"]


class Enqueued(msgspec.Struct, frozen=True):
    """A job that was enqueued during the test. args: its typed arguments by name, not redacted.

    Plain data, where the body of an event does not fit its handler.
    """

    id: str
    queue: str
    kind: str
    args: dict[str, Any]
    message: Message

    def __repr__(self) -> str:
        shown = redact_args(self.message.args, self.message.redacted)
        args = ", ".join(f"{name}={value!r}" for name, value in shown.items())
        due = self.message.run_at - self.message.enqueued_at
        return f"{self.kind}({args})" + (f" in {due:g} s" if due > 0 else "") + f"  [{self.id}]"


class _TestStore(MemoryStore):
    """A memory store that records all accepted messages of callers and handlers, in order."""

    def __init__(self, clock: Clock, *, max_body: int) -> None:
        super().__init__(clock, max_body=max_body)
        self.accepted: list[Message] = []

    async def publish(self, messages: Sequence[Message]) -> list[Published]:
        answers = await super().publish(messages)
        self._record(messages, answers)
        return answers

    async def _publish_copies(self, version: int, messages: Sequence[Message]) -> list[Published] | None:
        answers = await super()._publish_copies(version, messages)
        if answers is not None:
            self._record(messages, answers)
        return answers

    def _record(self, messages: Sequence[Message], answers: Sequence[Published]) -> None:
        self.accepted += [each for each, answer in zip(messages, answers, strict=True) if isinstance(answer, Accepted)]

    async def advance(self, moves: Sequence[ScheduleAdvance]) -> list[bool]:
        known = set(await self._known([message.id for move in moves for message in move.messages]))
        made = await super().advance(moves)
        fired = [message for move, first in zip(moves, made, strict=True) if first for message in move.messages]
        self.accepted += [each for each in fired if each.id not in known and await self._known([each.id])]
        return made

    async def _known(self, ids: Sequence[str]) -> list[str]:
        return [record.id for record in await self.get(ids) if record is not None]

    def begin(self, entries: Sequence[ScheduleEntry], at: float) -> None:
        """Declare the schedules that are not known yet, as of time `at`."""
        known = {record.name for record in self._schedules.all()}
        self._schedules.enlist([each for each in entries if each.name not in known], at)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Lost]:
        then = {
            message.id: message
            for settlement in reversed(settlements)
            if isinstance(settlement, Finish | Reschedule)
            for message in reversed(settlement.then)  # the first one with an id is stored
        }
        known = set(await self._known(list(then)))
        lost = await super().settle(settlements)
        stored = set(await self._known(list(then))) - known
        self.accepted += [message for message in reversed(then.values()) if message.id in stored]
        return lost


class Testing:
    """Within the block the app keeps its jobs in memory, for all loops and threads; no job runs without `drain`.

    The clock moves only by `advance`. The end of the block restores the app.
    """

    __test__ = False  # pytest would collect a class of this name

    def __init__(self, app: Outlast, clock: FakeClock | None = None) -> None:
        self.clock: Final = clock or FakeClock()
        self._app = app
        self._before: Wiring | None = None
        self._begun = self.clock.time()
        self._overrides = dict(app.dependency_overrides)
        self._hooks = TestHooks(app.registry)
        settings = Settings.load(app.name, app.explicit_settings)
        self.store: Final = _TestStore(self.clock, max_body=settings.max_body)
        """The MemoryStore behind the app."""
        in_memory = msgspec.structs.replace(
            settings, url="memory:", toolkit_url="memory:", objects_url="memory:", objects_over=settings.max_body
        )
        self._wiring = app._wire(in_memory, self.clock, self._connect)

    def _connect(self, settings: Settings, clock: Clock) -> Store:
        return Store.of(self.store, settings.url)

    def __enter__(self) -> Testing:
        self._before, self._app._wiring = self._app._wiring, self._wiring
        self._overrides = dict(self._app.dependency_overrides)
        self._renew_guards()
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.stop_sync()
        self._app._wiring = self._before
        self._app.dependency_overrides.clear()
        self._app.dependency_overrides.update(self._overrides)
        self._renew_guards()

    def _renew_guards(self) -> None:
        """Begin with closed breakers that no other process shares, and leave none open for the next test."""
        for guard in self._app.registry.guards.values():
            if isinstance(guard, Guard):
                guard.renew()

    async def __aenter__(self) -> Testing:
        self._hooks.can_await = True
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._hooks.stop()
        finally:
            self.__exit__()

    def enqueued(self, job: Bound[Any, Any] | str | None = None) -> list[Enqueued]:
        """Return the jobs enqueued in this block, oldest first, of one job (or kind) or of all, including those run."""
        return [self._enqueued(message) for message in self.store.accepted if _is_of(message, job)]

    def _enqueued(self, message: Message) -> Enqueued:
        arguments = self._wiring.composer.arguments.get(message.kind)
        args = msgspec.json.decode(message.args)
        if arguments is not None:
            with suppress(InvalidArguments):  # an event need not fit each handler: the run tells it
                args = arguments.load(message.args)
        declaration = self._wiring.composer.registry.kinds.get(message.kind)
        kind = message.kind if declaration is None else declaration.kind
        return Enqueued(message.id, message.queue, kind, args, message)

    def assert_enqueued(self, job: Bound[Any, Any] | str, /, **args: Any) -> list[Enqueued]:
        """Return the jobs of this kind that were enqueued with at least these arguments; AssertionError if none."""
        of_kind = self.enqueued(job)
        found = [each for each in of_kind if self._fits(each, args)]
        if found:
            return found
        kind = job if isinstance(job, str) else job.kind
        names = ", ".join(args)
        lines = [f"no {kind} job was enqueued" + (f" with those values of {names}" if args else "")]
        everything = of_kind or self.enqueued()
        lines += [f"enqueued of {kind}:" if of_kind else "enqueued:"] if everything else ["nothing was enqueued"]
        lines += [f"  {each!r}" for each in everything[:20]]
        if len(everything) > 20:
            lines.append(f"  and {len(everything) - 20} more")
        raise AssertionError("\n".join(lines))

    def assert_not_enqueued(self, job: Bound[Any, Any] | str | None = None, /, **args: Any) -> None:
        """Raise AssertionError if a job (of any kind, when none is given) was enqueued with these arguments."""
        found = [each for each in self.enqueued(job) if self._fits(each, args)]
        if found:
            raise AssertionError("enqueued, and should not have been:\n" + "\n".join(f"  {each!r}" for each in found))

    def _fits(self, enqueued: Enqueued, wanted: dict[str, Any]) -> bool:
        arguments = self._wiring.composer.arguments.get(enqueued.message.kind)
        args = enqueued.args if arguments is None else arguments.complete(enqueued.args)
        if arguments is not None and (unknown := wanted.keys() - set(arguments.signature.names)):
            raise AssertionError(f"{enqueued.kind} has no parameter {min(unknown)!r}")
        return all(name in args and args[name] == value for name, value in wanted.items())

    async def drain(self, *, max_runs: int = 1000) -> list[JobRecord]:
        """Run all due jobs, one at a time, including those that they enqueue, until none is ready.

        Return the records of the jobs that ran, in the order of their last run. A retry with a delay needs `advance`. A
        queue that needs a guard waits as with a worker: while it is open none of its jobs runs, but one if the probe is
        due. Before the first of them, the app's `on_start` hooks run; the end of the block runs `on_stop`. Raise
        AssertionError after `max_runs` runs.
        """
        runtime = await self._wiring.connections.get()
        await self._hooks.start()
        ids = await drain(runtime, max_runs=max_runs)
        records = await self.store.get(list(dict.fromkeys(reversed(ids)))[::-1])
        return [record for record in records if record is not None]

    async def fire(self) -> list[Enqueued]:
        """Fire the schedules that are due by the test's clock, as a worker that runs since the test's start would.

        Return the enqueued jobs; none runs until `drain`. Raise ConfigurationError for a schedule that cannot run.
        """
        from outlast.testing.schedules import fire

        before = len(self.store.accepted)
        await fire(await self._wiring.connections.get(), lambda entries: self.store.begin(entries, self._begun))
        return [self._enqueued(message) for message in self.store.accepted[before:]]

    def fire_sync(self) -> list[Enqueued]:
        """Call `fire` from a test that is not async."""
        return portal().run(self.fire)

    def drain_sync(self, *, max_runs: int = 1000) -> list[JobRecord]:
        """Call `drain` from a test that is not async."""
        return portal().run(lambda: self.drain(max_runs=max_runs))

    def advance(self, duration: float | str) -> None:
        """Move the clock forward, by seconds or text such as "5m". No job runs until the next `drain`."""
        self.clock.advance(seconds(duration, "advance"))


def _is_of(message: Message, job: Bound[Any, Any] | str | None) -> bool:
    """Tell whether a message is of a job, or of a kind in any version."""
    if job is None:
        return True
    if isinstance(job, str):
        return job in (message.kind, name_of(message.kind))
    return message.kind in job.declaration.kinds
