"""`outlast jobs` and `outlast dead` on a real file."""

from __future__ import annotations

import time

import pytest

from tests.support.apps.cli_app import SECRET, Seeded
from tests.support.command import Project

KEYS = {
    "id", "queue", "kind", "state", "reason", "args", "priority", "key", "unique", "attempt", "crashes", "begun",
    "enqueued_at", "run_at", "expires_at", "finished_at", "holder", "cancelling", "result", "progress", "effects",
    "failures", "usage",
}  # fmt: skip


def test_list_as_a_table_shows_every_id_whole(project: Project, seeded: Seeded) -> None:
    ran = project.run("jobs")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].split() == ["id", "kind", "state", "attempt", "accepted", "took", "what"]
    assert {line.split()[0] for line in lines[1:]} == set(vars(seeded).values())
    assert SECRET not in ran.out
    assert "\x1b" not in ran.out
    scheduled = next(line for line in lines if line.startswith(seeded.scheduled))
    assert "due in 60 min" in scheduled


def test_list_by_every_filter(project: Project, seeded: Seeded) -> None:
    def ids(*arguments: str) -> list[str]:
        ran = project.run("jobs", "list", "--json", *arguments)
        assert ran.code == 0, ran.err
        return [job["id"] for job in ran.json["jobs"]]

    assert ids("--queue", "mail") == [seeded.dead, seeded.succeeded]
    assert ids("--state", "dead,scheduled") == [seeded.scheduled, seeded.dead]
    assert ids("-s", "ready", "-s", "dead", "-q", "mail") == [seeded.dead]
    assert ids("--kind", "wait") == [seeded.scheduled, seeded.ready]
    assert ids("--key", "ann") == [seeded.ready]
    assert ids("--key", "nobody") == []


def test_pages_follow_each_other(project: Project, seeded: Seeded) -> None:
    first = project.run("jobs", "--json", "--limit", "3").json
    rest = project.run("jobs", "--json", "--limit", "3", "--cursor", first["cursor"]).json
    assert [job["id"] for job in [*first["jobs"], *rest["jobs"]]] == list(reversed(list(vars(seeded).values())))
    assert rest["cursor"] is None
    assert f"add --cursor {first['cursor']}" in project.run("jobs", "--limit", "3").err


def test_the_json_of_a_job_has_stable_keys(project: Project, seeded: Seeded) -> None:
    job = project.run("jobs", "show", seeded.succeeded, "--json").json
    assert set(job) == KEYS
    assert (job["id"], job["queue"], job["kind"], job["state"]) == ("mail.first", "mail", "send", "succeeded")
    assert job["args"] == {"order": 1, "email": "a@b.c", "password": "[redacted]"}
    assert (job["key"], job["result"], job["attempt"], job["failures"]) == ("a@b.c", "sent 1", 1, [])
    assert job["enqueued_at"] <= job["finished_at"] <= time.time()
    failed = project.run("jobs", "show", seeded.dead, "--json").json
    assert [set(each) <= {"attempt", "at", "type", "message", "traceback"} for each in failed["failures"]] == [True] * 2
    assert project.run("--json", "jobs", "list").json["jobs"][0].keys() == KEYS


def test_show_tells_all_but_the_secret(project: Project, seeded: Seeded) -> None:
    ran = project.run("jobs", "show", seeded.dead)
    assert ran.code == 0
    assert f"job        {seeded.dead}" in ran.out
    assert "state      dead (attempts)" in ran.out
    assert '"password":"[redacted]"' in ran.out
    assert "attempt 1 failed" in ran.out
    assert "attempt 2 failed" in ran.out
    assert "raise ValueError" in ran.out
    assert "no luck\\x1b[31m with [redacted]" in ran.out, "an error must not steer the terminal"
    assert SECRET not in ran.out
    assert "\x1b" not in ran.out


def test_a_job_that_is_not_there(project: Project, seeded: Seeded) -> None:
    ran = project.run("jobs", "show", "mail.nope")
    assert (ran.code, ran.out) == (6, "")
    assert "no job mail.nope" in ran.err
    assert "an id has the form queue.rest" in project.run("jobs", "show", "nope").err


def test_cancel_answers_for_each_id(project: Project, seeded: Seeded) -> None:
    ran = project.run("jobs", "cancel", seeded.ready, seeded.succeeded, "mail.nope")
    assert ran.code == 1
    assert ran.out.splitlines() == [f"{seeded.ready} is cancelled, or asked to stop if it runs"]
    assert ran.err.splitlines() == [
        f"outlast: {seeded.succeeded}: has already ended",
        "outlast: mail.nope: not found: it was never enqueued here, or it was removed (retention or purge)",
    ]
    again = project.run("jobs", "cancel", "--json", seeded.ready, "mail.nope")
    assert again.json["answers"] == [
        {"id": seeded.ready, "ok": False, "changed": 0, "why": "ended"},
        {"id": "mail.nope", "ok": False, "changed": 0, "why": "unknown"},
    ]
    assert project.run("jobs", "cancel", "mail.nope").code == 6
    assert project.run("jobs", "show", seeded.ready, "--json").json["state"] == "cancelled"


def test_redrive_and_run_now(project: Project, seeded: Seeded) -> None:
    assert project.run("jobs", "redrive", seeded.dead).out == f"{seeded.dead} is ready again\n"
    job = project.run("jobs", "show", seeded.dead, "--json").json
    assert (job["state"], job["attempt"]) == ("ready", 1)
    assert project.run("jobs", "redrive", seeded.dead).code == 1
    assert project.run("jobs", "run-now", seeded.scheduled).code == 0
    assert project.run("jobs", "show", seeded.scheduled, "--json").json["state"] == "ready"
    refused = project.run("jobs", "run-now", seeded.scheduled)
    assert (refused.code, refused.err) == (
        1,
        f"outlast: {seeded.scheduled}: is not scheduled: it is due already\n",
    )


def test_purge_erases_by_key_id_and_queue(project: Project, seeded: Seeded) -> None:
    asked = project.run("jobs", "purge", "--key", "a@b.c")
    assert (asked.code, asked.out) == (2, "")
    assert "would remove 1 job for good: no terminal: confirm with --yes" in asked.err
    assert project.run("jobs", "purge", "--key", "a@b.c", "--yes").out == "1 job removed\n"
    assert project.run("jobs", "show", seeded.succeeded).code == 6
    assert project.run("jobs", "purge", "--id", seeded.dead, "--id", "mail.nope", "-y").code == 6
    assert project.run("jobs", "show", seeded.dead).code == 6
    partly = project.run("jobs", "purge", "--queue", "slow", "--state", "scheduled", "--yes", "--json")
    assert partly.json == {"removed": 1}
    assert project.run("jobs", "purge", "--queue", "slow", "--yes", "--json").json == {"removed": 1}
    assert [job["id"] for job in project.run("jobs", "--json").json["jobs"]] == [seeded.full]


def test_purge_asks_on_a_terminal(project: Project, seeded: Seeded) -> None:
    no = project.run_on_terminal("jobs", "purge", "--queue", "mail", answer="n\n")
    assert no.code == 1
    assert "Remove 2 jobs of " in no.out
    assert project.run("jobs", "show", seeded.dead).code == 0
    yes = project.run_on_terminal("jobs", "purge", "--queue", "mail", answer="y\n")
    assert (yes.code, yes.out.endswith("2 jobs removed\n")) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("jobs", "purge"), "name what to remove"),
        (("jobs", "purge", "--id", "a.b", "--queue", "q"), "name what to remove"),
        (("jobs", "purge", "--key", "k", "--state", "dead"), "--state needs --queue"),
        (("jobs", "list", "--state", "sleeping"), "no state 'sleeping': give one of waiting, scheduled"),
        (("jobs", "list", "--cursor", "last"), "--cursor last"),
        (("jobs", "list", "--limit", "0"), "--limit"),
        (("jobs", "cancel"), "Missing argument"),
        (("dead", "redrive"), "name ids or a filter, or give --all"),
        (("dead", "redrive", "a.b", "--all"), "name ids or a filter, or give --all"),
        (("dead", "purge"), "name ids or a filter, or give --all"),
        (("dead", "redrive", "a.b", "--queue", "q"), "need --all or a filter"),
    ],
)
def test_a_wrong_command_line(project: Project, arguments: tuple[str, ...], said: str) -> None:
    ran = project.run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("command", [("jobs", "show"), ("jobs", "list", "--key"), ("queues", "list")])
def test_a_word_that_is_not_utf8(project: Project, seeded: Seeded, command: tuple[str, ...]) -> None:
    ran = project.run(*command, "mail.\udcff")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("outlast: 'mail.\\udcff' is not UTF-8 text")


def test_dead_letters_are_listed_and_redriven(project: Project, seeded: Seeded) -> None:
    listed = project.run("dead")
    assert listed.code == 0
    head, line = listed.out.splitlines()
    assert head.split() == ["id", "kind", "reason", "attempts", "died", "error"]
    assert line.split()[:4] == [seeded.dead, "fail", "attempts", "2"]
    assert "ValueError: no luck\\x1b[31m with [redacted]" in line
    assert [job["id"] for job in project.run("dead", "--json", "--queue", "mail").json["jobs"]] == [seeded.dead]
    assert project.run("dead", "list", "--kind", "send").err == f"no dead letters in {project.file}\n"
    assert project.run("dead", "redrive", "--all", "--queue", "slow", "-y").err == f"no such jobs in {project.file}\n"
    assert project.run("dead", "redrive", "--all", "--queue", "mail", "-y").out == "1 job ready again\n"
    assert project.run("dead", "redrive", seeded.dead).code == 1
    assert project.run("dead", "redrive", "--all", "--json", "--yes").json == {
        "matched": 0,
        "changed": 0,
        "refused": [],
        "interrupted": False,
    }


@pytest.mark.parametrize(
    "words",
    [["jobs", "show", "a", "\u202eb"], ["\u202eb"], ["--\u202eb"], ["jobs", "--\u202eb"], ["route", "--\u202eb"]],
)
def test_a_wrong_command_line_does_not_control_the_terminal(project: Project, words: list[str]) -> None:
    ran = project.run(*words)
    assert ran.code == 2
    assert "\u202e" not in ran.err
    assert "\\u202eb" in ran.err
