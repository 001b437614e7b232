"""The messages between a supervisor and a worker process, as JSON in frames over their own socket."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from outlast.core.events import QueueUnattended
from outlast.core.settlement import Lost

__all__ = ["SupervisorMessage", "QueueAlarm", "StopWorker", "WorkerHello", "Losses", "WorkerConfig", "decode", "encode"]


class WorkerConfig(Struct, frozen=True, kw_only=True):
    """What a worker process is started with. No secret: a command line can be read by every user of the machine."""

    target: str
    holder: str
    map_fd: int
    control_fd: int
    queues: tuple[str, ...] | None = None
    concurrency: int | None = None
    threads: int | None = None
    isolated: int | None = None


class WorkerHello(Struct, frozen=True, kw_only=True):
    """The worker has imported the app and read its settings. map_size: jobs in its map. Times in seconds.

    recycle_*: when to replace it (jobs, seconds, bytes); 0 for never.
    """

    url: str
    max_body: int
    map_size: int
    lease: float
    drain_grace: float
    recycle_jobs: int = 0
    recycle_age: float = 0.0
    recycle_memory: int = 0


class Losses(Struct, frozen=True, tag="lost"):
    """These runs no longer count, or are to be cancelled."""

    lost: tuple[Lost, ...]


class QueueAlarm(Struct, frozen=True, tag="alarm"):
    """Something for the app's observers, which the supervisor has none of; sent to one worker."""

    event: QueueUnattended


class StopWorker(Struct, frozen=True, tag="stop"):
    """Stop: drain first, or (`end_grace`) without any more grace."""

    end_grace: bool = False


_encoder: Final = msgspec.json.Encoder()
SupervisorMessage = Losses | QueueAlarm | StopWorker
_decoder: Final[msgspec.json.Decoder[SupervisorMessage]] = msgspec.json.Decoder(SupervisorMessage)


def encode(item: WorkerConfig | WorkerHello | SupervisorMessage) -> bytes:
    """Return `item` as JSON."""
    return _encoder.encode(item)


def decode(body: bytes) -> SupervisorMessage:
    """Return the message of a supervisor."""
    return _decoder.decode(body)
