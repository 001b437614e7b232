"""Outlast: durable jobs. A name loads its module on first use, so that `import outlast` is fast."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outlast.app import Outlast
    from outlast.core.backoff import Backoff, Constant, Exponential
    from outlast.core.control_flow import GiveUp, Snooze
    from outlast.core.errors import (
        BodyTooLarge,
        BulkheadFull,
        ConfigurationError,
        DeadlinePassed,
        DuplicateKind,
        EnqueueUnknown,
        EventIncomplete,
        EventUnroutable,
        GuardError,
        GuardOpen,
        GuardRefused,
        GuardTimeout,
        IdConflict,
        InvalidArguments,
        InvalidEvent,
        InvalidOption,
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
        StoreMoved,
        StoreRefused,
        StoreUnavailable,
        StoreUncertain,
        UniqueConflict,
        UnsafeStore,
        WireError,
        WrongThread,
    )
    from outlast.core.events import (
        GuardClosed,
        GuardOpened,
        JobDropped,
        JobEnded,
        JobEnqueued,
        JobLost,
        JobPostponed,
        JobRefused,
        JobRetried,
        JobStarted,
        QueueUnattended,
        ScheduleFailed,
        WorkerStalled,
    )
    from outlast.core.guards.policies import Breaker, Bulkhead, Fallback, RetryBudget, Timeout
    from outlast.core.limits import Limit, Rate
    from outlast.core.policy import Policy, Retention, Retry
    from outlast.core.toolkit_errors import (
        BoardFull,
        LockLost,
        LockTimeout,
        ObjectDamaged,
        ObjectNotFound,
        SessionConflict,
        SessionEnded,
        SessionFull,
        ToolkitAway,
    )
    from outlast.core.topology import Queue
    from outlast.core.unique import Unique
    from outlast.declare.arguments import Redacted
    from outlast.declare.context import CallNext, Context, Middleware
    from outlast.declare.marks import Depends, injected
    from outlast.enqueue.exchange import EventExchange
    from outlast.enqueue.handle import Handle
    from outlast.enqueue.job import Bound, Job
    from outlast.enqueue.published import PublishedEvent
    from outlast.resilience.deadlines import deadline, remaining
    from outlast.resilience.guard import Guard
    from outlast.router import JobRouter
    from outlast.settings import Settings
    from outlast.toolkit.boards.board import BoardEntry, Leaderboard
    from outlast.toolkit.boards.unique import UniqueCount
    from outlast.toolkit.cache.cache import Cache
    from outlast.toolkit.limiter.decision import Decision
    from outlast.toolkit.limiter.limiter import Limiter
    from outlast.toolkit.lock.fence import fence_condition
    from outlast.toolkit.lock.leader import Leader
    from outlast.toolkit.lock.lease import LockLease
    from outlast.toolkit.lock.lock import Lock
    from outlast.toolkit.objects.objects import Objects
    from outlast.toolkit.objects.place import StoredObject
    from outlast.toolkit.sessions.session import Session
    from outlast.toolkit.sessions.sessions import Sessions, UserSession

__version__ = "0.1.0"

__all__ = [
    "Backoff",
    "BoardEntry",
    "BoardFull",
    "BodyTooLarge",
    "Bound",
    "Breaker",
    "Bulkhead",
    "BulkheadFull",
    "Cache",
    "CallNext",
    "ConfigurationError",
    "Constant",
    "Context",
    "DeadlinePassed",
    "Decision",
    "Depends",
    "DuplicateKind",
    "EnqueueUnknown",
    "EventExchange",
    "EventIncomplete",
    "EventUnroutable",
    "Exponential",
    "Fallback",
    "GiveUp",
    "Guard",
    "GuardClosed",
    "GuardError",
    "GuardOpen",
    "GuardOpened",
    "GuardRefused",
    "GuardTimeout",
    "Handle",
    "IdConflict",
    "InvalidArguments",
    "InvalidEvent",
    "InvalidOption",
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
    "JobPostponed",
    "JobRetried",
    "JobRouter",
    "JobStarted",
    "Leader",
    "Leaderboard",
    "Limit",
    "Limiter",
    "Lock",
    "LockLease",
    "LockLost",
    "LockTimeout",
    "Middleware",
    "ObjectDamaged",
    "ObjectNotFound",
    "Objects",
    "Outlast",
    "OutlastError",
    "Policy",
    "PublishedEvent",
    "Queue",
    "QueueFull",
    "QueueUnattended",
    "Rate",
    "Redacted",
    "ResultTimeout",
    "Retention",
    "Retry",
    "RetryBudget",
    "ScheduleFailed",
    "Session",
    "SessionConflict",
    "SessionEnded",
    "SessionFull",
    "Sessions",
    "Settings",
    "Snooze",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreMoved",
    "StoreRefused",
    "StoreUnavailable",
    "StoreUncertain",
    "StoredObject",
    "Timeout",
    "ToolkitAway",
    "Unique",
    "UniqueConflict",
    "UniqueCount",
    "UnsafeStore",
    "UserSession",
    "WireError",
    "WorkerStalled",
    "WrongThread",
    "__version__",
    "deadline",
    "fence_condition",
    "injected",
    "remaining",
]

_NAMES = {
    "app": ("Outlast",),
    "core.backoff": ("Backoff", "Constant", "Exponential"),
    "core.control_flow": ("GiveUp", "Snooze"),
    "core.guards.policies": ("Breaker", "Bulkhead", "Fallback", "RetryBudget", "Timeout"),
    "core.limits": ("Limit", "Rate"),
    "core.policy": ("Policy", "Retention", "Retry"),
    "core.topology": ("Queue",),
    "core.toolkit_errors": (
        "BoardFull",
        "LockLost",
        "LockTimeout",
        "ObjectDamaged",
        "ObjectNotFound",
        "SessionConflict",
        "SessionEnded",
        "SessionFull",
        "ToolkitAway",
    ),
    "core.unique": ("Unique",),
    "declare.arguments": ("Redacted",),
    "declare.context": ("CallNext", "Context", "Middleware"),
    "declare.marks": ("Depends", "injected"),
    "enqueue.exchange": ("EventExchange",),
    "enqueue.handle": ("Handle",),
    "enqueue.job": ("Bound", "Job"),
    "enqueue.published": ("PublishedEvent",),
    "resilience.deadlines": ("deadline", "remaining"),
    "resilience.guard": ("Guard",),
    "router": ("JobRouter",),
    "settings": ("Settings",),
    "toolkit.boards.board": ("BoardEntry", "Leaderboard"),
    "toolkit.boards.unique": ("UniqueCount",),
    "toolkit.cache.cache": ("Cache",),
    "toolkit.limiter.decision": ("Decision",),
    "toolkit.limiter.limiter": ("Limiter",),
    "toolkit.lock.fence": ("fence_condition",),
    "toolkit.lock.leader": ("Leader",),
    "toolkit.lock.lease": ("LockLease",),
    "toolkit.lock.lock": ("Lock",),
    "toolkit.objects.objects": ("Objects",),
    "toolkit.objects.place": ("StoredObject",),
    "toolkit.sessions.session": ("Session",),
    "toolkit.sessions.sessions": ("Sessions", "UserSession"),
}
"""The names of each module; every other name of `__all__` is an error in core.errors or an event in core.events."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'outlast' has no attribute {name!r}")
    module = next((each for each, names in _NAMES.items() if name in names), "core.errors")
    found = import_module(f"outlast.{module}")
    if not hasattr(found, name):
        found = import_module("outlast.core.events")
    value: object = getattr(found, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
