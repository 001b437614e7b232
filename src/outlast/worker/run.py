"""One run of one job, from its claim to its settlement, and the plan of its kind."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from msgspec import Raw, structs

from outlast.aio.signals import forked, leave_fork
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
from outlast.core.durations import seconds
from outlast.core.errors import BodyTooLarge, InvalidArguments
from outlast.core.events import TRACE_HEADER, trace_of
from outlast.core.message import Delivery, Failure, Message, Usage
from outlast.core.policy import Policy, Retry
from outlast.core.registry import Declaration, Mode, Registry
from outlast.core.settlement import Finish, Settlement
from outlast.core.tracing import RunTrace
from outlast.declare.context import Context
from outlast.declare.once import Effects, EffectsPort
from outlast.worker.call_plan import Around, call_plan, measuring
from outlast.worker.failures import failure_of, type_name
from outlast.worker.ports import ArgumentsPort, RuntimePort
from outlast.worker.slot_groups import SlotGroup
from outlast.worker.usage import WORTH_KEEPING

if TYPE_CHECKING:
    from outlast.resilience.passes import Pass

__all__ = [
    "Answer",
    "ProcessPort",
    "Run",
    "RunPlan",
    "StopReason",
    "conclude",
    "end_trace",
    "fail",
    "run_blocking",
    "run_plans",
    "settled_as",
    "stopped",
]

StopReason = Literal["timeout", "cancelled", "superseded", "aborted"]
_SUCCEEDED = Succeeded()
_NO_POLICY = Policy()
_ANY_ERROR: Final = Exception()

_logger = logging.getLogger("outlast.worker")


class RunHost(Protocol):
    """The part of a worker that a run uses."""

    @property
    def clock(self) -> Clock:
        """The worker's clock."""
        ...

    @property
    def max_body(self) -> int:
        """Most bytes of arguments or result that the store takes."""
        ...

    def noted(self, run: Run) -> None:
        """Record that the run has a new note; from any thread."""
        ...

    def begun(self, run: Run) -> None:
        """Record that the run begins."""
        ...

    def check_progress(self) -> None:
        """Raise ConfigurationError where the store keeps no progress of jobs."""
        ...

    def effects_of(self, run: Run) -> EffectsPort:
        """Return the effects of a run; raise ConfigurationError where the store keeps none."""
        ...


@dataclass(slots=True)
class RunPlan:
    """The facts of a kind that its runs need, looked up once."""

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
        in_child: bool = False,
        measured: bool = False,
    ) -> RunPlan:
        """Return the plan of a declared kind. in_child: for a run in this process, which was started for it."""
        call = call_plan(declaration, registry, in_child=in_child or declaration.mode == "process")
        if measured:
            call = measuring(call, on_loop=declaration.on_loop)
        timeout = declaration.policy.timeout
        return cls(declaration, arguments, call.handler, group, timeout, call.takes_context, call.around)

    def bind(self, context: Context | None, values: dict[str, Any]) -> Callable[[], Any]:
        """Return the call of the handler with these arguments. context: for a handler that takes one."""
        return functools.partial(self.handler, *((context,) if self.takes_context else ()), **values)


def run_plans(runtime: RuntimePort, groups: Mapping[Mode, SlotGroup[Run]]) -> dict[str, RunPlan]:
    """Return the plan of every kind that the app can run."""
    registry, measure = runtime.registry, runtime.settings.measure
    return {
        kind: RunPlan.of(each, runtime.arguments[kind], groups[each.mode], registry, measured=measure)
        for kind, each in registry.kinds.items()
    }


@dataclass(slots=True, eq=False, repr=False)
class Run:
    """One delivery on its way through the worker.

    claimed, started, deadline: monotonic seconds, 0 for none. took: seconds until its slot was free, 0 before.
    cpu: seconds, as far as they were measured. stop: why the worker stops the run, None if it does not.
    error: what it raised in this process, for the log; None also when that cannot be formatted or is redacted.
    """

    delivery: Delivery
    plan: RunPlan | None
    group: SlotGroup[Run]
    host: RunHost
    claimed: float
    began: bool = False
    """It has left the line for a slot."""
    begun: bool = False
    """Its handler may have been called: a job that is isolated begins when its child process has it."""
    started: float = 0.0
    took: float = 0.0
    queue: str = ""
    """Of its job, "" until it was `measured`."""
    waited: float = 0.0
    """`started` less the time at which its job was due, which is wall time."""
    size: int = 0
    """Bytes of the arguments."""
    deadline: float = 0.0
    map_index: int = -1
    stop: StopReason | None = None
    ended: bool = False
    task: asyncio.Task[Any] | None = None
    carried: Literal["", "in", "out"] = ""
    """Whether `task` fetches its arguments from the object store, before it begins, or puts its result there."""
    values: dict[str, Any] | None = None
    then: list[Message] | None = None
    notes: dict[str, Raw] | None = None
    usage: Usage | None = None
    cpu: float = 0.0
    """CPU seconds, 0 where they are not measured."""
    error: BaseException | None = None
    effects_port: EffectsPort | None = None
    made_effects: Effects | None = None
    passes: Mapping[str, Pass] | None = None
    """What its guarded calls may do beyond others, by the name of the guard."""
    trace: RunTrace | None = None
    """Its span, while it has one."""
    spanned: str = ""
    """The `traceparent` of that span, also after its end."""

    @property
    def message(self) -> Message:
        """The enqueued message."""
        return self.delivery.message

    @property
    def traceparent(self) -> str:
        """What events and log lines name: its span, else the trace of its message; "" for none."""
        return self.spanned or trace_of(self.delivery.message)

    def begin_trace(self, trace: RunTrace | None) -> None:
        """Take its span, if it has one."""
        self.trace = trace
        self.spanned = "" if trace is None else trace.carried.get(TRACE_HEADER, "")

    @property
    def cancelled(self) -> bool:
        """Whether the handler should stop."""
        return self.stop is not None or self.ended

    @property
    def remaining(self) -> float | None:
        """Seconds until the timeout."""
        return max(0.0, self.deadline - self.host.clock.monotonic()) if self.deadline else None

    def used(self, cpu: float) -> None:
        """Record the CPU seconds of the run, in its record unless they are too few to keep; from any thread."""
        self.cpu = cpu
        if cpu >= WORTH_KEEPING:
            self.usage = Usage(cpu, self.host.clock.monotonic() - self.started)

    def begin(self, now: float) -> None:
        """Start the timeout. now: monotonic seconds."""
        self.begun = True
        self.started = now
        if self.plan is not None and self.plan.timeout is not None:
            self.deadline = now + self.plan.timeout
        self.host.begun(self)

    def measured(self, now: float) -> float:
        """Record what is counted of the run when the store has its end; return the seconds it took. now: monotonic.

        Now: when its batch is settled, the message is in no cache of the processor any more.
        """
        message = self.delivery.message
        self.queue = message.queue
        self.waited = self.started - message.run_at
        self.size = len(message.args)
        took = self.took = now - self.started
        return took

    def follow(self, message: Message) -> None:
        """Add a follow-up. Raise BodyTooLarge now, while the handler can still react."""
        if len(bytes(message.args)) > self.host.max_body:
            raise BodyTooLarge(message.kind, len(bytes(message.args)), self.host.max_body)
        if self.then is None:
            self.then = []
        self.then.append(message if self.trace is None else self.trace.follow(message))

    def note(self, name: str, value: Raw) -> None:
        """Add a note; the worker keeps the last one of each name. Raise BodyTooLarge, ConfigurationError."""
        self.host.check_progress()
        if len(bytes(value)) > self.host.max_body:
            raise BodyTooLarge(self.delivery.message.kind, len(bytes(value)), self.host.max_body)
        self.notes = {**(self.notes or {}), name: value}  # a new dict: another thread may be reading the old one
        self.host.noted(self)

    @property
    def effects(self) -> Effects:
        """The effects of the job that must not be repeated. Raise ConfigurationError where the store keeps none."""
        if self.made_effects is None:
            self.made_effects = Effects(self.host.effects_of(self))
        return self.made_effects

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


Answer = Callable[[Run, Outcome | None, Settlement | None], None]
"""Takes the outcome of a run in a child process, or its settlement."""


class ProcessPort(Protocol):
    """Runs jobs in child processes."""

    def start(self, run: Run, *, solo: bool, answer: Answer) -> None:
        """Run it. `answer` is called once, on the event loop, when the child process is free again or dead."""
        ...

    def kill(self, run: Run) -> None:
        """Kill its process. The answer follows; `run.stop` gives the reason of the kill."""
        ...


def run_blocking(run: Run, run_coroutine: Callable[[Coroutine[Any, Any, Any]], Any]) -> Outcome:
    """Run the job in the calling thread, which is not an event loop's, and return the outcome. Never raises.

    The context is that of the run alone: its span stays the current one in it.
    """
    plan = run.plan
    assert plan is not None
    try:
        if run.trace is not None:
            run.trace.enter()
        values = run.values = plan.arguments.load(run.delivery.message.args)
        value = plan.handler(run.context(), **values) if plan.takes_context else plan.handler(**values)
        if issubclass(type(value), CoroutineType):  # isinstance reads `__class__`, which may be user code
            value, error = run_coroutine(_caught(value))
            if error is not None:
                raise error
    except BaseException as error:  # a handler's sys.exit() is a failed attempt, not the end of this process
        return fail(run, error)
    return conclude(run, value)


async def _caught(work: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    """Return the value or the exception of `work`: asyncio would treat some exceptions in ways of its own."""
    try:
        return await work, None
    except BaseException as error:
        return None, error


def conclude(run: Run, value: Any) -> Outcome:
    """Return the outcome of a handler that returned `value`. Never raises, whatever its result raises when stored."""
    assert run.plan is not None
    if forked():
        leave_fork(None)
    if value is None or not run.plan.declaration.policy.result_ttl:
        return Succeeded(None, tuple(run.then)) if run.then else _SUCCEEDED
    try:
        result = run.plan.arguments.dump_result(value)
        size = 0 if result is None else len(bytes(result))
        if size > run.host.max_body:
            raise GiveUp(
                f"the result has {size} bytes, more than max_body={run.host.max_body}: "
                "store it elsewhere and return its address"
            )
    except BaseException as error:
        # The work is done: another run would do it twice and fail here again.
        return Failed(GiveUp(), _failure(run, error))
    return Succeeded(result, tuple(run.then or ()))


def fail(run: Run, error: BaseException) -> Outcome:
    """Return the outcome of a run that raised `error`, of any type: a handler's SystemExit is a failed attempt.

    Never raises: an exception may define its attributes itself, and these may raise anything.
    """
    if forked():
        leave_fork(error)
    if run.stop is not None:
        return stopped(run)
    try:
        if issubclass(type(error), Snooze):
            return Snoozed(seconds(error.seconds, "Snooze(seconds)"))  # type: ignore[attr-defined]
    except BaseException as broken:
        error = broken
    failure = _failure(run, error)
    if issubclass(type(error), InvalidArguments) and run.values is None:
        return Invalid(failure)
    return Failed(error, failure)


def stopped(run: Run) -> Outcome:
    """Return the outcome of a run that the worker stopped."""
    match run.stop:
        case "timeout":
            assert run.plan is not None
            message = f"ran longer than timeout={run.plan.timeout:g} s"
            return TimedOut(Failure(run.delivery.attempt, run.host.clock.time(), "TimedOut", message))
        case "cancelled":
            return CancelledRun()
        case _:
            return Aborted("the worker stopped", run.begun)


def settled_as(run: Run, outcome: Outcome, rng: Random) -> Settlement:
    """Return the settlement of a run, by the policy of its kind. Never raises.

    A backoff, and the classes in `retry_on`, may be user code: when they raise, the run is retried with the default
    backoff, within the attempts and the time of the kind.
    """
    policy = _NO_POLICY if run.plan is None else run.plan.declaration.policy
    now = run.host.clock.time()
    try:
        settlement = decide(run.delivery, outcome, policy, now, rng)
    except BaseException as error:
        with suppress(BaseException):  # so may be a handler of the log
            _logger.error(  # noqa: TRY400
                "job %s: its retry rules raised an error, the default backoff is used",
                run.delivery.message.id,
                exc_info=error,
            )
        kept = structs.replace(_NO_POLICY, retry=Retry(attempts=policy.retry.attempts, within=policy.retry.within))
        settlement = decide(
            run.delivery, Failed(_ANY_ERROR, outcome.failure) if type(outcome) is Failed else outcome, kept, now, rng
        )
    if run.usage is not None and type(settlement) is Finish:
        settlement = structs.replace(settlement, usage=run.usage)
    return settlement


def end_trace(run: Run, settlement: Settlement | None) -> None:
    """End the span of a run, if it has one. settlement: None for a run that was superseded."""
    if run.trace is not None:
        run.trace.end(settlement)
        run.trace = None


def _failure(run: Run, error: BaseException) -> Failure:
    """Return the failure of a run; keep the exception for the log, unless it may show what is redacted."""
    attempt, at, plan, message = run.delivery.attempt, run.host.clock.time(), run.plan, run.delivery.message
    try:
        secrets = () if plan is None else plan.arguments.stored_secrets(message.args, message.redacted)
        failure, whole = failure_of(error, attempt=attempt, at=at, secrets=secrets)
        redacted = message.redacted or (plan is not None and plan.arguments.redacted)
    except BaseException as broken:
        return Failure(attempt, at, "Exception", f"(not told: {type_name(broken)} while it was formatted)")
    run.error = error if whole and not redacted else None
    return failure
