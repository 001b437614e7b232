"""`python -m outlast.demo` as a user runs it: real processes, an outage, killed workers; the ledger balances."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from outlast.demo.command import DemoReport
from tests.support.servers.rabbitmq_server import shared_rabbit
from tests.support.servers.redis_server import RedisServer

ORDERS = 40
SIDES = {
    "sessions": "reads anonymous, writes get 503",
    "cache": "open: the database is read",
    "limiter": "alone: a share for each process",
    "lock": "closed: no stock taken",
    "best sellers": "closed: none shown",
    "idempotency keys": "closed: orders get 503",
}
"""What each piece does while the toolkit's store is away, as docs/demo.md tells it."""


def demo(*arguments: str, amqp_url: str = "") -> subprocess.CompletedProcess[str]:
    """Run the demo to its end; a run that hangs is asked to stop, so that its parts stop with it."""
    command = [sys.executable, "-m", "outlast.demo", *arguments]
    environ = {**os.environ, "OUTLAST_AMQP_URL": amqp_url}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ) as process:
        try:
            out, _ = process.communicate(timeout=100)
        except subprocess.TimeoutExpired:
            process.terminate()
            out, _ = process.communicate()
            pytest.fail(f"the demo did not end:\n{out}")
    return subprocess.CompletedProcess(command, process.returncode, out, "")


def keys(server: RedisServer) -> bytes:
    """Return how many keys a server has, as it says it."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as link:
        link.sendall(b"DBSIZE\r\n")
        return link.recv(64)


@pytest.mark.parametrize("router", ["the store", "RabbitMQ"])
@pytest.mark.parametrize("store", ["a file", "a server"])
def test_every_order_outlives_an_outage_and_two_killed_workers(tmp_path: Path, store: str, router: str) -> None:
    with ExitStack() as stack:
        words = ["--orders", str(ORDERS), "--outage", "3", "--json", str(tmp_path / "report.json")]
        if store == "a server":
            server = RedisServer()
            stack.callback(server.remove)
            server.start()
            words += ["--url", server.url]
        vhost = stack.enter_context(shared_rabbit().vhost()) if router == "RabbitMQ" else ""
        ended = demo(*words, amqp_url=shared_rabbit().url_of(vhost) if vhost else "")
        judge(ended, tmp_path / "report.json", router)
        if store == "a server":
            assert keys(server) == b":0\r\n", "a run leaves nothing behind"
        if vhost:
            assert names(vhost) == []


def names(vhost: str) -> list[str]:
    """Return the queues and exchanges of a virtual host, without those that each has."""
    found = [each["name"] for what in ("queues", "exchanges") for each in shared_rabbit().api("GET", f"{what}/{vhost}")]
    return [name for name in found if name and not name.startswith("amq.")]


def test_a_queue_of_another_system_is_not_touched() -> None:
    rabbit = shared_rabbit()
    with rabbit.vhost() as vhost:
        rabbit.api("PUT", f"queues/{vhost}/mail", {"durable": True})
        ended = demo(amqp_url=rabbit.url_of(vhost))
        assert ended.returncode == 1
        assert "has queue 'mail': " in ended.stdout
        assert "rabbitmqctl add_vhost" in ended.stdout
        assert rabbit.password not in ended.stdout
        assert names(vhost) == ["mail"]


def judge(ended: subprocess.CompletedProcess[str], written: Path, router: str) -> None:
    """Hold a run to what the demo promises."""
    assert ended.returncode == 0, ended.stdout
    report = msgspec.json.decode(written.read_bytes(), type=DemoReport)
    ledger = report.ledger
    assert report.balances
    assert (ledger.accepted, ledger.charges, ledger.invoices) == (ORDERS, ORDERS, ORDERS)
    assert (ledger.emails - ledger.extra_emails, ledger.sales) == (ORDERS, ORDERS)
    assert ledger.lost == ledger.double_charges == ledger.double_sales == ledger.wrong_amounts == ledger.strangers == ()
    assert ledger.repeats > 0, "the provider drops answers, so some requests must come twice"
    assert (report.events, report.copies, report.routed_by) == (ORDERS, 3 * ORDERS, router)
    shop = ledger.shop
    assert (shop.keys, shop.sold) == (ORDERS, ORDERS)
    assert shop.replays >= ORDERS // 2, "half of the customers send their order twice"
    assert shop.split == shop.miscounted == shop.misranked == shop.damaged == ()
    assert shop.limited > 0
    assert shop.over_limit == 0
    assert (shop.stale_writes, shop.stale_refused) == (0, 1)
    assert report.sides == SIDES
    assert report.toolkit_away_seconds >= 1
    assert report.toolkit_whole_after is not None
    assert report.retries > 0
    assert report.in_outage <= 20, "payments wait in their queue while the breaker is open"
    assert report.probes >= 1
    assert report.workers_killed == 2
    assert report.outage_seconds >= 3
    assert report.directory is None
    assert "The ledger balances." in ended.stdout


def test_a_server_that_is_not_there_is_told() -> None:
    ended = demo("--url", "redis://127.0.0.1:1")
    assert ended.returncode == 1
    assert "127.0.0.1:1" in ended.stdout
    assert "Traceback" not in ended.stdout


@pytest.mark.parametrize(
    "argument",
    ["--orders=0", "--orders=many", "--outage=-1", "--processes=0", "--url=sqlite:a.db", "--url=redis://a?x=1"],
)
def test_a_wrong_argument_is_refused_with_what_to_give(argument: str) -> None:
    ended = demo(argument)
    assert ended.returncode == 2
    assert "give " in ended.stdout
