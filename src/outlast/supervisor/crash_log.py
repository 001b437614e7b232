"""Logs the jobs that count the crash of their worker process, each with its kind and attempt."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from outlast.core.errors import OutlastError
from outlast.core.settlement import Reschedule
from outlast.core.text import counted, line
from outlast.worker.store_link import StoreLink

__all__ = ["log_crashed"]

_logger = logging.getLogger("outlast.supervisor")
_MOST: Final = 20


async def log_crashed(link: StoreLink | None, crashed: Sequence[Reschedule]) -> None:
    """Log a line for each of these jobs, at most 20; without the kind when no store tells it."""
    shown = crashed[:_MOST]
    kinds: dict[str, str] = {}
    if shown and link is not None:
        with suppress(OutlastError):
            records = await link.once(lambda store: store.records.get([each.fence.id for each in shown]))
            kinds = {each.id: each.kind for each in records if each is not None}
    for each in shown:
        kind = line(kinds.get(each.fence.id, "kind unknown"))
        why = each.error.message if each.error is not None else ""
        extra = {"job": each.fence.id, "queue": each.fence.queue, "kind": kind, "attempt": each.attempt}
        text = "job %s (%s) crashed in attempt %d: %s"
        _logger.error(text, line(each.fence.id), kind, each.attempt, why, extra=extra)
    if len(crashed) > _MOST:
        _logger.error("... and %s more", counted(len(crashed) - _MOST, "job"))
