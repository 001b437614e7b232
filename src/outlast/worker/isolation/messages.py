"""The messages between a worker, its child processes and their fork server, as JSON in frames; never pickle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Raw, Struct, structs

from outlast.core.message import Fence, Message
from outlast.core.settlement import Finish, Park, Release, Reschedule, Settlement

__all__ = [
    "FORK",
    "ChildMessage",
    "ChildNote",
    "ChildReady",
    "ForkEnded",
    "ForkServerMessage",
    "ForkServerReady",
    "Forked",
    "IsolatedConfig",
    "RunReport",
    "RunTask",
    "decode_child",
    "decode_fork_server",
    "decode_task",
    "encode",
]


FORK: Final = b"f"
"""The request for a fork; it carries the descriptor of the new fork's socket."""


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
    """A note of the run."""

    name: str
    value: Raw


class RunReport(Struct, frozen=True, tag="report"):
    """The settlement of a run. resident: the child's memory in bytes."""

    resident: int
    end: Finish | Reschedule | Release
    result: Raw = Raw(b"null")

    @classmethod
    def of(cls, settlement: Settlement, resident: int) -> RunReport:
        """Return the report of a settlement. Its result is beside it: msgspec decodes `Raw | None` only as None."""
        assert not isinstance(settlement, Park)
        if isinstance(settlement, Finish) and settlement.result is not None:
            return cls(resident, structs.replace(settlement, result=None), settlement.result)
        return cls(resident, settlement)

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


ChildMessage = ChildReady | ChildNote | RunReport
ForkServerMessage = ForkServerReady | Forked | ForkEnded

encode: Final[Callable[[IsolatedConfig | RunTask | ChildMessage | ForkServerMessage], bytes]] = (
    msgspec.json.Encoder().encode
)
decode_child: Final[Callable[[bytes], ChildMessage]] = msgspec.json.Decoder(ChildMessage).decode
decode_fork_server: Final[Callable[[bytes], ForkServerMessage]] = msgspec.json.Decoder(ForkServerMessage).decode
decode_task: Final = msgspec.json.Decoder(RunTask).decode
