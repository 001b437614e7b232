"""The supervisor: a process of its own that keeps worker processes alive and imports no user code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outlast.supervisor.supervisor import Supervisor

__all__ = ["Supervisor"]


def __getattr__(name: str) -> object:
    # On demand: a worker process imports `supervisor.messages` and needs no supervisor.
    if name == "Supervisor":
        from outlast.supervisor.supervisor import Supervisor

        return Supervisor
    raise AttributeError(f"module 'outlast.supervisor' has no attribute {name!r}")
