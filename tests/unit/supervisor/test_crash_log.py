"""Jobs that crashed are named in the log of the supervisor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from outlast.core.errors import StoreUnavailable
from outlast.core.message import Failure, Fence
from outlast.core.settlement import Reschedule
from outlast.supervisor.crash_log import log_crashed
from tests.support.working import new_app


class Link:
    """A link to a store, or to none."""

    def __init__(self, store: Any = None) -> None:
        self._store = store

    async def once(self, call: Callable[[Any], Awaitable[Any]]) -> Any:
        if self._store is None:
            raise StoreUnavailable("away")
        return await call(self._store)


def crashed(job_id: str, attempt: int = 2) -> Reschedule:
    error = Failure(attempt, 0.0, "WorkerDied", "its worker process died during the run (SIGKILL)")
    return Reschedule(Fence(job_id, "default", 1), 0.0, attempt, error, crashes=1)


async def test_each_crashed_job_is_named_with_its_kind_and_attempt(caplog: pytest.LogCaptureFixture) -> None:
    app = new_app("memory:")

    @app.job
    async def charge() -> None: ...

    async with app:
        first = await charge.enqueue()
        link: Any = Link((await app.runtime()).store)
        await log_crashed(link, [crashed(first.id), crashed("default.gone", 1)])
    why = "its worker process died during the run (SIGKILL)"
    assert caplog.messages == [
        f"job {first.id} (charge) crashed in attempt 2: {why}",
        f"job default.gone (kind unknown) crashed in attempt 1: {why}",
    ]
    assert [(each.job, each.queue, each.attempt) for each in caplog.records] == [  # type: ignore[attr-defined]
        (first.id, "default", 2),
        ("default.gone", "default", 1),
    ]


async def test_without_a_store_all_but_the_kind_is_told(caplog: pytest.LogCaptureFixture) -> None:
    await log_crashed(None, [crashed("default.gone", 1)])
    assert caplog.messages == [
        "job default.gone (kind unknown) crashed in attempt 1: its worker process died during the run (SIGKILL)"
    ]


async def test_a_store_that_is_away_hides_only_the_kinds_and_the_lines_are_few(
    caplog: pytest.LogCaptureFixture,
) -> None:
    link: Any = Link()
    await log_crashed(link, [crashed(f"default.\x1b{number}") for number in range(25)])
    assert len(caplog.messages) == 21
    assert caplog.messages[0].startswith("job default.\\x1b0 (kind unknown) crashed in attempt 2")
    assert caplog.messages[-1] == "... and 5 jobs more"


async def test_no_crash_is_no_line(caplog: pytest.LogCaptureFixture) -> None:
    link: Any = Link()
    await log_crashed(link, [])
    assert caplog.messages == []
