"""The messages between a supervisor and a worker process, as JSON in frames over a socket of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from outlast.core.events import QueueUnattended
from outlast.core.settlement import Lost

__all__ = ["SupervisorMessage", "QueueAlarm", "StopWorker", "WorkerHello", "Losses", "WorkerConfig", "decode", "encode"]


class WorkerConfig(Struct, frozen=True, kw_only=True):
    """The configuration of a worker process, without secrets: every user of the machine can read a command line.

    supervisor: the pid of its supervisor, which may have ended before the worker can ask for it. meters_fd: the memory
    for its metrics; below 0 for none.
    """

    target: str
    holder: str
    map_fd: int
    control_fd: int
    supervisor: int
    meters_fd: int = -1
    queues: tuple[str, ...] | None = None
    concurrency: int | None = None
    threads: int | None = None
    isolated: int | None = None


class WorkerHello(Struct, frozen=True, kw_only=True):
    """The worker has imported the app and opened its store. map_size: jobs in its job map. Times in seconds.

    about: the app and the store, for the log. leases: whether the supervisor keeps the leases of its jobs in the store.

    queues: those that it consumes. app: its name. objectives: seconds that a job should wait at most, and kinds: the
    names of the kinds, by each queue that the app declares. listen: the address of the setting, "" for none.
    recycle_*: replace the worker after so many jobs, at this age in seconds, above so many bytes; 0 for never.
    """

    url: str
    max_body: int
    map_size: int
    lease: float
    drain_grace: float
    queues: tuple[str, ...] = ()
    recycle_jobs: int = 0
    recycle_age: float = 0.0
    recycle_memory: int = 0
    about: str = ""
    leases: bool = True
    app: str = ""
    objectives: dict[str, float] = {}
    kinds: dict[str, tuple[str, ...]] = {}
    listen: str = ""


class Losses(Struct, frozen=True, tag="lost"):
    """Runs that were superseded, or whose jobs were cancelled."""

    lost: tuple[Lost, ...]


class QueueAlarm(Struct, frozen=True, tag="alarm"):
    """An event for the app's observers, which only a worker process has; sent to one worker."""

    event: QueueUnattended


class StopWorker(Struct, frozen=True, tag="stop"):
    """Stop: drain first, or (`end_grace`) end the grace period now."""

    end_grace: bool = False


SupervisorMessage = Losses | QueueAlarm | StopWorker

encode: Final[Callable[[WorkerConfig | WorkerHello | SupervisorMessage], bytes]] = msgspec.json.Encoder().encode
decode: Final[Callable[[bytes], SupervisorMessage]] = msgspec.json.Decoder(SupervisorMessage).decode
