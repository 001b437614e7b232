"""Runs jobs: one worker in a loop, and the supervisor that keeps several of them alive."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outlast.worker.context import Context
    from outlast.worker.worker import Worker

__all__ = ["Context", "Worker"]


def __getattr__(name: str) -> object:
    # On demand: declaring a job needs Context alone.
    if name == "Context":
        from outlast.worker.context import Context

        return Context
    if name == "Worker":
        from outlast.worker.worker import Worker

        return Worker
    raise AttributeError(f"module 'outlast.worker' has no attribute {name!r}")
