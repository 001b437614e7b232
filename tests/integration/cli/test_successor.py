"""What the commands say of a job that waits for its unique key."""

from __future__ import annotations

import asyncio

from outlast import Outlast, Settings
from outlast.core.message import Holder
from outlast.core.unique import Unique
from tests.support.apps.cli_app import declare
from tests.support.command import Project


async def run_and_update(url: str) -> None:
    """Let one job run, and enqueue another one with its unique key."""
    shop = Outlast("shop", settings=Settings(url=url))
    jobs = declare(shop)
    async with shop:
        await jobs.send.with_options(id="old", unique="index:7").enqueue(1, "a@b.c")
        store = (await shop.runtime()).store
        (given,) = await store.broker.claim({"mail": 1}, limit=1, holder=Holder("a" * 32), lease=3600, wait=0)
        assert given.message.unique == Unique("send:index:7")
        await jobs.send.with_options(id="new", unique="index:7", on_conflict="replace").enqueue(2, "a@b.c")


def test_a_successor_is_shown_and_named(project: Project) -> None:
    asyncio.run(run_and_update(project.url))
    assert "state      waiting (waits for mail.old)" in project.run("jobs", "show", "mail.new").out
    assert [job["id"] for job in project.run("jobs", "state:waiting", "--json").json["jobs"]] == ["mail.new"]
    assert "1 behind running jobs with their unique key" in project.run("queues").out
    (queue,) = (each for each in project.run("queues", "--json").json["queues"] if each["name"] == "mail")
    assert (queue["depth"], queue["successors"]) == (2, 1)
    assert "held by a move" not in project.run("doctor", "--no-integrity").out
    refused = project.run("jobs", "run-now", "mail.new")
    assert refused.code == 1
    assert "waits for the job that holds its unique key: cancel that job, and it runs next" in refused.out + refused.err
    edited = project.run("jobs", "edit", "mail.new", "--priority", "high")
    assert (edited.code, edited.err) == (0, "")
    assert project.run("jobs", "cancel", "mail.new").code == 0
    assert project.run("jobs", "show", "mail.new", "--json").json["state"] == "cancelled"


def test_a_move_leaves_it_with_the_job_that_runs(project: Project) -> None:
    asyncio.run(run_and_update(project.url))
    ran = project.run("move", "--to", "sqlite:new.db", "--yes")
    assert ran.code == 1
    assert "1 running left in" in ran.err
    assert "1 waiting left in" in ran.err
    assert "wait for a running job with their unique key" in ran.err
