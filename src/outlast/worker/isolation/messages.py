"""The messages between a worker, its child processes and their fork server, as JSON in frames; never pickle."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from outlast.core.message import Delivery, Failure, Fence, Message, Terminal, Usage
from outlast.core.settlement import Finish, Release, Reschedule, Settlement

__all__ = [
    "FORK",
    "IsolatedConfig",
    "ForkEnded",
    "ForkServerReady",
    "Forked",
    "ChildNote",
    "ChildReady",
    "RunReport",
    "RunTask",
    "decode_fork_server",
    "decode_child",
    "decode_task",
    "encode",
]


FORK: Final = b"f"
"""What a worker sends its fork server, together with the descriptor of the new fork's socket."""


class IsolatedConfig(Struct, frozen=True):
    """How a child finds the app. target: "module:attribute". main: the script's path when the module is __main__."""

    target: str
    fd: int
    parent: int
    main: str | None = None


class RunTask(Struct, frozen=True):
    """A job to run. deadline: monotonic seconds, 0 for none."""

    message: Message
    attempt: int
    crashes: int
    deadline: float


class ChildReady(Struct, frozen=True, tag="ready"):
    """The app is imported."""


class ChildNote(Struct, frozen=True, tag="noted"):
    """Something to keep about the run."""

    name: str
    value: Raw


class RunReport(Struct, frozen=True, tag="report"):
    """What the child has decided about its run; state None: a retry, or (`later`) it has not run.

    resident: the child's memory in bytes.
    """

    resident: int
    state: Terminal | None = None
    reason: str | None = None
    result: Raw = Raw(b"null")
    error: Failure | None = None
    then: tuple[Message, ...] = ()
    result_ttl: float = 0.0
    at: float = 0.0
    attempt: int = 0
    crashes: int = 0
    later: bool = False
    usage: Usage | None = None

    @classmethod
    def of(cls, settlement: Settlement, resident: int) -> RunReport:
        """Return the report of what `decide` said in the child."""
        if isinstance(settlement, Finish):
            return cls(
                resident,
                state=settlement.state,
                reason=settlement.reason,
                result=Raw(b"null") if settlement.result is None else settlement.result,
                error=settlement.error,
                then=tuple(settlement.then),
                result_ttl=settlement.result_ttl,
                usage=settlement.usage,
            )
        if isinstance(settlement, Release):
            return cls(resident, at=settlement.at or 0.0, reason=settlement.why, later=True)
        assert isinstance(settlement, Reschedule)
        again = settlement
        return cls(resident, error=again.error, at=again.at, attempt=again.attempt, crashes=again.crashes)

    def settlement(self, delivery: Delivery) -> Settlement:
        """Return it as the settlement of the worker's own delivery."""
        fence: Fence = delivery.fence
        if self.later:
            return Release(fence, self.at, self.reason or "")
        if self.state is None:
            return Reschedule(fence, self.at, self.attempt, self.error, crashes=self.crashes)
        result = None if bytes(self.result) == b"null" else self.result
        return Finish(fence, self.state, self.reason, result, self.error, self.then, self.result_ttl, self.usage)


class ForkServerReady(Struct, frozen=True, tag="fit"):
    """The fork server has imported the app. why: for what reason it must not be forked, "" when it may."""

    why: str


class Forked(Struct, frozen=True, tag="forked"):
    """The fork server has forked, in the order it was asked to; pid 0: it could not."""

    pid: int


class ForkEnded(Struct, frozen=True, tag="ended"):
    """A fork has ended; code: negative the signal that killed it."""

    pid: int
    code: int


_encoder: Final = msgspec.json.Encoder()
_child_message: Final[msgspec.json.Decoder[ChildReady | ChildNote | RunReport]] = msgspec.json.Decoder(
    ChildReady | ChildNote | RunReport
)
_task: Final = msgspec.json.Decoder(RunTask)
_fork_server_message: Final[msgspec.json.Decoder[ForkServerReady | Forked | ForkEnded]] = msgspec.json.Decoder(
    ForkServerReady | Forked | ForkEnded
)


def encode(
    item: IsolatedConfig | RunTask | ChildReady | ChildNote | RunReport | ForkServerReady | Forked | ForkEnded,
) -> bytes:
    """Return `item` as JSON."""
    return _encoder.encode(item)


def decode_child(body: bytes) -> ChildReady | ChildNote | RunReport:
    """Return the message of a child process."""
    return _child_message.decode(body)


def decode_fork_server(body: bytes) -> ForkServerReady | Forked | ForkEnded:
    """Return the message of a fork server."""
    return _fork_server_message.decode(body)


def decode_task(body: bytes) -> RunTask:
    """Return a job to run."""
    return _task.decode(body)
