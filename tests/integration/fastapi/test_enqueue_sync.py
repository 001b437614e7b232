"""enqueue_sync where it is needed: in a handler's own thread, in plain scripts, and across processes that fork."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from outlast import Outlast, Settings
from tests.support.working import working


async def test_from_a_handlers_thread(app: Outlast) -> None:
    @app.job
    def child(number: int) -> int:
        return number + 1

    @app.job
    def parent(number: int) -> str:
        return child.enqueue_sync(number).id

    async with working(app):
        job_id = await (await parent.enqueue(1)).result(30)
        assert await app.handle(job_id).result(30) == 2


async def test_close_lets_go_of_the_blocking_side_too(tmp_path: Path) -> None:
    app = Outlast("app", settings=Settings(url=f"sqlite:{tmp_path}/jobs.db"))

    @app.job
    def child(number: int) -> int:
        return number

    first = await asyncio.to_thread(child.enqueue_sync, 1)
    await app.close()
    assert not [*app._wired().connections._connections]
    second = await asyncio.to_thread(child.enqueue_sync, 2)
    assert (await first.status(), await second.status()) == ("ready", "ready")
    await app.close()


SCRIPT = """
import os, sys
from outlast import Outlast, Settings

shop = Outlast("shop", settings=Settings(url="sqlite:jobs.db"))

@shop.job
def child(number: int) -> int:
    return number

if sys.argv[1] == "fork":
    shop.settings
    child.message(0)
    pid = os.fork()
    handle = child.enqueue_sync(1)
    print(handle.id, handle.created, flush=True)
    if pid:
        os.waitpid(pid, 0)
else:
    print(child.enqueue_sync(1).durability)
"""


@pytest.mark.parametrize("mode", ["script", "fork"])
def test_a_script_ends_by_itself_without_a_warning(tmp_path: Path, mode: str) -> None:
    command = [sys.executable, "-W", "error", "-c", SCRIPT, mode]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    if mode == "script":
        assert lines == ["os-crash"]
    else:
        assert len(set(lines)) == 2  # two processes from one state make different ids
        assert all(line.endswith("True") for line in lines)
