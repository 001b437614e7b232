"""Whether a worker has anything to do: it says so when its app declares no job, or none for one of its queues."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from outlast.core.registry import Registry

__all__ = ["check_purpose", "lacks_jobs"]

_logger = logging.getLogger("outlast.worker")


def lacks_jobs(registry: Registry) -> str:
    """Return why a worker of this app would wait for ever, with the fix; "" when the app declares a job."""
    if registry.declarations:
        return ""
    return (
        f"app {registry.app!r} declares no job, so its worker has nothing to run: name a module that imports those "
        "with its jobs (@shop.job), or import them where the Outlast(...) is made"
    )


def check_purpose(registry: Registry, queues: Sequence[str] | None) -> None:
    """Warn of an app without jobs, and of each named queue that none of its jobs has. queues: None for all."""
    if why := lacks_jobs(registry):
        _logger.warning("%s", why)
        return
    used = {each.queue for each in registry.declarations.values()}
    for name in queues or ():
        if name not in used:
            _logger.warning(
                "queue %r is to be consumed, and no job of app %r has it: what is there can only be parked; "
                "correct the queues of this worker, or queue= of the job",
                name,
                registry.app,
            )
