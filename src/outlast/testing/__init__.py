"""Tools for testing an app of Outlast: a clock that the test moves, and jobs in memory that run on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outlast.testing.clock import FakeClock
    from outlast.testing.harness import Enqueued, Testing

__all__ = ["Enqueued", "FakeClock", "Testing"]


def __getattr__(name: str) -> object:
    # Imported on demand: pytest imports this package for its plugin in every project that has Outlast installed.
    if name == "FakeClock":
        from outlast.testing.clock import FakeClock

        return FakeClock
    if name in __all__:
        from outlast.testing import harness

        value: object = getattr(harness, name)
        return value
    raise AttributeError(f"module 'outlast.testing' has no attribute {name!r}")
