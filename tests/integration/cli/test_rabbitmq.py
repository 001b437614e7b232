"""The command line on a transport: what it shows, and what it refuses with the fix."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.command import Project
from tests.support.servers.rabbitmq_server import shared_rabbit

APP = """from outlast import Outlast

shop = Outlast("shop")


@shop.job(queue="mail")
async def send(order: int) -> None: ...
"""


@pytest.fixture
def url() -> Iterator[str]:
    with shared_rabbit().vhost() as vhost:
        yield shared_rabbit().url_of(vhost)


def test_queues_are_those_of_the_app(project: Project, url: str) -> None:
    (project.folder / "main.py").write_text(APP)
    env = {"OUTLAST_URL": url}
    ran = project.run("call", "main:shop", "send", "-a", "order=7", env=env)
    assert ran.code == 0, ran.err
    later = project.run("call", "main:shop", "send", "-a", "order=8", "--delay", "4h", env=env)
    assert later.code == 0, later.err
    shown = project.run("queues", "--app", "main:shop", "--json", env=env)
    assert shown.code == 0, shown.err
    (queue,) = shown.json["queues"]
    assert (queue["name"], queue["ready"], queue["dead"]) == ("mail", 1, 0)
    without = project.run("queues", env=env)
    assert without.code == 2
    assert "does not list its queues: name them, or give --app" in without.err


@pytest.mark.parametrize(
    ("command", "lack"), [("jobs", "keeps no records of jobs"), ("schedules", "keeps no schedules")]
)
def test_what_needs_a_store_is_refused_with_the_fix(project: Project, url: str, command: str, lack: str) -> None:
    ran = project.run(command, env={"OUTLAST_URL": url})
    assert ran.code == 2
    assert lack in ran.err
    assert "give url='redis://...'" in ran.err
    assert shared_rabbit().password not in ran.out + ran.err


def test_the_doctor_connects(project: Project, url: str) -> None:
    ran = project.run("doctor", env={"OUTLAST_URL": url})
    assert ran.code == 0
    assert "carries jobs and keeps no records" in ran.out
    refused = project.run("doctor", env={"OUTLAST_URL": shared_rabbit().url_of("none")})
    assert refused.code == 1
    assert "rabbitmqctl add_vhost 'none'" in refused.out + refused.err


def test_the_doctor_looks_at_the_queues_of_the_app_and_makes_none(project: Project, url: str) -> None:
    (project.folder / "main.py").write_text(APP)
    vhost = url.rpartition("/")[2]
    env, app = {"OUTLAST_URL": url}, ("--app", "main:shop", "--json")

    def of_queue() -> list[tuple[str, str]]:
        """Return severity and text of each finding of the queue, without the server's name."""
        found = project.run("doctor", *app, env=env).json["findings"]
        return [(each["severity"], each["text"]) for each in found if each["check"] == "queue mail"]

    assert of_queue() == [("warning", "it does not exist yet")]
    assert of_queue() == [("warning", "it does not exist yet")]
    assert project.run("call", "main:shop", "send", "-a", "order=7", env=env).code == 0
    assert of_queue() == [("error", "1 job ready, no worker")]
    server = shared_rabbit()
    server.api("DELETE", f"queues/{vhost}/mail.dead")
    missing = "its queue of dead letters, 'mail.dead', does not exist: they wait in 'mail' until it does"
    assert of_queue()[1:] == [("error", missing)]
    server.api("PUT", f"queues/{vhost}/mail.dead", {"durable": True})
    ((severity, text),) = of_queue()[1:]
    assert severity == "error"
    assert text.startswith("queue 'mail.dead' exists at amqp://")
