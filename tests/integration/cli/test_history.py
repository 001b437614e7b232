"""`outlast cost`, `report` and `top`, as a user runs them; and the journal of what the commands have done."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from fcntl import ioctl

import pytest

from outlast.aio.clock import SystemClock
from outlast.brokers.registry import connect
from outlast.core.history import Cost, QueueSample
from outlast.core.store.store import Store
from tests.support.apps.cli_app import SECRET, Seeded
from tests.support.command import Project


def on_store(project: Project, call: object) -> object:
    """Call with the project's store, open."""

    async def run() -> object:
        store = connect(project.url, clock=SystemClock(), max_body=1 << 20)
        await store.broker.open()
        try:
            return await call(store)  # type: ignore[operator]
        finally:
            await store.broker.close()

    return asyncio.run(run())


@pytest.fixture
def told(project: Project, seeded: Seeded) -> Project:
    """A project whose store has a history."""

    async def fill(store: Store) -> None:
        await store.history.keep_samples({"mail": QueueSample(depth=40, oldest=75.0, ended={"succeeded": 9})})
        await store.history.add_costs("w", 1, [Cost(kind="render", tenant="ann", runs=4, cpu=3600.0, wall=7200.0)])

    on_store(project, fill)
    return project


def test_costs_are_what_the_workers_have_added(project: Project, seeded: Seeded) -> None:
    ran = project.run("cost", "--by", "kind,tenant")
    assert ran.code == 0
    head, *rows = (line.split() for line in ran.out.splitlines())
    assert head == ["kind", "tenant", "runs", "cpu", "wall", "bytes"]
    assert {(row[0], row[1], row[2]) for row in rows} == {
        ("send", "a@b.c", "1"),
        ("fail", "-", "2"),
        ("total", "3", "0.0"),
    }
    assert "OUTLAST_PRICES" in ran.err


def test_costs_are_priced_by_the_settings(told: Project) -> None:
    prices = {"OUTLAST_PRICES": "cpu_hour=2 render:wall_hour=0.5 currency=EUR"}
    ran = told.run("cost", "--top", "1", env=prices)
    assert ran.out.splitlines()[1].split() == ["render", "4", "1", "h", "2", "h", "0", "B", "3.00", "EUR"]
    assert "There are 2 more: add --top 3" in ran.err
    document = told.run("cost", "--json", "--by", "tenant", "--days", "1", env=prices).json
    assert (document["currency"], document["more"], document["total"]["runs"]) == ("EUR", 0, 7)
    assert document["costs"][0] == {"tenant": "ann", "runs": 4, "cpu": 3600.0, "wall": 7200.0, "bytes": 0, "price": 3.0}
    assert "cost       3.00 EUR since" in told.run("report", env=prices).out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("cost", "--by", "host"), "--by host: give kind, tenant or day"),
        (("cost", "--by", ","), "--by ,: give kind"),
        (("report", "--since", "1s"), "--since 1s: give 1m to 30d"),
        (("report", "--since", "soon"), "--since='soon': give a number with its unit"),
        (("top", "--every", "1ms"), "--every 1ms: give 0.5s to 1h"),
    ],
)
def test_what_cannot_be_asked_for(project: Project, arguments: tuple[str, ...], text: str) -> None:
    ran = project.run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert text in ran.err


def test_a_store_without_runs_says_what_adds_them(project: Project) -> None:
    on_store(project, _nothing)
    ran = project.run("cost")
    assert (ran.code, ran.out) == (0, "")
    assert "no runs in" in ran.err


async def _nothing(store: Store) -> None:
    """Only make the store."""


def test_a_report_is_short_and_has_no_secret(told: Project) -> None:
    told.run("queues", "pause", "slow")
    ran = told.run("report")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 100
    found = {line.split()[0]: line for line in lines if not line.startswith(" ")}
    assert "1 fail: ValueError: no luck" in found["failures"]
    assert found["slowest"].startswith("slowest    render 30 min")
    assert "mail: empty, up to 40 at" in ran.out
    assert "oldest 1 min at" in ran.out
    assert "slow: 2 jobs, paused" in ran.out
    assert "pause queue slow" in found["operators"]
    assert SECRET not in ran.out
    document = told.run("report", "--since", "1h", "--json").json
    assert [(each["kind"], each["count"]) for each in document["failures"]] == [("fail", 1)]
    assert SECRET not in str(document)


def test_top_into_a_pipe_is_one_reading(told: Project) -> None:
    told.run("guards", "open", "payments", "--app", "main:shop")
    ran = told.run("top")
    assert (ran.code, ran.err) == (0, "")
    head, mail, *_ = ran.out.splitlines()
    assert head.split()[:3] == ["queue", "depth", "ready"]
    assert mail.split()[:2] == ["mail", "0"]
    assert len(told.run("top", "mail", "--once").out.splitlines()) == 2
    document = told.run("top", "--json").json
    assert set(document["queues"]) == {"mail", "slow", "small"}
    assert document["samples"]["mail"][0][1] == 40


def test_commands_are_in_the_journal_and_no_argument_is(project: Project, seeded: Seeded) -> None:
    project.run("queues", "pause", "mail")
    project.run("jobs", "cancel", seeded.ready)
    project.run("jobs", "edit", seeded.scheduled, "--args", f'{{"who": "{SECRET}", "seconds": 0}}')
    project.run("dead", "redrive", seeded.dead)
    project.run("jobs", "purge", "--key", "a@b.c", "--yes")

    async def read(store: Store) -> str:
        return "\n".join(
            f"{each.what}|{each.subject}|{each.detail}" for each in await store.history.journal("audit", 99)
        )

    found = str(on_store(project, read)).splitlines()
    assert found[::-1] == [
        "pause|queue mail|",
        f"cancel|queue slow|{seeded.ready}",
        f"edit|queue slow|args, {seeded.scheduled}",
        f"redrive|queue mail|{seeded.dead}",
        "purge||the jobs of a key",
    ]


class Terminal:
    """`outlast top` on a terminal of 120 columns."""

    def __init__(self, project: Project) -> None:
        self.master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        command = [sys.executable, "-m", "outlast", "top", "--every", "0.5s", "--url", project.url]
        environment = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
        self.text = ""

    def until(self, word: str, *, within: float = 60.0) -> None:
        """Read until the screen has had this word since the last call."""
        seen, end = "", time.monotonic() + within
        while word not in seen:
            assert time.monotonic() < end, f"no {word!r} in {seen[-2000:]!r}"
            if select.select([self.master], [], [], 1.0)[0]:
                seen += os.read(self.master, 65536).decode(errors="replace")
        self.text += seen


@pytest.fixture
def terminal(told: Project) -> Iterator[Terminal]:
    found = Terminal(told)
    yield found
    if found.process.poll() is None:
        found.process.kill()
    found.process.wait()
    os.close(found.master)
    os.close(found.slave)


@pytest.mark.parametrize("end", ["q", "interrupt"])
def test_top_draws_again_until_it_is_told_to_end(told: Project, terminal: Terminal, end: str) -> None:
    terminal.until("small")
    told.run("queues", "pause", "slow")
    terminal.until("pause queue slow")
    if end == "q":
        os.write(terminal.master, b"q")
    else:
        terminal.process.send_signal(signal.SIGINT)
    terminal.until("\x1b[?1049l")  # the screen of before
    assert terminal.process.wait(30) == 0
    assert termios.tcgetattr(terminal.slave) == terminal.before
