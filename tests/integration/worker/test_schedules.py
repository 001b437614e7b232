"""Schedules with real worker processes and the real command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from outlast import Outlast, Settings
from outlast.brokers.sqlite import SqliteStore
from outlast.cli.root import run
from outlast.core.events import ScheduleFailed
from outlast.core.exitcodes import CONFIG, FAILED, NOT_FOUND, STORE
from outlast.core.schedule import ScheduleEntry
from outlast.core.ticking import ORPHANED
from outlast.testing.clock import FakeClock
from tests.support.command import Project
from tests.support.polling import until
from tests.support.scheduling import scheduler_of
from tests.support.working import working

MAIN = """
from outlast import Outlast

shop = Outlast("shop")

@shop.schedule(every="200ms", name="fast", misfire="all")
@shop.job
async def tick() -> None: ...

@shop.schedule("0 5 * * 1-5", tz="Europe/Berlin", args=(7,))
@shop.job(queue="mail")
async def report(number: int) -> None: ...

@shop.schedule("@daily", args=("seven",), name="broken")
@shop.job
async def count(number: int) -> None: ...
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, MAIN)


def listed(project: Project) -> dict[str, dict[str, Any]]:
    """What the command line says, by name; empty while there is no store yet."""
    ran = project.run("schedules", "--json")
    return {each["name"]: each for each in ran.json["schedules"]} if ran.code == 0 else {}


async def test_two_processes_fire_each_tick_once_and_hear_what_people_say(project: Project) -> None:
    with project.running("worker", "main:shop", "--processes", "2") as worker:
        await until(lambda: listed(project).get("fast", {}).get("fired", 0) >= 5, "it fires")
        found = listed(project)
        assert found["report"]["when"] == "at 05:00 on Monday through Friday, Europe/Berlin"
        assert (found["report"]["fired"], len(found["report"]["next"])) == (0, 5)
        assert "valid integer" in found["broken"]["error"]

        assert project.run("schedules", "run", "report").code == 0
        await until(lambda: listed(project)["report"]["fired"] == 1, "it is run at once")
        await until(
            lambda: project.run("jobs", "--kind", "report", "--state", "succeeded", "--json").json["jobs"], "it has run"
        )

        assert project.run("schedules", "pause", "fast").out == "fast is paused\n"
        fired = listed(project)["fast"]["fired"]
        await until(lambda: listed(project)["report"]["seen"] > found["report"]["seen"], "they look again")
        assert listed(project)["fast"]["fired"] == fired
        assert project.run("schedules", "resume", "fast").code == 0
        await until(lambda: listed(project)["fast"]["fired"] > fired, "it goes on")

        doctor = project.run("doctor", "--json")
        checks = {each["check"]: each["severity"] for each in doctor.json["findings"]}
        assert (checks["schedule broken"], checks["schedule report"]) == ("error", "ok")
        assert "cannot run" in worker.text
        assert "Traceback" not in worker.text
    page = project.run("jobs", "--kind", "tick", "--limit", "1000", "--json").json["jobs"]
    ids = [job["id"] for job in page]
    assert len(ids) == len(set(ids)) == listed(project)["fast"]["fired"]


def test_people_look_at_schedules_and_change_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:{tmp_path}/shop.db"

    def outlast(*words: str) -> tuple[int, str, str]:
        code = run(["--url", url, "schedules", *words])
        return code, *capsys.readouterr()

    def document(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(outlast("show", name, "--json")[1])
        return found

    assert outlast()[0] == STORE
    asyncio.run(declare(url))
    edit = ("edit", "report", "--cron", "30 6 * * *", "--tz", "Asia/Tokyo")
    assert outlast(*edit)[1] == "report is changed\n"
    assert outlast(*edit)[1] == "report is unchanged\n"
    assert "report  at 06:30 every day, Asia/Tokyo\n  report in mail, 0 runs\n  edited\n  next  " in outlast()[1]
    assert "in code   at 05:00 on Monday through Friday, Europe/Berlin" in outlast("show", "report")[1]
    assert document("report")["cron"] == "30 6 * * *"
    outlast("edit", "report", "--every", "5m", "--jitter", "2m", "--overlap", "skip")
    assert [document("report")[key] for key in ("every", "cron", "tz", "jitter", "overlap")] == [
        300,
        None,
        "UTC",
        120,
        "skip",
    ]
    outlast("edit", "report", "--cron", "@daily")
    assert [document("report")[key] for key in ("every", "cron")] == [None, "@daily"]
    assert outlast("edit", "report", "--reset")[1] == "report is reset to its code\n"
    assert document("report")["edited"] is False

    assert outlast("remove", "report")[0] == FAILED
    assert outlast("pause", "nosuch")[0] == NOT_FOUND
    assert outlast("show", "nosuch")[0] == NOT_FOUND
    for wrong in (["--cron", "70 6 * * *"], ["--tz", "Europe/Berln"], [], ["--reset", "--every", "5m"]):
        assert outlast("edit", "report", *wrong)[:2] == (CONFIG, "")
    (tmp_path / "more_schedules.py").write_text(
        "from outlast import Outlast\nshop = Outlast('shop')\n"
        "shop.schedule(every='5m', name='extra')(shop.job(kind='work')(lambda: None))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    shown = outlast("--app", "more_schedules:shop")[1]
    assert "extra  every 5 minutes\n  declared, but no worker that declares it has started" in shown


async def declare(url: str) -> None:
    """Declare a schedule as a worker does that starts."""
    app = Outlast("shop", settings=Settings(url=url))

    @app.schedule("0 5 * * 1-5", tz="Europe/Berlin", args=(7,))
    @app.job(queue="mail")
    async def report(number: int) -> None: ...

    async with app:
        await scheduler_of(await app.runtime()).declare()


async def test_a_name_of_another_app_ends_the_worker_with_the_reason(project: Project) -> None:
    with project.running("worker", "main:shop"):
        await until(lambda: len(listed(project)) == 3, "they are declared")
    project.write(
        "other.py",
        MAIN.replace('"shop"', '"blog"')
        .replace('"mail"', '"post"')
        .replace("@shop.job\n", '@shop.job(queue="blog")\n'),
    )
    env = {"OUTLAST_URL": project.url}
    refused = project.run("worker", "other:shop", env=env)
    assert refused.code == CONFIG
    assert "schedule 'fast' belongs to app 'shop'" in refused.err


async def test_a_worker_whose_code_has_dropped_all_schedules_tells_of_them(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/shop.db"
    app = Outlast("shop", settings=Settings(url=url))
    told: list[ScheduleFailed] = []
    app.observe(lambda event: told.append(event) if isinstance(event, ScheduleFailed) else None)
    app.job(kind="report", queue="mail")(lambda: None)
    await declare(url)
    async with app:
        store = (await app.runtime()).store
        (kept,) = await store.schedules.schedules()
        long_ago = SqliteStore(f"{tmp_path}/shop.db", clock=FakeClock(kept.seen - ORPHANED - 60))
        await long_ago.open()
        entry = ScheduleEntry(
            name="report", app="shop", kind="report", queue="mail", spec=kept.declared, version=kept.version
        )
        await long_ago.enlist([entry])
        await long_ago.close()
        async with working(app):
            await until(lambda: told, "the alarm")
    assert told[0].schedule == "report"
    assert "outlast schedules remove report" in told[0].why
