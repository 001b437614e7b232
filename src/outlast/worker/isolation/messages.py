"""The messages between a worker, its child processes and their fork server, as JSON in frames; never pickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct, structs

from outlast.core.guards.answers import CallOutcome
from outlast.core.message import Fence, Message
from outlast.core.settlement import Finish, Park, Release, Reschedule, Settlement
from outlast.meters.metric import Reading
from outlast.worker.app_source import AppSource

__all__ = [
    "FORK",
    "ChildLog",
    "ChildMessage",
    "ChildNote",
    "ChildCalls",
    "ChildEffects",
    "EffectsAnswer",
    "ChildProbed",
    "ChildReady",
    "ChildSpan",
    "ForkEnded",
    "ForkServerMessage",
    "ForkServerReady",
    "Forked",
    "ImportFailed",
    "IsolatedConfig",
    "KindMissing",
    "LogSetup",
    "LoggerSetup",
    "RunReport",
    "RunTask",
    "WorkerMessage",
    "decode_child",
    "decode_fork_server",
    "decode_worker",
    "encode",
]


FORK: Final = b"f"
"""The request for a fork; it carries the descriptor of the new fork's socket."""


class IsolatedConfig(Struct, frozen=True):
    """The argument of a child process. source: where it imports the app from. fd: of its socket to the worker.

    alone: it runs one job that must run alone, with `continue_in_fork`.
    """

    source: AppSource
    fd: int
    parent: int
    alone: bool = False


class LoggerSetup(Struct, frozen=True):
    """The setting of one logger, by default none. name: "" for the root. handlers: id to what describes it."""

    name: str
    level: int = 0
    propagate: bool = True
    disabled: bool = False
    handlers: dict[str, str] = {}


class LogSetup(Struct, frozen=True, tag="logs"):
    """How the worker logs; the first message to a child process. disable: as by `logging.disable`."""

    loggers: tuple[LoggerSetup, ...]
    disable: int = 0


class RunTask(Struct, frozen=True, tag="run"):
    """A job to run. deadline: monotonic seconds, 0 for none.

    probes: the guards that the run probes; ramps: those whose ramp it counts in. trace: of its span, by which the child
    goes on with the trace; empty for none.
    """

    message: Message
    attempt: int
    crashes: int
    deadline: float
    probes: tuple[str, ...] = ()
    ramps: tuple[str, ...] = ()
    trace: Mapping[str, str] = {}


class ChildReady(Struct, frozen=True, tag="ready"):
    """The app is imported."""


class ImportFailed(Struct, frozen=True, tag="failed"):
    """The app could not be imported; this process ends. why: the error."""

    why: str


class ChildNote(Struct, frozen=True, tag="noted"):
    """A note of the run."""

    name: str
    value: Raw


class ChildEffects(Struct, frozen=True, tag="effects"):
    """The run asks for the note with its effects, or to save it. number: of the question; note: to save."""

    number: int
    note: Raw = Raw(b"null")


class EffectsAnswer(Struct, frozen=True, tag="effects-are"):
    """The answer to `ChildEffects`. note: null without one, or when it was saved; error: why it failed, in words."""

    number: int
    note: Raw = Raw(b"null")
    error: str = ""


class ChildCalls(Struct, frozen=True, tag="calls"):
    """The run begins its first call to a guard that it probes."""

    guard: str


class ChildProbed(Struct, frozen=True, tag="probed"):
    """The outcome of the first call of the run to a guard that it probes."""

    guard: str
    outcome: CallOutcome


class ChildLog(Struct, frozen=True, tag="log"):
    """A log record for some handlers of a logger of the worker. handlers: their ids. record: an object of JSON."""

    logger: str
    handlers: list[int]
    record: Raw


class ChildSpan(Struct, frozen=True, tag="span"):
    """A span of the run that has ended, for the worker to export."""

    span: Raw


class KindMissing(Struct, frozen=True, tag="missing"):
    """The job cannot run in this process: its app does not declare the kind. failed: imports that failed, in words."""

    failed: str = ""


class RunReport(Struct, frozen=True, tag="report"):
    """The settlement of a run. resident: the child's memory in bytes. left: what the next run must not find in it.

    cpu: seconds of the run, of which a settlement that ends no job has none. counted: what the child has counted since
    its last report.
    """

    resident: int
    end: Finish | Reschedule | Release
    result: Raw = Raw(b"null")
    left: str = ""
    cpu: float = 0.0
    counted: tuple[Reading, ...] = ()

    @classmethod
    def of(
        cls, settlement: Settlement, resident: int, left: str = "", cpu: float = 0.0, counted: Sequence[Reading] = ()
    ) -> RunReport:
        """Return the report of a settlement. Its result is beside it: msgspec decodes `Raw | None` only as None."""
        assert not isinstance(settlement, Park)
        if isinstance(settlement, Finish) and settlement.result is not None:
            bare = structs.replace(settlement, result=None)
            return cls(resident, bare, settlement.result, left, cpu, tuple(counted))
        return cls(resident, settlement, left=left, cpu=cpu, counted=tuple(counted))

    def settlement(self, fence: Fence) -> Settlement:
        """Return the settlement with the fence of the worker's delivery, which the child does not have."""
        settlement = structs.replace(self.end, fence=fence)
        return settlement if bytes(self.result) == b"null" else structs.replace(settlement, result=self.result)


class ForkServerReady(Struct, frozen=True, tag="fit"):
    """The fork server has imported the app. why: the reason why it must not be forked, "" when it may."""

    why: str


class Forked(Struct, frozen=True, tag="forked"):
    """The fork server has forked, in the order of the requests. pid: 0 when the fork failed."""

    pid: int


class ForkEnded(Struct, frozen=True, tag="ended"):
    """A fork has ended. code: its exit code, or the negative number of the signal that killed it."""

    pid: int
    code: int


ChildMessage = (
    ChildReady
    | ImportFailed
    | ChildNote
    | ChildEffects
    | ChildCalls
    | ChildProbed
    | ChildLog
    | ChildSpan
    | KindMissing
    | RunReport
)
WorkerMessage = LogSetup | RunTask | EffectsAnswer
ForkServerMessage = ForkServerReady | Forked | ForkEnded

encode: Final[Callable[[IsolatedConfig | WorkerMessage | ChildMessage | ForkServerMessage], bytes]] = (
    msgspec.json.Encoder().encode
)
decode_child: Final[Callable[[bytes], ChildMessage]] = msgspec.json.Decoder(ChildMessage).decode
decode_fork_server: Final[Callable[[bytes], ForkServerMessage]] = msgspec.json.Decoder(ForkServerMessage).decode
decode_worker: Final[Callable[[bytes], WorkerMessage]] = msgspec.json.Decoder(WorkerMessage).decode
