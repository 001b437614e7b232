"""`outlast restore`, with an API and a supervisor that go on using the store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from outlast import Outlast, StoreMoved
from outlast.settings import Settings
from tests.support.apps.cli_app import Seeded, declare
from tests.support.command import Project


def ids(url: str) -> set[str]:
    """Return the ids of all jobs, as a new process sees them."""

    async def run() -> set[str]:
        shop = Outlast("other", settings=Settings(url=url))
        async with shop:
            from outlast.core.store.records import Query

            page = await (await shop.runtime()).store.records.find(Query(limit=1000))
            return {each.id for each in page.records}

    return asyncio.run(run())


def test_a_backup_comes_back(project: Project, seeded: Seeded) -> None:
    before = ids(project.url)
    assert project.run("backup", "copy.db").code == 0
    project.run("jobs", "purge", "--queue", "slow", "--yes")
    assert ids(project.url) != before
    ran = project.run("restore", "copy.db")
    assert (ran.code, ran.err) == (0, "")
    first, second, third = ran.out.splitlines()
    assert first == f"{project.file} is now a copy of {project.folder}/copy.db"
    assert second.startswith(f"the replaced file is {project.file}.replaced-")
    assert "restart the others" in third
    assert ids(project.url) == before


def test_json(project: Project, seeded: Seeded) -> None:
    project.run("backup", "copy.db")
    shown = project.run("restore", "copy.db", "--json").json
    assert shown["file"] == str(project.file)
    assert shown["backup"] == f"{project.folder}/copy.db"
    assert Path(shown["replaced"]).is_file()
    project.file.rename(project.folder / "gone.db")
    assert project.run("restore", "copy.db", "--json").json["replaced"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nothing.db",), 3, "nothing.db is no file: name a backup"),
        (("main.py",), 3, "main.py is not an SQLite file"),
        (("outlast.db",), 3, "is the store itself"),
        (("copy.db", "--url", "redis://localhost:1"), 2, "redis-cli BGSAVE"),
        (("copy.db", "--url", "memory:"), 2, "memory:"),
        (("copy.db", "--url", "sqlite:no/where.db"), 3, "does its folder exist"),
    ],
)
def test_what_cannot_be_restored_is_told(
    project: Project, seeded: Seeded, arguments: tuple[str, ...], code: int, said: str
) -> None:
    project.run("backup", "copy.db")
    before = ids(project.url)
    ran = project.run("restore", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert ids(project.url) == before


async def test_what_runs_notices_and_its_workers_use_the_restored_file(project: Project) -> None:
    shop = Outlast("shop", settings=Settings(url=project.url))
    jobs = declare(shop)
    async with shop:
        with project.running("worker", "main:shop") as worker:
            first = await jobs.send.enqueue(1, "a@b.c")
            await first.result(timeout=30)
            assert (await asyncio.to_thread(project.run, "backup", "copy.db")).code == 0
            late = await jobs.send.enqueue(2, "a@b.c")
            assert (await asyncio.to_thread(project.run, "restore", "copy.db")).code == 0
            with pytest.raises(StoreMoved, match=r"outlast\.db was replaced by another file"):
                await jobs.send.enqueue(3, "a@b.c")
            async with Outlast("shop", settings=Settings(url=project.url)) as again:
                new = await declare(again).send.enqueue(4, "a@b.c")
                await new.result(timeout=30)
                assert await again.handle(first.id).status() == "succeeded"
                assert await (await again.runtime()).store.records.get([late.id]) == [None]
            assert "was replaced by another file" in worker.text
            assert "Traceback" not in worker.text


def test_what_was_accepted_since_can_be_brought_over(project: Project, seeded: Seeded) -> None:
    project.run("backup", "copy.db")

    async def late() -> str:
        async with Outlast("shop", settings=Settings(url=project.url)) as shop:
            return (await declare(shop).send.with_options(delay=3600).enqueue(9, "a@b.c")).id

    id = asyncio.run(late())
    replaced = project.run("restore", "copy.db", "--json").json["replaced"]
    assert id not in ids(project.url)
    moved = project.run("move", "--from", f"sqlite:{replaced}", "--to", project.url, "--yes")
    assert id in ids(project.url), moved
