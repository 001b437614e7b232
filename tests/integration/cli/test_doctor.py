"""`outlast doctor` on files and apps that something is wrong with."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from typing import Any

import apsw

from outlast import Outlast, Settings
from outlast.aio.clock import SystemClock
from outlast.brokers.sqlite import SqliteStore
from outlast.core.message import Holder
from outlast.enqueue.spool_file import SpoolFile
from tests.support.apps.cli_app import declare, seed
from tests.support.command import Project
from tests.support.jobs import message

IDLE = {"workers: no worker is running": "warning"}
"""What is found of a store at rest."""


def findings(project: Project, *arguments: str, code: int, env: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the findings that are not well, as "check: text", with their severity and fix."""
    ran = project.run("doctor", "--json", *arguments, env=env)
    assert ran.code == code, ran.out + ran.err
    document = ran.json
    assert set(document) == {"store", "errors", "warnings", "findings"}
    found = document["findings"]
    assert document["errors"] == sum(each["severity"] == "error" for each in found)
    assert all(each["fix"] for each in found if each["severity"] != "ok")
    return {f"{each['check']}: {each['text']}": each["severity"] for each in found if each["severity"] != "ok"}


async def _fresh(project: Project) -> None:
    shop = Outlast("shop", settings=Settings(url=project.url))
    declare(shop)
    async with shop:
        return


def test_a_fresh_store_is_well(project: Project) -> None:
    asyncio.run(_fresh(project))
    assert findings(project, code=0) == {"workers: no worker is running": "warning"}
    ran = project.run("doctor")
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == f"{project.file}: 0 to fix, 1 to check", "all is not well without a worker"


def test_queues_that_need_somebody(project: Project) -> None:
    seed(project.url)
    found = findings(project, "--app", "main:shop", code=1)
    assert found == {
        "queue mail: 1 dead letter": "warning",
        "queue slow: 2 jobs waiting and no worker consumes it": "error",
        "queue small: 1 job waiting and no worker consumes it": "error",
        "queue small: full: 1 of 1": "error",
        "declarations: no worker consumes these queues of main:shop: mail, slow, small": "warning",
    }
    ran = project.run("doctor")
    assert ran.code == 1
    assert "         fix: start a worker that declares it, or outlast jobs purge --queue slow" in ran.out
    assert ran.out.splitlines()[-1] == f"{project.file}: 3 to fix, 2 to check"
    project.run("queues", "pause", "slow")
    assert "queue slow: paused with 2 jobs waiting" in findings(project, code=1)


def test_a_kind_that_nobody_declares_any_more(project: Project) -> None:
    seed(project.url)
    project.write("later.py", "from outlast import Outlast\nshop = Outlast('shop')\n")
    found = findings(project, "--app", "later:shop", code=1)
    assert found["declarations: 2 jobs of kind 'wait' in queue 'slow', and later:shop does not declare it"] == "error"


def test_no_store_and_a_file_of_something_else(project: Project) -> None:
    missing = findings(project, code=1)
    assert missing == {f"store: no store at {project.file} (the default, beside pyproject.toml)": "error"}
    assert not project.file.exists()
    other = apsw.Connection(str(project.folder / "other.db"))
    other.execute("create table t(x)")
    other.close()
    found = findings(project, "--url", "sqlite:other.db", code=1)
    assert any("is not an Outlast file" in each for each in found)
    memory = findings(project, "--url", "memory:", code=1)
    assert list(memory.values()) == ["error"]


def test_a_damaged_file(project: Project) -> None:
    seed(project.url)
    length = project.file.stat().st_size
    with project.file.open("r+b") as file:
        for page in range(2, length // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 200)
    found = findings(project, code=1)
    assert any(each.startswith(("integrity:", "file:")) for each in found)


async def _strange(project: Project) -> None:
    store = SqliteStore(str(project.file), clock=SystemClock())
    await store.open()
    await store.publish([message("mail.1", time.time()), message("mail.2", time.time() + 7300)])
    await store.claim({"mail": 1}, limit=1, holder=Holder("a" * 32, "gone:1"), lease=0.0, wait=0.0)
    await store.close()


def test_a_worker_that_is_gone_and_a_clock_that_is_wrong(project: Project) -> None:
    asyncio.run(_strange(project))
    found = findings(project, code=1)
    assert found["workers: worker gone:1 lost its lease with 1 job running"] == "error"
    assert found["clock: a job was accepted 2 h in the future"] == "error"


def test_variables_modes_and_limits(project: Project) -> None:
    asyncio.run(_fresh(project))
    project.file.chmod(0o644)
    env = {"OUTLAST_LAESE": "3", "OUTLAST_OTHER_LEASE": "3", "OUTLAST_LEASE": "4", "OUTLAST_SHOP_LEASE": "5"}
    found = findings(project, "--app", "main:shop", code=0, env=env)
    assert set(found) == {
        "settings: OUTLAST_LAESE has no effect: no setting has this name; the nearest is lease",
        "settings: OUTLAST_OTHER_LEASE has no effect: it is for another app than 'shop'",
        "settings: OUTLAST_LEASE has no effect: OUTLAST_SHOP_LEASE comes first",
        f"permissions: every user of this machine may read the jobs in {project.file}",
        "declarations: no worker consumes these queues of main:shop: mail, slow, small",
    }
    assert set(findings(project, code=0, env={"OUTLAST_OTHER_LEASE": "3"})) == {
        *IDLE,
        f"permissions: every user of this machine may read the jobs in {project.file}",
    }
    project.write(
        "own.py",
        "from outlast import Outlast, Settings\nown = Outlast('own', settings=Settings(url='sqlite:outlast.db'))\n",
    )
    own = findings(project, "--app", "own:own", code=0, env={"OUTLAST_LEASE": "3"})
    assert any("the code passes Settings(...) to the app" in each for each in own)


if sys.platform == "linux":

    def test_a_file_in_memory_is_said_to_be(project: Project) -> None:
        found = findings(project, "--url", "sqlite:/dev/shm/outlast-none.db", code=1)
        assert found["file system: in memory (tmpfs): jobs do not survive a reboot"] == "warning"


def test_looking_leaves_the_file_and_its_log_as_they_are(project: Project) -> None:
    seed(project.url)
    before = project.file.read_bytes()
    project.run("doctor")
    assert project.file.read_bytes() == before
    quick = project.run("doctor", "--no-integrity").out
    assert "opens; its pages were not checked" in quick


def test_a_spool_with_a_job_that_was_refused(project: Project) -> None:
    asyncio.run(_fresh(project))
    path = project.file.parent / "outbox.db"
    env = {"OUTLAST_SPOOL": str(path)}
    assert findings(project, code=0, env=env) == IDLE
    spool = SpoolFile(str(path))
    spool.add([("q.bad", "q", b"no job")], 10)
    (row,) = spool.head(1)
    spool.take_out([], [(row.seq, "not a job")])
    spool.close()
    assert findings(project, code=0, env=env) == {
        **IDLE,
        f"spool: {path}: 0 jobs to relay, 1 refused for good, such as q.bad: not a job": "warning",
    }
    path.write_text("no database")
    assert any(each.startswith("spool: ") for each in findings(project, code=1, env=env))


def test_a_log_of_another_file(project: Project) -> None:
    """It is told, and nothing is read with that log."""
    seed(project.url)
    project.run("backup", "copy.db")
    log = project.folder / "outlast.db-wal"

    async def replaced() -> dict[str, Any]:
        async with Outlast("shop", settings=Settings(url=project.url)) as shop:
            await declare(shop).send.enqueue(1, "a@b.c")
            assert log.stat().st_size > 0
            shutil.copyfile(project.folder / "copy.db", project.file)
            overwritten = findings(project, code=1)
            shutil.copy(project.folder / "copy.db", project.folder / "second.db")
            (project.folder / "second.db").replace(project.file)
            assert findings(project, code=1) == {
                "write-ahead log: the file took the place of another one, whose log is still beside it": "error"
            }
        return overwritten

    assert asyncio.run(replaced()) == {"write-ahead log: the file was overwritten in place under its log": "error"}


def test_a_folder_of_sockets_that_others_can_change(project: Project) -> None:
    project.url = url = f"sqlite:{project.folder}/{'x' * 90}.db"
    (project.folder / "tmp").mkdir()
    env = {"OUTLAST_URL": url, "TMPDIR": str(project.folder / "tmp")}
    asyncio.run(_fresh(project))
    assert findings(project, code=0, env=env) == IDLE
    (project.folder / "tmp").chmod(0o777)
    told, severity = (findings(project, code=0, env=env).items() - IDLE.items()).pop()
    assert told.startswith("notifications: every user may rename what is in ")
    assert severity == "warning"
