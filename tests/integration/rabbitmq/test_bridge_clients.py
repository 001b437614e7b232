"""The clients of docs/bridge.md, as they stand there, with an app whose events RabbitMQ routes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from outlast import Outlast, Settings
from outlast.core.store.records import JobRecord, Query
from tests.support.command import Project
from tests.support.polling import until
from tests.support.servers.rabbitmq_server import RabbitServer

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "bridge.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python pika\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NODE = re.findall(r"^```js\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run(command: list[str], amqp_url: str) -> str:
    """Run a program of another team; return what it prints."""
    environ = {
        **os.environ, "AMQP_URL": amqp_url, "NODE_PATH": str(ROOT / ".servers" / "node" / "node_modules"),
    }  # fmt: skip
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def records(project: Project, number: int) -> list[JobRecord]:
    """Return the jobs of billing when so many have ended."""
    app = Outlast("shop", settings=Settings(url=project.url))

    async def ended() -> list[JobRecord]:
        store = (await app.runtime()).store
        found = await store.records.find(Query(queue="billing", states=("succeeded",)))
        return found.records if len(found.records) >= number else []

    try:
        return list(await until(ended, f"{number} jobs have ended"))
    finally:
        await app.close()


async def test_the_clients_of_the_page_publish_and_receive(
    bridged: Project, amqp_url: str, rabbit: RabbitServer, vhost: str
) -> None:
    publisher, receiver = PYTHON
    with bridged.running("worker", "main:shop", env={"OUTLAST_AMQP_URL": amqp_url}) as worker:
        await until(lambda: "running" in worker.text, "the worker runs")
        for _ in range(2):  # repeating an event makes no second job
            run([sys.executable, "-c", publisher], amqp_url)
            (program,) = NODE
            run(["node", "-e", program], amqp_url)
        found = await records(bridged, 2)
        assert sorted(each.result for each in found) == ["7 order-7-paid", "8 order-8-paid"]
        receiving = subprocess.Popen(
            [sys.executable, "-u", "-c", receiver],
            env={**os.environ, "AMQP_URL": amqp_url},
            stdout=subprocess.PIPE,
            text=True,
        )
        app = Outlast("shop", settings=Settings(url=bridged.url, amqp_url=amqp_url))
        orders = app.exchange("orders")
        try:
            await until(lambda: bound(rabbit, vhost), "the other team has bound its queue")
            await orders.publish("order.de.sent", {"order_id": 9}, id="order-9-sent")
        finally:
            await app.close()
        said, _ = receiving.communicate(timeout=60)
        assert said.splitlines() == ["order.de.sent order-9-sent {'order_id': 9}"], json.dumps(said)


def bound(rabbit: RabbitServer, vhost: str) -> bool:
    """Tell whether the other team's queue is bound."""
    found = rabbit.api("GET", f"bindings/{vhost}")
    return any(each["destination"] == "analytics-team" and each["source"] == "orders" for each in found)
