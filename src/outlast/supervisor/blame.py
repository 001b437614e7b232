"""Which jobs the end of a worker process counts as a crash for, and how all of its jobs are released."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from outlast.aio.children import how_ended
from outlast.aio.tasks import cancel
from outlast.core.clock import Clock
from outlast.core.errors import StoreMoved
from outlast.core.message import Failure
from outlast.core.settlement import Release, Reschedule
from outlast.core.store.store import Store
from outlast.core.text import counted
from outlast.supervisor.crash_log import log_crashed
from outlast.supervisor.process import ProcessExit
from outlast.worker.job_map import CLAIMED
from outlast.worker.store_link import StoreLink

__all__ = ["LAST_CALL", "died_in_words", "release", "release_jobs_of", "release_within", "tell_requeued"]

_logger = logging.getLogger("outlast.supervisor")


LAST_CALL: Final = 2.0
"""Seconds that the store has at a stop to take back the jobs of a worker that has ended."""


async def release_within(link: StoreLink, ended: ProcessExit, clock: Clock, over: asyncio.Event) -> None:
    """Release the jobs of a dead worker; once `over` is set (a stop), a store that is away is not waited for."""

    async def last_call() -> None:
        await over.wait()
        await asyncio.sleep(LAST_CALL if ended.jobs else LAST_CALL / 2)

    releasing, giving_up = asyncio.ensure_future(release(link, ended, clock)), asyncio.ensure_future(last_call())
    try:
        await asyncio.wait((releasing, giving_up), return_when=asyncio.FIRST_COMPLETED)
    finally:
        done = releasing.done()
        await cancel(releasing, giving_up)
    if done:
        releasing.result()
    elif ended.jobs:
        _logger.error("the store did not take back the jobs of a worker in time: their lease will lapse")


async def release(link: StoreLink, ended: ProcessExit, clock: Clock) -> None:
    """Release the jobs of a dead worker: those that count a crash, those that had begun, then all others."""
    crashed: Sequence[Reschedule] = release_jobs_of(ended, clock.time())
    blamed = {settlement.fence for settlement in crashed}
    others = [Release(fence, why="its worker died", begun=True) for fence in ended.begun if fence not in blamed]

    async def forfeit(store: Store) -> int:
        lost = {each.fence for each in await store.broker.settle([*crashed, *others])} if ended.begun else set()
        # Some may have been settled before their worker died, or by a call of this that had no answer.
        given_back = sum(each.fence not in lost for each in others)
        return given_back + await store.broker.forfeit(ended.holder, crashed=False)

    try:
        released = await link.retry("forfeit", forfeit)
    except StoreMoved:
        _logger.error("the jobs of a dead worker are only in the file that was moved or replaced")  # noqa: TRY400
        return
    if crashed or released:
        count = released + len(crashed)
        again = counted(count, "job")
        _logger.warning("worker %d is dead, %s of it run again; crashes counted: %d", ended.pid, again, len(crashed))
        await log_crashed(link, crashed)


async def tell_requeued(ended: ProcessExit, clock: Clock) -> None:
    """Log the jobs of a dead worker whose connection held them: its end has made them ready again."""
    crashed = release_jobs_of(ended, clock.time())
    if ended.jobs:
        again = counted(len(ended.jobs), "job")
        _logger.warning("worker %d is dead, %s of it run again; running then: %d", ended.pid, again, len(crashed))
    await log_crashed(None, crashed)


def died_in_words(ended: ProcessExit) -> str:
    """Return which worker has died, and of what."""
    killed = {"overdue": "killed: a job ran past its hard deadline", "stalled": "killed: its event loop did not run"}
    how = killed.get(ended.killed_for) or how_ended(ended.code)
    return f"worker {ended.pid}, {how}, it held {counted(len(ended.jobs), 'job')}"


def release_jobs_of(ended: ProcessExit, now: float) -> list[Reschedule]:
    """Return the settlements of the jobs that count the crash: ready again at their old rank, with one crash more.

    Only jobs that had started count it, whatever the exit code: a handler may choose that. A job whose end is not
    settled yet counts it too, for it may have prepared the end of its process before its own. Of those killed past a
    hard deadline, only the overdue ones count. None counts it when the worker left in peace, stalled without a running
    job, or was killed for another reason.
    """
    if ended.left or ended.killed_for in ("stalled", "forced"):
        return []
    if ended.killed_for == "overdue":
        text = "ran past its hard deadline: its worker process was killed"
    else:
        text = f"its worker process died during the run ({how_ended(ended.code)})"
    return [
        Reschedule(
            job.fence,
            min(job.run_at, now),
            job.attempt,
            Failure(job.attempt, now, "WorkerDied", text),
            crashes=job.crashes + 1,
        )
        for job in ended.jobs
        if job.state != CLAIMED
    ]
