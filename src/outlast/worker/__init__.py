"""Run jobs: one worker in one event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outlast.worker.worker import Worker

__all__ = ["Worker"]


def __getattr__(name: str) -> object:
    # Imported on demand: the supervisor imports `worker.job_map` and must not import the code that runs handlers.
    if name == "Worker":
        from outlast.worker.worker import Worker

        return Worker
    raise AttributeError(f"module 'outlast.worker' has no attribute {name!r}")
