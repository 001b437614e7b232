"""`outlast move` between two real files."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import structs

from outlast import Outlast, Settings
from outlast.core.store.control import Pause
from outlast.core.store.records import JobRecord, Query
from outlast.core.store.store import Store
from tests.support.apps.cli_app import SECRET, Seeded, declare
from tests.support.command import Project


def records(url: str) -> dict[str, JobRecord]:
    """Return every job of a store."""

    async def run() -> dict[str, JobRecord]:
        shop = Outlast("other", settings=Settings(url=url))
        async with shop:
            store: Store = (await shop.runtime()).store
            return {each.id: each for each in (await store.records.find(Query(limit=1000))).records}

    return asyncio.run(run())


def test_what_waits_moves_as_it_is(project: Project, seeded: Seeded) -> None:
    project.run("jobs", "redrive", seeded.dead)
    before = records(project.url)
    refused = project.run("move", "--to", "sqlite:new.db")
    assert (refused.code, refused.out) == (2, "")
    assert "move would move 4 jobs: no terminal: confirm with --yes" in refused.err
    assert not (project.folder / "new.db").exists()
    ran = project.run("move", "--to", "sqlite:new.db", "--yes")
    assert (ran.code, ran.out, ran.err) == (0, f"4 jobs moved; the queues of {project.file} stay paused\n", "")
    moved = records(f"sqlite:{project.folder}/new.db")
    assert set(moved) == {seeded.ready, seeded.scheduled, seeded.full, seeded.dead}
    for id, record in moved.items():
        assert structs.replace(record, run_at=before[id].run_at) == before[id]
        assert record.run_at == before[id].run_at
    old = records(project.url)
    assert {old[id].reason for id in moved} == {"moved"}
    assert old[seeded.succeeded] == before[seeded.succeeded]
    assert project.run("jobs", "redrive", seeded.ready).err.endswith("is in another store now (outlast move)\n")
    assert "paused" in project.run("queues", "list", "slow").out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--to", "sqlite:new.db", "--queue", "slwo"), 2, "move: no queue 'slwo' in "),
        (("--to", "new.db"), 2, "url 'new.db' (--to): give 'sqlite:PATH', 'redis://HOST', 'amqp://HOST' or 'memory:'"),
        (("--from", "sqlite:no.db", "--to", "sqlite:new.db"), 3, "give --from sqlite:PATH or --app module:name"),
        (("--to", "memory:"), 2, "its jobs would be lost when this command exits"),
    ],
)
def test_a_move_that_means_nothing_says_so(
    project: Project, seeded: Seeded, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ran = project.run("move", *arguments, "--yes")
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


def test_a_moved_job_runs_there_with_its_secret_and_its_attempts(project: Project) -> None:
    async def publish() -> str:
        shop = Outlast("shop", settings=Settings(url=project.url))
        async with shop:
            return (await declare(shop).fail.enqueue(1, SECRET)).id

    id = asyncio.run(publish())
    new = {"OUTLAST_URL": "sqlite:new.db"}
    assert project.run("move", "--from", project.url, "--to", "sqlite:new.db", "--yes", "--json").json == {
        "moved": 1,
        "recovered": 0,
        "refused": [],
        "left": {},
        "interrupted": False,
    }
    with project.running("worker", "main:shop", env=new):
        waited = project.run("call", "main:shop", "send", "-a", "order=1", "-a", "email=x", "--wait", env=new)
        assert waited.code == 0
    job = project.run("jobs", "show", id, "--json", env=new).json
    assert [each["message"] for each in job["failures"]] == ["no luck\x1b[31m with [redacted]"] * 2


def test_a_move_there_and_back(project: Project, seeded: Seeded) -> None:
    before = records(project.url)
    assert project.run("move", "--to", "sqlite:new.db", "--queue", "slow", "--yes").out.startswith("2 jobs moved; ")
    back = project.run("move", "--from", "sqlite:new.db", "--to", project.url, "--yes")
    assert (back.code, back.out) == (0, f"2 jobs moved; the queues of {project.folder}/new.db stay paused\n")
    after = records(project.url)
    assert {id: record.state for id, record in after.items()} == {id: record.state for id, record in before.items()}


def test_what_is_refused_stays_and_is_told(project: Project) -> None:
    async def publish(url: str, id: str) -> None:
        shop = Outlast("shop", settings=Settings(url=url))
        async with shop:
            await declare(shop).tiny.with_options(id=id, unique="one").enqueue()

    asyncio.run(publish(project.url, "old"))
    asyncio.run(publish(f"sqlite:{project.folder}/new.db", "new"))
    ran = project.run("move", "--to", "sqlite:new.db", "--yes")
    assert (ran.code, ran.out) == (1, f"0 jobs moved; the queues of {project.file} stay paused\n")
    assert "1 job not moved, such as small.old: another job holds its unique key" in ran.err
    assert f"1 ready left in {project.file}" in ran.err
    assert records(project.url)["small.old"].state == "ready"


def test_a_move_that_was_given_up_is_put_back_by_hand(project: Project, seeded: Seeded) -> None:
    async def hold() -> None:
        from outlast.core.moving import Hold

        shop = Outlast("shop", settings=Settings(url=project.url))
        async with shop:
            store = (await shop.runtime()).store
            await store.control.apply([Hold(seeded.ready, "moving to /gone.db"), Pause("slow")])

    asyncio.run(hold())
    ran = project.run("move", "--to", "sqlite:new.db", "--queue", "slow", "--yes")
    assert ran.code == 1
    assert "1 waiting left in" in ran.err
    assert "moving to /gone.db" in project.run("jobs", "state:waiting").out
    assert project.run("jobs", "cancel", seeded.ready).code == 1
    assert "held by a move" in project.run("doctor", "--no-integrity").out
    assert project.run("jobs", "put-back", "state:waiting", "--yes").out == "1 job released\n"
    assert project.run("jobs", "show", seeded.ready, "--json").json["state"] == "ready"
