"""`outlast guards`, and what the other commands say of jobs that wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from outlast import Breaker, Bulkhead, Guard, GuardOpen, Outlast, Settings
from outlast.core.guards.permits import PermitsInUse
from tests.support.command import Project
from tests.support.polling import until
from tests.support.servers.redis_fleet import node
from tests.support.working import new_app, working

MAIN = """from outlast import Breaker, Outlast

shop = Outlast("shop")
payments = shop.guard("payments", timeout=2, breaker=Breaker(), bulkhead=20)
shop.guard("hosts", breaker=True, key="host")
shop.guard("files", bulkhead=3)
shop.queue("charges", needs=[payments])


@shop.job(queue="charges")
async def charge(order_id: int) -> None: ...


@shop.job(queue="mail")
async def send(order_id: int) -> None: ...
"""


@pytest.fixture
def waiting(project: Project) -> str:
    """The id of a job that waits in a queue that needs a guard."""
    project.write("main.py", MAIN)
    ran = project.run("call", "main:shop", "charge", "-a", "order_id=7")
    assert ran.code == 0, ran.err
    assert project.run("call", "main:shop", "send", "-a", "order_id=7").code == 0
    return ran.out.strip()


def test_a_guard_is_held_shown_and_let_go_without_the_app(project: Project, waiting: str) -> None:
    (before,) = project.run("guards", "--json").json["guards"]
    assert (before["name"], before["state"], before["known"], before["queues"]) == (
        "payments", "closed", False, {"charges": 1},
    )  # fmt: skip
    assert project.run("guards", "open", "payments").out == "payments is held open: no process makes its calls\n"
    assert project.run("guards", "open", "payments").out == "payments is held open already\n"
    head, row = project.run("guards").out.splitlines()
    assert head.split("  ")[0] == "guard"
    assert row.split()[:2] == ["payments", "open"]
    assert row.endswith("held open by an operator, needed by charges")
    shown = project.run("guards", "show", "payments").out
    assert "held         open, until outlast guards reset payments\n" in shown
    assert "needed by    charges (1 waiting job)\noldest job   ready for " in shown
    answers = project.run("guards", "close", "payments", "--json").json["answers"]
    assert answers == [{"id": "payments", "ok": True, "changed": 1, "why": ""}]
    assert project.run("guards", "--json").json["guards"][0]["held"] == "closed"
    assert project.run("guards", "reset", "payments").out == "payments is closed and goes by its calls\n"


def test_a_name_that_is_unknown(project: Project, waiting: str) -> None:
    ran = project.run("guards", "open", "paymnts", "payments")
    assert ran.code == 6
    assert ran.out == "payments is held open: no process makes its calls\n"
    assert ran.err == "outlast: paymnts: no guard of this name, did you mean 'payments'?\n"
    ran = project.run("guards", "show", "zebra")
    assert ran.code == 6
    assert "give --app module:name, which declares it" in ran.err


def test_the_app_shows_what_nobody_has_used(project: Project, waiting: str) -> None:
    found = {each["name"]: each for each in project.run("guards", "--app", "main:shop", "--json").json["guards"]}
    assert list(found) == ["files", "hosts", "payments"]
    assert [each["scope"] for each in found.values()] == ["", "key", "all"]
    assert found["files"]["policies"] == {"bulkhead": "3 at once, 100 wait at most 1 s"}
    rows = project.run("guards", "--app", "main:shop").out.splitlines()
    assert [row.rpartition("  ")[2] for row in rows[1:3]] == ["no breaker", "each key of each process alone"]
    ran = project.run("guards", "open", "hosts", "payments", "--app", "main:shop")
    assert (ran.code, ran.out) == (2, "")
    assert "guard 'hosts' has a breaker for each key" in ran.err
    assert not project.run("guards", "--json").json["guards"][0]["known"]


def test_a_store_that_is_not_there_yet(project: Project) -> None:
    project.write("main.py", MAIN)
    ran = project.run("guards", "--app", "main:shop")
    assert ran.code == 3
    assert len(ran.out.splitlines()) == 4
    assert "no store at" in ran.err


def test_the_commands_say_what_waits_for_it(project: Project, waiting: str) -> None:
    assert "waits for" not in project.run("queues").out + project.run("jobs").out
    assert project.run("guards", "open", "payments").code == 0
    why = "waits for payments: open for "
    charges, mail = project.run("queues").out.splitlines()[1:]
    assert why in charges
    assert "waits for" not in mail
    told = {each["name"]: each["waits_for"] for each in project.run("queues", "--json").json["queues"]}
    assert told["charges"].startswith(why)
    assert told["charges"].endswith(", held open by an operator")
    assert told["mail"] == ""
    send, charge = project.run("jobs").out.splitlines()[1:]
    assert why in charge
    assert "waits for" not in send
    assert f"waiting    {why}" in project.run("jobs", "show", waiting).out
    shown = project.run("jobs", "show", waiting, "--json").json
    assert (shown["id"], shown["args"], shown["waits_for"][: len(why)]) == (waiting, {"order_id": 7}, why)
    assert ["waits_for" in each for each in project.run("jobs", "--json").json["jobs"]] == [False, True]
    doctor = project.run("doctor", "--no-integrity").out
    assert "guard payments: open for " in doctor
    assert "fix: outlast guards reset payments" in doctor


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, project: Project, tmp_path: Path) -> Iterator[str]:
    """The URL of a store that processes share."""
    with ExitStack() as stack:
        redis = request.param == "redis"
        yield stack.enter_context(node(tmp_path / "redis", appendonly="no")).url if redis else project.url


def guard_of(shop: Outlast) -> Guard:
    """Declare the guard."""
    return shop.guard("payments", breaker=Breaker(open_for=1))


async def works() -> int:
    """Make a call."""
    return 1


async def test_a_command_reaches_processes_that_run_and_those_that_start(project: Project, url: str) -> None:
    project.write("main.py", MAIN)
    shop, later = (Outlast("shop", settings=Settings(url=url)) for _ in range(2))
    guard, env = guard_of(shop), {"OUTLAST_URL": url}
    assert await guard.call(works) == 1
    async with shop:
        ran = project.run("guards", "open", "payments", "--app", "main:shop", env=env)
        assert (ran.code, ran.err) == (0, "")
        await until(lambda: guard.view().held == "open", "the process that runs follows the command")
        with pytest.raises(GuardOpen, match="opened by an operator"):
            await guard.call(works)
    fresh = guard_of(later)
    with pytest.raises(GuardOpen, match="opened by an operator"):
        await fresh.call(works)
    assert project.run("guards", "reset", "payments", env=env).code == 0
    await until(lambda: fresh.view().state == "closed", "the command ends")
    assert await fresh.call(works) == 1
    await later.close()
    await shop.close()


async def test_the_permits_of_a_worker_and_who_waits_for_them(project: Project) -> None:
    shop, go = new_app(project.url), asyncio.Event()
    guard = shop.guard("search", bulkhead=Bulkhead(1, max_wait=600))

    @shop.job(queue="searches")
    async def search(number: int) -> None:
        await guard.call(go.wait)

    @shop.job(queue="searches")
    async def other() -> None: ...

    async def told() -> list[dict[str, Any]]:
        await other.enqueue()  # the worker claims, and tells then
        ran = await asyncio.to_thread(project.run, "guards", "--json")
        found: list[dict[str, Any]] = [each for each in ran.json["guards"] if each["permits"]]
        return found

    async with working(shop):
        for number in range(3):
            await search.enqueue(number)
        await until(lambda: guard.permits_in_use("") == PermitsInUse("search", "", 1, 1, 2), "two wait")
        (status,) = await until(told, "the worker has told it", within=60)
        (permits,) = status["permits"]
        assert permits == {"guard": "search", "process": permits["process"], "used": 1, "of": 1, "waiting": 2}
        row = (await asyncio.to_thread(project.run, "guards")).out.splitlines()[1]
        assert "1 of 1, 2 wait" in row
        shown = (await asyncio.to_thread(project.run, "guards", "show", "search")).out
        assert f"  {permits['process']}  bulkhead: 1 of 1, 2 wait\n" in shown
        go.set()
    await shop.close()
