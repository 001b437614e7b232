"""Runs jobs: one worker in a loop, and the supervisor that keeps several of them alive."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outlast.worker.context import Context
    from outlast.worker.supervisor import Supervisor
    from outlast.worker.worker import Worker

__all__ = ["Context", "Supervisor", "Worker"]


def __getattr__(name: str) -> object:
    # On demand: declaring a job needs Context alone, and the supervisor no handler's machinery.
    match name:
        case "Context":
            from outlast.worker.context import Context

            return Context
        case "Worker":
            from outlast.worker.worker import Worker

            return Worker
        case "Supervisor":
            from outlast.worker.supervisor import Supervisor

            return Supervisor
    raise AttributeError(f"module 'outlast.worker' has no attribute {name!r}")
