"""Keeps ended spans of one process until a thread has exported them, and counts those that were not."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from outlast.core.urls import mask_urls
from outlast.observe.tracing.metrics import DROPPED, ENDED, EXPORTED

__all__ = ["BATCH", "DELAY", "MOST", "SpanQueue"]

_logger = logging.getLogger("outlast.tracing")

MOST: Final = 8192
"""Spans that wait at most, some 20 MB; one more is dropped and counted."""
BATCH: Final = 512
DELAY: Final = 5.0
"""Seconds until spans that fill no batch are exported."""


class SpanQueue(SpanProcessor):
    """Exports in a thread that the first span starts. connect: makes the exporter, in that thread: it imports much.

    The processor of the SDK drops spans without counting them, and flushes for as long as the collector takes.
    """

    def __init__(
        self, connect: Callable[[], SpanExporter], *, most: int = MOST, batch: int = BATCH, delay: float = DELAY
    ) -> None:
        self._connect = connect
        self._exporter: SpanExporter | None = None
        self._most = most
        self._batch = min(batch, most)
        self._delay = delay
        self._pid = os.getpid()
        self._spans: deque[ReadableSpan] = deque()
        self._added = self._done = self._generation = 0
        # Reentrant: a signal handler may end a span while the same thread is in here.
        self._changed = threading.Condition(threading.RLock())
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        """None until the first span: a process without spans has no thread."""
        self._failing = self._closed = False

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that has ended; one that is not sampled is ignored."""
        if span.context is not None and span.context.trace_flags.sampled:
            ENDED.add()
            self.add(span)

    def add(self, span: ReadableSpan) -> None:
        """Take a span to export; drop it when the queue is full, or in a fork, whose parent has the thread."""
        if os.getpid() != self._pid:
            return
        with self._changed:
            if self._closed or (self._thread is None and not self._started()):
                DROPPED["late"].add()
                return
            if len(self._spans) >= self._most:
                DROPPED["full"].add()
                return
            self._spans.append(span)
            self._added += 1
            if len(self._spans) >= self._batch:
                self._wake.set()

    def _started(self) -> bool:
        thread = threading.Thread(target=self._work, name="outlast-spans", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is shutting down
            return False
        self._thread = thread
        return True

    def flush(self, seconds: float, *, drop: bool = False) -> bool:
        """Have what was added exported; return whether it was within `seconds`. drop: drop and count the rest then."""
        if os.getpid() != self._pid:
            return True
        with self._changed:
            target = self._added
            self._wake.set()
            flushed = self._changed.wait_for(lambda: self._done >= target, seconds)
            if not flushed and drop:
                self._generation += 1  # what the thread is exporting now is counted here
                DROPPED["late"].add(self._added - self._done)
                self._spans.clear()
                self._done = self._added
        return flushed

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush, as the SDK calls it."""
        return self.flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """Flush within 2 s, and end the thread and its connection."""
        self.flush(2.0, drop=True)
        self._closed = True
        self._wake.set()

    # The thread

    def _work(self) -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # else an export would be a span that is exported
        while not self._closed:
            self._wake.wait(self._delay)
            self._wake.clear()
            while batch := self._taken():
                generation = self._generation
                exported = self._export(batch)
                self._tell(exported)
                with self._changed:
                    if generation == self._generation:
                        (EXPORTED if exported else DROPPED["failed"]).add(len(batch))
                        self._done += len(batch)
                    self._changed.notify_all()
        if self._exporter is not None:
            self._exporter.shutdown()

    def _taken(self) -> list[ReadableSpan]:
        with self._changed:
            return [self._spans.popleft() for _ in range(min(self._batch, len(self._spans)))]

    def _export(self, spans: Sequence[ReadableSpan]) -> bool:
        try:
            if self._exporter is None:
                self._exporter = self._connect()
            return self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception as error:
            if not self._failing:
                told = mask_urls(str(error))  # the address of a collector may have a password
                _logger.warning("spans could not be exported: %s: %s", type(error).__name__, told)
            return False

    def _tell(self, exported: bool) -> None:
        """Log the begin and the end of an outage of the collector, not each batch."""
        if exported and self._failing:
            _logger.warning("spans are exported again")
        elif not exported and not self._failing:
            _logger.warning("the collector takes no spans: they are dropped and counted, jobs go on")
        self._failing = not exported
