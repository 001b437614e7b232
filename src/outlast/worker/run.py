"""One run of one job, from hand-out to settlement, and what is fixed for its kind."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Raw, structs

from outlast.core.clock import Clock
from outlast.core.control_flow import GiveUp, Snooze
from outlast.core.decide import (
    Aborted,
    CancelledRun,
    Failed,
    Invalid,
    Outcome,
    Snoozed,
    Succeeded,
    TimedOut,
    decide,
)
from outlast.core.errors import BodyTooLarge, ConfigurationError, InvalidArguments
from outlast.core.message import Delivery, Message, Usage
from outlast.core.policy import Policy, Retry
from outlast.core.registry import Declaration, Mode, Registry
from outlast.core.settlement import Finish, Settlement
from outlast.declare.context import Context
from outlast.declare.redaction import texts
from outlast.worker.call_plan import Around, call_plan, measuring
from outlast.worker.failures import failure_of, plain_failure
from outlast.worker.ports import ArgumentsPort, RuntimePort
from outlast.worker.slot_groups import SlotGroup
from outlast.worker.usage import WORTH_KEEPING

__all__ = [
    "SUCCEEDED",
    "RunHost",
    "RunPlan",
    "ProcessPort",
    "Run",
    "StopReason",
    "conclude",
    "fail",
    "run_plans",
    "settled_as",
    "stopped",
]

StopReason = Literal["timeout", "cancelled", "superseded", "aborted"]
SUCCEEDED = Succeeded()
_NO_POLICY = Policy()

_logger = logging.getLogger("outlast.worker")


class RunHost(Protocol):
    """What a run asks of the worker that runs it."""

    @property
    def clock(self) -> Clock:
        """The worker's clocks."""
        ...

    @property
    def max_body(self) -> int:
        """Bytes of arguments or result that the store takes."""
        ...

    def noted(self, run: Run) -> None:
        """Hear that the run has something to keep; from any thread."""
        ...

    def begun(self, run: Run) -> None:
        """Hear that a run which had to wait for its process begins."""
        ...


@dataclass(slots=True)
class RunPlan:
    """Everything about a kind that a run needs, looked up once."""

    declaration: Declaration
    arguments: ArgumentsPort
    handler: Callable[..., Any]
    group: SlotGroup[Run]
    timeout: float | None
    takes_context: bool
    around: Around | None = None

    @classmethod
    def of(
        cls,
        declaration: Declaration,
        arguments: ArgumentsPort,
        group: SlotGroup[Run],
        registry: Registry,
        *,
        apart: bool = False,
        measured: bool = False,
    ) -> RunPlan:
        """Return the plan of a declared kind; apart: for a run in this process, which has been made for it."""
        how = call_plan(declaration, registry, apart=apart or declaration.mode == "process")
        if measured:
            how = measuring(how, on_loop=declaration.on_loop)
        timeout = declaration.policy.timeout
        return cls(declaration, arguments, how.handler, group, timeout, how.takes_context, how.around)

    def bind(self, context: Context | None, values: dict[str, Any]) -> Callable[[], Any]:
        """Return the call of the handler with these arguments; context: needed by a handler that takes one."""
        return functools.partial(self.handler, *((context,) if self.takes_context else ()), **values)


def run_plans(runtime: RuntimePort, groups: Mapping[Mode, SlotGroup[Run]]) -> dict[str, RunPlan]:
    """Return the plan of every kind that the app can run."""
    registry, measure = runtime.registry, runtime.settings.measure
    return {
        kind: RunPlan.of(
            each, runtime.arguments[kind], groups[each.mode], registry, measured=measure and each.mode != "process"
        )
        for kind, each in registry.kinds.items()
    }


class Run:
    """A hand-out on its way through the worker. `stop` is why it was asked to stop, None while it was not."""

    __slots__ = (
        "began",
        "claimed",
        "deadline",
        "delivery",
        "ended",
        "group",
        "host",
        "map_index",
        "notes",
        "plan",
        "started",
        "stop",
        "task",
        "then",
        "usage",
        "values",
    )

    def __init__(
        self, delivery: Delivery, plan: RunPlan | None, group: SlotGroup[Run], host: RunHost, claimed: float
    ) -> None:
        self.delivery = delivery
        self.plan = plan
        self.group = group
        self.host = host
        self.claimed = claimed
        self.began = False
        self.started = 0.0
        self.deadline = 0.0
        self.map_index = -1
        self.stop: StopReason | None = None
        self.ended = False
        self.task: asyncio.Task[None] | None = None
        self.values: dict[str, Any] | None = None
        self.then: list[Message] | None = None
        self.notes: dict[str, Raw] | None = None
        self.usage: Usage | None = None

    @property
    def message(self) -> Message:
        """What was enqueued."""
        return self.delivery.message

    @property
    def cancelled(self) -> bool:
        """Whether the run was asked to stop."""
        return self.stop is not None or self.ended

    @property
    def remaining(self) -> float | None:
        """Seconds until the timeout."""
        return max(0.0, self.deadline - self.host.clock.monotonic()) if self.deadline else None

    def used(self, cpu: float) -> None:
        """Note the CPU seconds of the run; from any thread. Few of them are not worth a record."""
        if cpu >= WORTH_KEEPING:
            self.usage = Usage(cpu, self.host.clock.monotonic() - self.started)

    def begin(self, now: float) -> None:
        """Let the timeout count from `now`, monotonic seconds."""
        self.started = now
        if self.plan is not None and self.plan.timeout is not None:
            self.deadline = now + self.plan.timeout
        self.host.begun(self)

    def follow(self, message: Message) -> None:
        """Take a follow-up; raise BodyTooLarge now, while the handler can still do something about it."""
        if len(bytes(message.args)) > self.host.max_body:
            raise BodyTooLarge(message.kind, len(bytes(message.args)), self.host.max_body)
        if self.then is None:
            self.then = []
        self.then.append(message)

    def note(self, name: str, value: Raw) -> None:
        """Take a note; the worker keeps the last one of each name. Raise BodyTooLarge."""
        if len(bytes(value)) > self.host.max_body:
            raise BodyTooLarge(self.delivery.message.kind, len(bytes(value)), self.host.max_body)
        self.notes = {**(self.notes or {}), name: value}  # replaced whole: another thread may be reading it
        self.host.noted(self)

    def context(self) -> Context:
        """Return the handler's view of this run."""
        message = self.delivery.message
        return Context(
            id=message.id,
            queue=message.queue,
            kind=message.kind if self.plan is None else self.plan.declaration.kind,
            run=self,
            attempt=self.delivery.attempt,
            crashes=self.delivery.crashes,
        )


class ProcessPort(Protocol):
    """Runs jobs in child processes."""

    def start(self, run: Run, *, solo: bool, answer: Callable[[Run, Outcome | None, Settlement | None], None]) -> None:
        """Run it; `answer` comes once, on the loop, with one of the two, when its process is free again or dead."""
        ...

    def kill(self, run: Run) -> None:
        """Kill its process; the answer comes as ever, and `run.stop` says what it means."""
        ...


def conclude(run: Run, value: Any) -> Outcome:
    """Return the outcome of a handler that returned `value`."""
    assert run.plan is not None
    if value is None:
        return Succeeded(None, tuple(run.then)) if run.then else SUCCEEDED
    try:
        result = run.plan.arguments.dump_result(value)
        size = 0 if result is None else len(bytes(result))
        if size > run.host.max_body:
            raise GiveUp(
                f"the result has {size} bytes, more than max_body={run.host.max_body}: "
                "store it elsewhere and return its address"
            )
    except Exception as error:
        # The work was done; running it again would do it twice and end here again.
        at = run.host.clock.time()
        failure = failure_of(error, attempt=run.delivery.attempt, at=at, secrets=_secrets(run))
        return Failed(error if isinstance(error, GiveUp) else GiveUp(failure.message), failure)
    return Succeeded(result, tuple(run.then or ()))


def fail(run: Run, error: BaseException) -> Outcome:
    """Return the outcome of a run that raised `error`, whatever it was: a handler's SystemExit is a failed attempt."""
    if run.stop is not None:
        return stopped(run)
    if isinstance(error, Snooze):
        return Snoozed(error.seconds)
    failure = failure_of(error, attempt=run.delivery.attempt, at=run.host.clock.time(), secrets=_secrets(run))
    if isinstance(error, InvalidArguments) and run.values is None:
        return Invalid(failure)
    return Failed(_retryable(error), failure)


def stopped(run: Run) -> Outcome:
    """Return the outcome of a run that ended because the worker asked it to."""
    match run.stop:
        case "timeout":
            assert run.plan is not None
            message = f"ran longer than timeout={run.plan.timeout:g} s"
            attempt = run.delivery.attempt
            return TimedOut(plain_failure("TimedOut", message, attempt=attempt, at=run.host.clock.time()))
        case "cancelled":
            return CancelledRun()
        case _:
            return Aborted("the worker stopped")


def settled_as(run: Run, outcome: Outcome, rng: Random) -> Settlement:
    """Return what the store is told of a run, by its kind's policy; by the default backoff when its own fails."""
    policy = _NO_POLICY if run.plan is None else run.plan.declaration.policy
    now = run.host.clock.time()
    try:
        settlement = decide(run.delivery, outcome, policy, now, rng)
        if run.usage is not None and type(settlement) is Finish:
            settlement = structs.replace(settlement, usage=run.usage)
        return settlement
    except Exception:  # a backoff may be the user's own
        _logger.exception("job %s: its backoff failed, and the default one is taken", run.delivery.message.id)
    retry = structs.replace(policy.retry, backoff=Retry().backoff)
    return decide(run.delivery, outcome, structs.replace(policy, retry=retry), now, rng)


def _retryable(error: BaseException) -> BaseException:
    """A handler's SystemExit, or a cancellation that nobody asked for, is retried like any other exception."""
    if isinstance(error, Exception):
        return error
    stand_in = RuntimeError(f"{type(error).__name__}: {error}")
    stand_in.__cause__ = error
    return stand_in


def _secrets(run: Run) -> tuple[str, ...]:
    if run.values is None:
        return _stored_secrets(run.delivery.message, run.plan)
    if run.plan is None or not run.plan.arguments.redacted:
        return ()
    return run.plan.arguments.secrets(run.values)


def _stored_secrets(message: Message, plan: RunPlan | None) -> tuple[str, ...]:
    """Return the texts to scrub when the arguments could not be loaded: a validator or an upgrade may have raised.

    Of what was marked when they were stored, and what is marked now.
    """
    marked = set(message.redacted)
    if plan is not None:
        with suppress(ConfigurationError):  # its types are not found: that is the failure to be told
            marked |= set(plan.arguments.redacted)
    if not marked:
        return ()
    try:
        stored = msgspec.json.decode(message.args, type=dict[str, Any])
    except msgspec.DecodeError:
        return ()  # not even read, so nobody can have quoted them
    return tuple({text for name in marked for text in texts(stored.get(name), marked=True)})
