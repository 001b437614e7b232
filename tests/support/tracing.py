"""Tracing in the process of a test: as the environment says, with a provider of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from outlast.observe.tracing import app_tracing
from outlast.observe.tracing.metrics import DROPPED, ENDED, EXPORTED
from tests.support.collector import Collector

__all__ = ["counts", "traced_by"]


@contextmanager
def traced_by(collector: Collector) -> Iterator[pytest.MonkeyPatch]:
    """Send the spans of this process to a collector within the block."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in collector.environ.items():
            patch.setenv(name, value)
        process = app_tracing._ProcessTracing()
        patch.setattr(app_tracing, "_process", process)
        yield patch
        collector.open.set()
        if process.own is not None:
            process.own.queue.shutdown()
            if (thread := process.own.queue._thread) is not None:
                thread.join(60)


def counts() -> dict[str, float]:
    """What this process has counted of its spans so far."""
    series = {"ended": ENDED, "exported": EXPORTED, **DROPPED}
    return {name: each._meters.numbers[each.at] for name, each in series.items()}
