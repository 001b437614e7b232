"""`outlast health`, as an exec probe runs it: what it costs, what it imports, and what it exits with."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.command import PLAIN, Project
from tests.support.polling import until

IMPORTED = """
import json, sys
before = set(sys.modules)
from outlast.cli import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(set(sys.modules) - before)]))
"""
"""Prints the exit code of a command and what it has imported."""
LIGHT = {"outlast", "outlast.cli", "outlast.observe", "outlast.observe.health"}
LIGHT |= {"outlast.observe.health.places", "outlast.observe.health.probe"}


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the sockets of this test alone: a supervisor of another test is no one that it asks."""
    with TemporaryDirectory(prefix="oh-", dir="/tmp") as folder:  # the name of a socket must be short
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder) / f"outlast-health-{os.getuid()}"


async def test_a_probe_finds_the_service_and_sees_it_drain_and_end(project: Project, place: Path) -> None:
    socket_of = ("--socket", str(project.folder / "health"))
    with project.running("worker", "main:shop", "--health-socket", socket_of[1]) as worker:
        await until(lambda: project.run("health", *socket_of, "--ready").code == 0, "it is ready")
        found = project.run("health", *socket_of)
        assert (found.code, found.out, found.err) == (0, "live: 1 worker: 1 consuming\n", "")
        assert project.run("health", "--started", *socket_of).out == "started: 1 worker: 1 consuming\n"
        worker.process.send_signal(signal.SIGTERM)
        await until(lambda: worker.process.poll() is not None, "it ends")
        assert worker.process.returncode == 0
    found = project.run("health", *socket_of)
    assert (found.code, found.out) == (1, "")
    assert f"no supervisor listens on {socket_of[1]}: start `outlast worker`" in found.err


async def test_without_an_option_it_finds_the_supervisor_also_beside_one_that_was_killed(
    project: Project, place: Path
) -> None:
    with project.running("worker", "main:shop") as worker:
        await until(lambda: len(list(place.glob("*.health"))) == 1, "its socket is there")
        worker.process.kill()
        worker.process.wait()
    (left,) = place.glob("*.health")
    with project.running("worker", "main:shop"):
        await until(lambda: [each for each in place.glob("*.health") if each != left], "the other's is there")
        assert not left.exists(), "the one that was left is removed"


async def test_it_imports_no_user_code_and_next_to_nothing_else(project: Project, place: Path) -> None:
    project.write("main.py", f"{PLAIN}\nimport pathlib\npathlib.Path('imported').open('a').write('once ')\n")
    path = str(project.folder / "health")
    with project.running("worker", "main:shop", "--health-socket", path):
        await until(lambda: project.run("health", "--socket", path, "--ready").code == 0, "it is ready")
        words = [sys.executable, "-c", IMPORTED, "health", "--socket", path]
        done = subprocess.run(words, cwd=project.folder, capture_output=True, text=True, check=True)
    *told, answer = done.stdout.splitlines()
    code, imported = json.loads(answer)
    assert (code, told) == (0, ["live: 1 worker: 1 consuming"])
    assert {each for each in imported if each.partition(".")[0] == "outlast"} == LIGHT
    assert {each.partition(".")[0] for each in imported} & {"typer", "rich", "msgspec", "pydantic", "asyncio"} == set()
    assert (project.folder / "imported").read_text() == "once ", "the worker alone has imported the app"


def test_help_and_wrong_options_are_as_those_of_every_command(project: Project) -> None:
    found = project.run("health", "--help")
    assert found.code == 0
    assert "--ready" in found.out
    assert " health " in project.run("--help").out
    found = project.run("health", "--timeout", "0")
    assert (found.code, found.err) == (
        2,
        "outlast: health: --timeout 0: give more than 0 and less than 3600 seconds\n",
    )
    for both in (("--ready", "--started"), ("--started", "--ready")):
        found = project.run("health", *both)
        assert (found.code, found.err) == (2, "outlast: health: give --ready or --started, not both\n")
    assert project.run("health", "more").code == 2


async def test_a_port_that_is_taken_stops_no_job_and_is_told(project: Project, place: Path) -> None:
    path = str(project.folder / "health")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with project.running("worker", "main:shop", "--listen", f":{port}", "--health-socket", path) as worker:
            await until(lambda: project.run("health", "--socket", path, "--ready").code == 0, "it works")
            assert worker.text.count(f"cannot listen on 127.0.0.1:{port} (Address already in use)") == 1


@pytest.mark.parametrize("by", ["option", "variable"])
def test_an_address_that_is_none_is_refused_before_anything_starts(project: Project, by: str) -> None:
    wrong = "http://127.0.0.1:80"
    words, env = (("--listen", wrong), {}) if by == "option" else ((), {"OUTLAST_LISTEN": wrong})
    found = project.run("worker", "main:shop", *words, env=env)
    assert found.code == 2
    assert f"listen={wrong!r}: give an address such as '127.0.0.1:9464'" in found.err
