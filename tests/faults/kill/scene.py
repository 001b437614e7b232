"""A store, a ledger and supervisors on them, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from outlast.core.store.records import JobRecord
from outlast.settings import Settings
from tests.faults.kill.app import app as declared
from tests.support.polling import until
from tests.support.stage import Stage
from tests.support.supervise import Supervised

__all__ = ["LEASE", "TARGET", "Scene", "all_succeeded", "exited"]

TARGET = "tests.faults.kill.app:app"
LEASE = 0.8


class Scene(Stage):
    """A store, a ledger, and supervisors on them."""

    enqueue_timeout: ClassVar[float] = 60
    """Seconds, for a host that is loaded; less where tests wait for its end."""

    def __init__(self, folder: Path, url: str = "") -> None:
        """Use the store of `url`; without one, a file in the folder."""
        self.url = url or f"sqlite:{folder}/jobs.db"
        environ = {
            "OUTLAST_FAULTS_URL": self.url,
            "OUTLAST_FAULTS_LEASE": str(LEASE),
            "OUTLAST_FAULTS_KILL_GRACE": "0.3",
            "OUTLAST_FAULTS_DRAIN_GRACE": "5",
        }
        super().__init__(
            declared, TARGET, folder, Settings(url=self.url, enqueue_timeout=self.enqueue_timeout), environ
        )

    async def enqueue(self, job: Any, *args: Any) -> str:
        """Enqueue a job; its id tells which."""
        (handle,) = await self.app.send([job.message(*args)])
        return handle.id

    async def records(self, ids: list[str], within: float = 60.0) -> list[JobRecord]:
        """Return the records when all have ended."""
        store = (await self.app.runtime()).store
        found = [each for each in await store.records.wait(ids, within) if each is not None]
        assert all(each.finished_at is not None for each in found), f"not within {within:g} s: {found}\n{self.told()}"
        assert len(found) == len(ids)
        return found

    async def started(self, *names: str) -> None:
        """Wait until these jobs have started."""
        await until(lambda: set(names) <= set(self.ledger.names("start")), f"{names} have started")


def all_succeeded(records: list[JobRecord]) -> bool:
    return all(each.state == "succeeded" for each in records)


async def exited(running: Supervised, within: float = 90.0) -> int:
    """Return the exit code of a supervisor that ends by itself."""
    await until(lambda: running.process.poll() is not None, "the supervisor ends", within=within)
    return int(running.process.returncode)
