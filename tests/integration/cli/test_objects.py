"""The command line and jobs whose arguments are in the object store."""

from __future__ import annotations

from tests.support.command import Project

APP = """from outlast import Outlast

shop = Outlast("shop")


@shop.job(queue="mail")
async def send(text: str) -> str:
    return text.upper()
"""
ENV = {"OUTLAST_OBJECTS_URL": "file:objects", "OUTLAST_OBJECTS_OVER": "100"}
LARGE = "x" * 500


def test_commands_show_the_reference_and_refuse_what_it_cannot_do(project: Project) -> None:
    (project.folder / "main.py").write_text(APP)
    called = project.run("call", "main:shop", "send", "-a", f"text={LARGE}", "--json", env=ENV)
    assert called.code == 0, called.err
    job = called.json["id"]
    shown = project.run("jobs", "show", job, env=ENV)
    assert shown.code == 0, shown.err
    assert "outlast:object" in shown.out
    assert LARGE not in shown.out
    edited = project.run("jobs", "edit", job, "--arg", "text=y", env=ENV)
    assert edited.code == 2
    assert "give all of them with --args" in edited.err
    moved = project.run("move", "--to", "sqlite:there.db", "--yes", "--json", env={"OUTLAST_OBJECTS_URL": "file:other"})
    assert moved.code == 1, moved.out
    assert moved.json["refused"] == [{"why": "no-object", "jobs": 1, "such_as": job}]
    assert "give the objects_url of its workers" in moved.err
    moved = project.run("move", "--to", "sqlite:there.db", "--yes", "--json", env=ENV)
    assert (moved.code, moved.json["moved"]) == (0, 1), moved.err
    there = project.run("jobs", "show", job, "--json", env={**ENV, "OUTLAST_URL": "sqlite:there.db"})
    assert there.json["args"] == {"text": LARGE}


def test_a_call_that_waits_prints_the_result_itself(project: Project) -> None:
    (project.folder / "main.py").write_text(APP)
    with project.running("worker", "main:shop", env=ENV):
        called = project.run("call", "main:shop", "send", "-a", f"text={LARGE}", "--wait", env=ENV)
    assert called.code == 0, called.err
    assert called.out.splitlines()[-1] == f'"{LARGE.upper()}"'


def test_the_doctor_looks_at_the_place_of_objects(project: Project) -> None:
    found = {}
    for url in ("file:objects", "s3://bucket/x?endpoint=http://127.0.0.1:9&region=r"):
        ran = project.run(
            "doctor", "--json", env={"OUTLAST_OBJECTS_URL": url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}
        )
        found[url[:2]] = [each["severity"] for each in ran.json["findings"] if each["check"] == "objects"]
    assert found == {"fi": ["ok"], "s3": ["error"]}
