"""Outlast: durable jobs for services that survive what fails. Names load on first use, so that importing is light."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outlast.app import Outlast
    from outlast.core.backoff import Backoff, Constant, Exponential
    from outlast.core.control_flow import GiveUp, Snooze
    from outlast.core.errors import (
        BodyTooLarge,
        ConfigurationError,
        DuplicateKind,
        EnqueueUnknown,
        InvalidArguments,
        JobCancelled,
        JobExpired,
        JobFailed,
        JobNotFound,
        OutlastError,
        QueueFull,
        ResultTimeout,
        StoreCorrupt,
        StoreError,
        StoreFull,
        StoreUnavailable,
        StoreUncertain,
        UniqueConflict,
        UnsafeStore,
        WireError,
        WrongThread,
    )
    from outlast.core.events import (
        JobDropped,
        JobEnded,
        JobEnqueued,
        JobLost,
        JobRefused,
        JobRetried,
        JobStarted,
        QueueUnattended,
        ScheduleFailed,
        WorkerStalled,
    )
    from outlast.core.limits import Limit, Rate
    from outlast.core.policy import Policy, Retention, Retry
    from outlast.core.topology import Queue
    from outlast.core.unique import Unique
    from outlast.declare.arguments import Redacted
    from outlast.declare.context import CallNext, Context, Middleware
    from outlast.declare.marks import Depends, injected
    from outlast.enqueue.handle import Handle
    from outlast.enqueue.job import Bound, Job
    from outlast.router import JobRouter
    from outlast.settings import Settings

__version__ = "0.1.0"

__all__ = [
    "Backoff",
    "BodyTooLarge",
    "Bound",
    "CallNext",
    "ConfigurationError",
    "Constant",
    "Context",
    "Depends",
    "DuplicateKind",
    "EnqueueUnknown",
    "Exponential",
    "GiveUp",
    "Handle",
    "InvalidArguments",
    "Job",
    "JobCancelled",
    "JobDropped",
    "JobEnded",
    "JobEnqueued",
    "JobExpired",
    "JobFailed",
    "JobLost",
    "JobNotFound",
    "JobRefused",
    "JobRetried",
    "JobRouter",
    "JobStarted",
    "Limit",
    "Middleware",
    "Outlast",
    "OutlastError",
    "Policy",
    "Queue",
    "QueueFull",
    "QueueUnattended",
    "Rate",
    "Redacted",
    "ResultTimeout",
    "Retention",
    "Retry",
    "ScheduleFailed",
    "Settings",
    "Snooze",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "StoreUncertain",
    "Unique",
    "UniqueConflict",
    "UnsafeStore",
    "WireError",
    "WorkerStalled",
    "WrongThread",
    "__version__",
    "injected",
]

_HOMES = {
    "Outlast": "app",
    "Redacted": "declare.arguments",
    "Backoff": "core.backoff",
    "Constant": "core.backoff",
    "Exponential": "core.backoff",
    "Limit": "core.limits",
    "Rate": "core.limits",
    "Policy": "core.policy",
    "Retention": "core.policy",
    "Retry": "core.policy",
    "Queue": "core.topology",
    "Unique": "core.unique",
    "Handle": "enqueue.handle",
    "Bound": "enqueue.job",
    "Job": "enqueue.job",
    "JobRouter": "router",
    "Settings": "settings",
    "Context": "declare.context",
    "CallNext": "declare.context",
    "Middleware": "declare.context",
    "GiveUp": "core.control_flow",
    "Snooze": "core.control_flow",
    "Depends": "declare.marks",
    "injected": "declare.marks",
    "JobDropped": "core.events",
    "JobEnded": "core.events",
    "JobEnqueued": "core.events",
    "JobLost": "core.events",
    "JobRefused": "core.events",
    "JobRetried": "core.events",
    "JobStarted": "core.events",
    "QueueUnattended": "core.events",
    "ScheduleFailed": "core.events",
    "WorkerStalled": "core.events",
}
"""The module of each name; a name of `__all__` that is not here is an error, in core.errors."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'outlast' has no attribute {name!r}")
    value: object = getattr(import_module(f"outlast.{_HOMES.get(name, 'core.errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
