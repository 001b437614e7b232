"""Commands with closed streams, narrow encodings, readers that have gone, and no working directory."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from outlast import Outlast, Settings
from tests.support import prepared
from tests.support.apps.cli_app import declare
from tests.support.command import ROOT, Project, Ran

SNOWMAN = "\u2603 \U0001f600 \u00e9"


@pytest.fixture
def filled(project: Project) -> Project:
    """A project with a hundred jobs whose text is not ASCII."""

    async def fill() -> None:
        shop = Outlast("shop", settings=Settings(url=project.url))
        jobs = declare(shop)
        async with shop:
            await shop.enqueue_many(jobs.send.message(order, SNOWMAN) for order in range(100))

    asyncio.run(fill())
    return project


def shell(project: Project, script: str, *words: str, cwd: Path | None = None, **environ: str) -> Ran:
    """Run a shell script in which "$@" is the command `outlast` with these words."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OUTLAST")}
    done = subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, "-m", "outlast", *words],
        cwd=cwd or project.folder,
        env={**kept, "PYTHONPATH": str(ROOT), **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1"))


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("jobs",), 0),
        (("jobs", "show", "mail.nope"), 6),
        (("jobs", "cancel", "queue:mail"), 2),
        (("jobs", "cancel", "queue:none"), 2),
        (("worker", "main:nosuch"), 2),
        (("--help",), 0),
    ],
)
def test_a_closed_stream_is_as_dev_null(filled: Project, words: tuple[str, ...], code: int, closed: str) -> None:
    ran = shell(filled, f'"$@" {closed}', *words)
    assert ran.code == code, ran.err
    assert "Traceback" not in ran.err
    assert "unexpected" not in ran.err


def test_a_file_does_not_get_the_number_of_a_closed_stream(filled: Project) -> None:
    assert shell(filled, '"$@" 2>&- >&-', "jobs", "list", "state!=dead").code == 0
    listed = filled.run("jobs", "--json", "--limit", "1000")
    assert len(listed.json["jobs"]) == 100, "nothing was printed into the store"


@pytest.mark.parametrize("coding", ["ascii", "latin-1", "utf-8"])
def test_what_the_encoding_lacks_is_escaped(filled: Project, coding: str) -> None:
    whole = shell(filled, '"$@"', "jobs", "--json", "-n", "1", PYTHONIOENCODING=coding)
    (job,) = json.loads(whole.out.encode("latin-1").decode("utf-8" if coding == "utf-8" else "ascii"))["jobs"]
    assert job["args"]["email"] == SNOWMAN
    shown = shell(filled, '"$@"', "jobs", "show", job["id"], PYTHONIOENCODING=coding)
    assert (shown.code, shown.err) == (0, "")
    assert ("\\u2603 \\U0001f600" in shown.out) == (coding != "utf-8")


@pytest.mark.parametrize("words", [("jobs", "-n", "100"), ("jobs", "--json", "-n", "100"), ("config", "show")])
def test_a_reader_that_has_gone_is_no_error(filled: Project, words: tuple[str, ...]) -> None:
    for reader in ("true", "head -n 1 >/dev/null"):
        ran = shell(filled, f'"$@" | {reader}; exit ${{PIPESTATUS[0]}}', *words)
        assert (ran.code, ran.out, ran.err) == (0, "", "")
    gone = shell(filled, '"$@" 2>&1 >/dev/null | true; exit ${PIPESTATUS[0]}', "jobs", "show", "mail.nope")
    assert gone.code == 6, "a remark that is not read changes nothing"


def test_a_full_disk_is_told(filled: Project) -> None:
    for words in (("jobs", "-n", "100"), ("config", "show", "--json"), ("version",)):
        ran = shell(filled, '"$@" >/dev/full', *words)
        assert ran.code == 1
        assert ran.err == ("outlast: stdout cannot be written (No space left on device): the output is not complete\n")


@pytest.mark.parametrize("words", [("jobs",), ("doctor",), ("dev", "main:app"), ("call", "main:shop", "send")])
def test_a_removed_working_directory_is_named(project: Project, words: tuple[str, ...]) -> None:
    (project.folder / "gone").mkdir()
    ran = shell(project, 'rmdir ../gone && "$@"', *words, cwd=project.folder / "gone")
    assert ran.code == 2
    assert ran.err == (
        "outlast: the working directory does not exist any more: change to another one, and start again\n"
    )


def test_a_store_with_an_absolute_path_needs_no_working_directory(filled: Project) -> None:
    (filled.folder / "gone").mkdir()
    ran = shell(filled, 'rmdir ../gone && "$@"', "queues", "--url", filled.url, cwd=filled.folder / "gone")
    assert (ran.code, ran.err) == (0, "")


def test_the_script_and_the_module_are_one_command(project: Project) -> None:
    """The tests' own way to run the module as well, which begins with the libraries loaded."""
    script = Path(sys.executable).with_name("outlast")
    for words in (["version"], ["jobs", "--help"], ["nosuch"]):
        ran = [
            subprocess.run([*start, *words], capture_output=True, text=True, check=False, cwd=project.folder)
            for start in ([str(script)], [sys.executable, "-m", "outlast"])
        ]
        ran.append(prepared.run(["outlast", *words], cwd=project.folder, env={**os.environ, "PYTHONPATH": str(ROOT)}))
        assert len({(each.returncode, each.stdout, each.stderr) for each in ran}) == 1


@pytest.mark.parametrize(
    "url",
    [
        "redis:user:hunter2Zq@127.0.0.1:1/0",
        "redis://hunter2Zq@127.0.0.1:1/0",
        "redis://user:hunter2Zq/x?y#z@127.0.0.1:1/0",
        "hunter2Zq@127.0.0.1:1",
        "redis://:hunter2Zq",
    ],
)
def test_no_command_shows_the_password_of_a_wrong_url(project: Project, url: str) -> None:
    environ = {"OUTLAST_URL": url, "OUTLAST_LEASE": "5m", "OUTLAST_DEBUG": "1"}
    for words in (
        ("jobs",),
        ("config", "show"),
        ("doctor", "--json"),
        ("backup", "x.db"),
        ("call", "main:shop", "send"),
    ):
        ran = project.run(*words, env=environ)
        assert "hunter2Zq" not in ran.out + ran.err
    ran = project.run("jobs", env={"OUTLAST_LEASE": url})
    assert ran.code == 2
    assert "hunter2Zq" not in ran.err
