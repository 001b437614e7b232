"""Filters, changes of many jobs at once, editing, calling and completion, on a real file."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator

import pytest

from outlast import Outlast, Settings
from tests.support.apps.cli_app import SECRET, Seeded, declare
from tests.support.command import Project


def fill(project: Project, number: int) -> None:
    """Enqueue that many jobs of kind `wait`."""

    async def run() -> None:
        shop = Outlast("shop", settings=Settings(url=project.url))
        jobs = declare(shop)
        async with shop:
            await shop.enqueue_many(jobs.wait.message(f"user-{n % 10}") for n in range(number))

    asyncio.run(run())


def ids(project: Project, *arguments: str) -> list[str]:
    ran = project.run(*arguments, "--json")
    assert ran.code == 0, ran.err
    return [job["id"] for job in ran.json["jobs"]]


def test_words_filter_a_list(project: Project, seeded: Seeded) -> None:
    assert ids(project, "jobs", "state:dead") == [seeded.dead]
    assert ids(project, "jobs", "list", "state:dead,scheduled", "state:ready", "queue:slow") == [
        seeded.scheduled,
        seeded.ready,
    ]
    assert ids(project, "jobs", "args.order:1") == [seeded.succeeded]
    assert ids(project, "jobs", 'args.order:"1"') == []
    assert ids(project, "jobs", "key:ann", "--queue", "slow") == [seeded.ready]
    assert ids(project, "jobs", "older:1h") == []
    assert len(ids(project, "jobs", "newer:1h")) == 5
    assert ids(project, "dead", "args.order:2", "reason:attempts") == [seeded.dead]
    assert ids(project, "dead", "args.order:1") == []


def test_a_secret_is_never_found(project: Project, seeded: Seeded) -> None:
    assert ids(project, "jobs", f"args.password:{SECRET}") == []
    assert ids(project, "jobs", "args.password:[redacted]") == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("jobs", "stat:dead"), "no field 'stat', did you mean 'state'? there are state, queue"),
        (("jobs", "list", "dead"), "filter 'dead': give field:value"),
        (("jobs", "queue:a", "--queue", "b"), "this field has another value already"),
        (("jobs", "cancel", "mail.first", "state:ready"), "'mail.first': give only ids, or only a filter"),
        (("jobs", "cancel", "mail.first", "--yes"), "--rate and --yes need a filter"),
        (("jobs", "cancel", "queue:slow", "--rate", "fast"), "--rate='fast': give a rate such as"),
        (("dead", "state:ready"), "dead letters only: use outlast jobs for other states"),
        (("jobs", "edit", "mail.first"), "edit: name what to change"),
        (("jobs", "edit", "mail.first", "--args", "[]"), "--args: give a JSON object"),
        (("jobs", "edit", "mail.first", "--arg", "x"), "--arg x: give NAME=VALUE"),
        (("jobs", "edit", "mail.first", "--arg", "x=1", "--arg", "x=2"), "x is given twice"),
        (("jobs", "edit", "mail.first", "--arg", "x=1", "--args", "{}"), "give --arg for some"),
        (("jobs", "edit", "mail.first", "--run-at", "soon"), "--run-at soon: give a time with its zone"),
        (("jobs", "edit", "mail.first", "--run-at", "2030-01-01T00:00"), "a datetime with a zone"),
        (("jobs", "edit", "mail.first", "--run-at", "1", "--delay", "1s"), "give one of --run-at and --delay"),
        (("jobs", "edit", "mail.first", "--priority", "urgent"), "priority='urgent'"),
        (("call", "main:shop", "sendd"), "declares no 'sendd', did you mean 'send'? it declares fail, send"),
        (("call", "main:shop", "send", "--timeout", "1s"), "--timeout needs --wait"),
        (("move", "--to", "sqlite:outlast.db"), "is the source and the target: name another store"),
        (("move", "--to", "memory:"), "would be lost when this command exits"),
    ],
)
def test_a_wrong_command_line(project: Project, seeded: Seeded, arguments: tuple[str, ...], said: str) -> None:
    ran = project.run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_a_bulk_change_is_shown_and_asked_about(project: Project, seeded: Seeded) -> None:
    refused = project.run("jobs", "cancel", "queue:slow")
    assert (refused.code, refused.out) == (2, "")
    assert "cancel would change 2 jobs: no terminal: confirm with --yes" in refused.err
    no = project.run_on_terminal("jobs", "cancel", "queue:slow", answer="n\n")
    assert no.code == 1
    assert "1  ready wait in slow" in no.out
    assert f"such as {seeded.scheduled}, {seeded.ready}" in no.out
    assert project.run("jobs", "show", seeded.ready, "--json").json["state"] == "ready"
    yes = project.run_on_terminal("jobs", "cancel", "queue:slow", answer="y\n")
    assert yes.code == 0
    assert "2 jobs cancelled, or asked to stop" in yes.out
    assert ids(project, "jobs", "state:cancelled") == [seeded.scheduled, seeded.ready]
    again = project.run("jobs", "redrive", "queue:slow", "state:cancelled", "--yes", "--json")
    assert again.json == {"matched": 2, "changed": 2, "refused": [], "interrupted": False}


def test_what_could_not_be_changed_is_told(project: Project, seeded: Seeded) -> None:
    ran = project.run("jobs", "redrive", "state:succeeded", "--yes")
    assert (ran.code, ran.out) == (1, "0 jobs ready again\n")
    assert f"1 job not changed, such as {seeded.succeeded}: has already ended" in ran.err


def test_only_a_dead_letter_is_purged_as_one(project: Project, seeded: Seeded) -> None:
    refused = project.run("dead", "purge", seeded.ready)
    assert (refused.code, refused.err) == (1, f"outlast: {seeded.ready}: has not ended: it still waits or runs\n")
    assert project.run("jobs", "show", seeded.ready).code == 0
    assert project.run("dead", "purge", seeded.dead).out == f"{seeded.dead} is removed\n"


def test_dead_letters_are_purged_by_a_filter(project: Project, seeded: Seeded) -> None:
    assert project.run("dead", "purge", "args.order:1", "--yes").err == f"no such jobs in {project.file}\n"
    assert project.run("dead", "purge", "args.order:2", "--yes").out == "1 job removed\n"
    assert project.run("jobs", "show", seeded.dead).code == 6


def test_ctrl_c_ends_a_bulk_change_between_two_steps(project: Project) -> None:
    fill(project, 400)
    with project.running("jobs", "cancel", "queue:slow", "--yes", "--rate", "20/s") as running:
        deadline = time.monotonic() + 30
        while not project.run("jobs", "list", "state:cancelled", "-n", "1", "--json").json["jobs"]:
            assert time.monotonic() < deadline, running.text
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.process.wait(30) == 130
        told = running.text
    done = len(project.run("jobs", "list", "state:cancelled", "-n", "1000", "--json").json["jobs"])
    assert 0 < done < 400
    assert f"{done} job{'s' if done > 1 else ''} cancelled, or asked to stop" in told
    assert f"interrupted: {done} of 400 done, {400 - done} unchanged" in told


def test_a_job_that_waits_is_edited(project: Project, seeded: Seeded) -> None:
    ran = project.run(
        "jobs", "edit", seeded.ready, "--arg", "who=7", "--priority", "high", "--delay", "1h", "--app", "main:shop"
    )
    assert (ran.code, ran.out) == (0, f"{seeded.ready} is changed\n")
    job = project.run("jobs", "show", seeded.ready, "--json").json
    assert (job["args"], job["priority"], job["state"]) == ({"who": "7"}, "high", "scheduled"), "who is text"
    assert 3500 < job["run_at"] - time.time() < 3700
    assert project.run("jobs", "edit", seeded.ready, "--args", '{"who": 7}').code == 0
    assert project.run("jobs", "show", seeded.ready, "--json").json["args"] == {"who": 7}, "nobody checks without --app"
    wrong = project.run("jobs", "edit", seeded.ready, "--arg", "seconds=long", "--app", "main:shop")
    assert (wrong.code, wrong.out) == (1, "")
    assert "wait: seconds: Input should be a valid number" in wrong.err
    unknown = project.run("jobs", "edit", seeded.ready, "--arg", "whom=x", "--app", "main:shop")
    assert "whom: no such parameter (it takes who, seconds)" in unknown.err
    assert project.run("jobs", "edit", "slow.no", "--priority", "low").code == 6
    assert project.run("jobs", "edit", seeded.succeeded, "--priority", "low").code == 1


def test_a_dead_job_is_edited_and_redriven_and_keeps_its_secret(project: Project, seeded: Seeded) -> None:
    ran = project.run("dead", "edit", seeded.dead, "--arg", "order=8", "--redrive", "--app", "main:shop", "--json")
    assert ran.json["answers"] == [{"id": seeded.dead, "ok": True, "changed": 1, "why": ""}]
    job = project.run("jobs", "show", seeded.dead, "--json").json
    assert (job["state"], job["args"]) == ("ready", {"order": 8, "password": "[redacted]"})
    with project.running("worker", "main:shop"):
        deadline = time.monotonic() + 30
        while project.run("jobs", "show", seeded.dead, "--json").json["state"] != "dead":
            assert time.monotonic() < deadline
    job = project.run("jobs", "show", seeded.dead, "--json").json
    assert "no luck\x1b[31m with [redacted]" in job["failures"][-1]["message"], "the handler got it whole"


def test_call_enqueues_and_waits(project: Project) -> None:
    ran = project.run("call", "main:shop", "send", "-a", "order=7", "-a", "email=007", "--id", "seven", "--delay", "1h")
    assert (ran.code, ran.out) == (0, "mail.seven\n")
    job = project.run("jobs", "show", "mail.seven", "--json").json
    assert (job["args"]["email"], job["key"], job["state"]) == ("007", "007", "scheduled")
    again = project.run("call", "main:shop", "send", "-a", "order=7", "-a", "email=b", "--id", "seven", "--json")
    assert again.json == {"id": "mail.seven", "durability": again.json["durability"], "created": False}
    wrong = project.run("call", "main:shop", "send", "-a", "order=x", "-a", "email=b")
    assert (wrong.code, "send: order: Input should be a valid integer" in wrong.err) == (1, True)
    late = project.run("call", "main:shop", "wait", "-a", "who=ann", "--wait", "--timeout", "10ms")
    assert late.code == 1
    assert "queue slow: no worker consumes it; waiting" in late.err
    assert "is ready; it has not ended" in late.err
    with project.running("worker", "main:shop"):
        sent = project.run("call", "main:shop", "send", "-a", "order=8", "-a", "email=b", "--wait")
        assert (sent.code, sent.out.splitlines()[1:]) == (0, ['"sent 8"'])
        failed = project.run("call", "main:shop", "fail", "-a", "order=1", "-a", f"password={SECRET}", "-w", "--json")
        assert (failed.code, failed.json["state"], failed.json["job"]["reason"]) == (1, "dead", "attempts")
        assert SECRET not in failed.out + failed.err


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def complete(project: Project, shell: str, line: str) -> str:
    words = line.split(" ")
    return project.run(
        env={
            "_OUTLAST_COMPLETE": f"complete_{shell}",
            "_TYPER_COMPLETE_ARGS": line,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "_TYPER_COMPLETE_WORD_TO_COMPLETE": words[-1],
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        }
    ).out


def test_the_shell_completes(project: Project, seeded: Seeded, shell: str) -> None:
    assert "queues" in complete(project, shell, "outlast q")
    assert "redrive" in complete(project, shell, "outlast dead r")
    assert "succeeded" in complete(project, shell, "outlast jobs list --state succ")
    assert "slow" in complete(project, shell, "outlast jobs list --queue s")
    assert "send" in complete(project, shell, "outlast jobs list --kind s")
    assert "slow" not in complete(project, shell, "outlast --url sqlite:none.db jobs list --queue s")
    assert not (project.folder / "none.db").exists()


def test_a_filter_is_completed(project: Project, seeded: Seeded) -> None:
    assert "state" in complete(project, "fish", "outlast jobs list sta")
    assert "state:dead" in complete(project, "fish", "outlast jobs list state:de")
    assert "queue:slow" in complete(project, "fish", "outlast jobs list queue:s")
    assert "kind:fail" in complete(project, "fish", "outlast --app main:shop jobs cancel kind:f")
