"""What the command line tells and does of the RabbitMQ of a bridge."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.command import ROOT, Project
from tests.support.servers.rabbitmq_server import RabbitServer

APP = ("--app", "main:shop")


def checks(project: Project, amqp_url: str, *more: str) -> dict[str, tuple[str, str]]:
    """Return the severity and the text of each finding of the doctor."""
    ran = project.run("doctor", *APP, "--json", *more, env={"OUTLAST_AMQP_URL": amqp_url})
    return {each["check"]: (each["severity"], each["text"]) for each in ran.json["findings"]}


ONCE = """import asyncio

from main import shop


async def run() -> None:
    async with shop:
        pass


asyncio.run(run())
"""


def started(project: Project, amqp_url: str) -> None:
    """Let the app declare what it has."""
    project.write("once.py", ONCE)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OUTLAST")}
    environ |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT), "OUTLAST_AMQP_URL": amqp_url}
    subprocess.run([sys.executable, "once.py"], cwd=project.folder, env=environ, check=True)


def test_the_doctor_looks_at_the_server_and_the_queues(bridged: Project, amqp_url: str) -> None:
    started(bridged, amqp_url)
    found = checks(bridged, amqp_url)
    assert found["RabbitMQ"][0] == "ok"
    assert "answers (amqp_url)" in found["RabbitMQ"][1]
    assert found["RabbitMQ queue billing"] == ("warning", "0 events waiting, and no worker takes them")
    assert amqp_url.split("@")[0].split("//")[1] not in str(found)


def test_the_doctor_tells_what_is_not_declared(bridged: Project, amqp_url: str) -> None:
    found = checks(bridged, amqp_url)
    assert found["exchange orders"][0] == "warning"
    assert found["RabbitMQ queue billing"] == ("error", "it does not exist: its events go nowhere")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("amqp://guest:guest@127.0.0.1:1/", "127.0.0.1:1"),
        ("redis://127.0.0.1", "amqp_url (Settings or OUTLAST_AMQP_URL): the scheme is none of amqp, amqps"),
        ("amqp://rabbit.internal/", "amqp_url (Settings or OUTLAST_AMQP_URL): there is no user"),
    ],
)
def test_the_doctor_tells_of_a_server_that_cannot_be_used(bridged: Project, url: str, why: str) -> None:
    severity, text = next(value for name, value in checks(bridged, url).items() if name in ("RabbitMQ", "amqp_url"))
    assert severity == "error"
    assert why in text


def test_the_settings_show_no_password(bridged: Project, amqp_url: str, rabbit: RabbitServer) -> None:
    ran = bridged.run("config", "show", *APP, env={"OUTLAST_SHOP_AMQP_URL": amqp_url})
    assert "OUTLAST_SHOP_AMQP_URL" in ran.out
    assert rabbit.password not in ran.out


def test_the_lists_say_what_they_do_not_know(bridged: Project, amqp_url: str) -> None:
    started(bridged, amqp_url)
    env = {"OUTLAST_AMQP_URL": amqp_url}
    for command in (("exchanges",), ("route", "orders", "order.eu.paid")):
        ran = bridged.run(*command, env=env)
        assert "billing" in ran.out or "orders" in ran.out
        assert "bindings that other clients made there are not shown" in ran.err


def test_a_prune_unbinds_on_the_server_too(bridged: Project, amqp_url: str, rabbit: RabbitServer, vhost: str) -> None:
    started(bridged, amqp_url)
    env = {"OUTLAST_AMQP_URL": amqp_url}

    def keys() -> set[str]:
        found = rabbit.api("GET", f"bindings/{vhost}")
        return {each["routing_key"] for each in found if each["source"] == "orders"}

    assert keys() == {"order.*.paid"}
    main = (bridged.folder / "main.py").read_text()
    bridged.write("main.py", main.replace("order.*.paid", "order.eu.paid"))
    started(bridged, amqp_url)
    assert keys() == {"order.*.paid", "order.eu.paid"}
    assert bridged.run("topology", "prune", *APP, "--yes", env=env).code == 0
    assert keys() == {"order.eu.paid"}


def test_a_store_that_is_rabbitmq_itself_takes_no_bridge(bridged: Project, amqp_url: str) -> None:
    ran = bridged.run("worker", "main:shop", env={"OUTLAST_AMQP_URL": amqp_url, "OUTLAST_URL": amqp_url})
    assert ran.code != 0
    assert "leave amqp_url out, or give url='redis://...'" in " ".join(ran.err.split())
