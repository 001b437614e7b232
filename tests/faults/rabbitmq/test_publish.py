"""What a publish answers: accepted, unroutable, refused, unknown or not sent, each within its deadline."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from outlast.clients.amqp.confirms import AmqpMessage
from outlast.clients.amqp.properties import MessageProperties
from outlast.clients.amqp.table import TableError
from outlast.core.errors import ConfigurationError
from tests.support.amqp import QUORUM, amqp, message, through
from tests.support.counts import Counted
from tests.support.polling import until
from tests.support.servers.proxy import proxied
from tests.support.servers.rabbitmq_server import Alarm, RabbitServer


def outcomes(answers: Any) -> list[str]:
    return [answer.outcome for answer in answers]


async def test_each_message_of_a_call_has_its_own_answer(rabbit: RabbitServer, vhost: str) -> None:
    async with amqp(rabbit.url_of(vhost)) as client:
        declare = client.declarations
        await declare.declare_queue("q", arguments=QUORUM)
        await declare.declare_exchange("events", "topic")
        await declare.bind_queue("q", "events", "order.*")
        answers = await client.publish(
            [
                message("q", b"1"),
                AmqpMessage("events", "order.paid", b"2"),
                AmqpMessage("events", "nothing", b"3"),
                message("missing", b"4"),
                AmqpMessage("no-exchange", "k", b"5"),
                message("q", b"6"),
                AmqpMessage("events", "order.sent", b"7"),
            ],
            10,
        )
        assert outcomes(answers) == [
            "confirmed",
            "confirmed",
            "returned",
            "returned",
            "unsent",
            "confirmed",
            "confirmed",
        ]
        assert answers[2].why == "312 NO_ROUTE"
        assert answers[4].code == 404
        assert "no exchange 'no-exchange'" in answers[4].why
        assert (await declare.find_queue("q")).messages == 4


async def test_returns_find_their_message_among_equal_ones(rabbit: RabbitServer, vhost: str) -> None:
    """A return has no tag: it is matched by key, id and body, in the order of sending."""
    async with amqp(rabbit.url_of(vhost)) as client:
        await client.declarations.declare_queue("q", arguments=QUORUM)
        batch = [
            message("missing" if n % 3 else "q", b"same" if n % 2 else b"other", message_id=str(n % 5))
            for n in range(2000)
        ]
        answers = await client.publish(batch, 30)
        assert outcomes(answers) == ["returned" if n % 3 else "confirmed" for n in range(2000)]


async def test_a_full_queue_refuses(rabbit: RabbitServer, vhost: str) -> None:
    async with amqp(rabbit.url_of(vhost)) as client:
        await client.declarations.declare_queue("q", arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
        answers = [(await client.publish([message("q")], 10))[0] for _ in range(4)]
        assert outcomes(answers) == ["confirmed", "confirmed", "nacked", "nacked"]


async def test_what_amqp_cannot_say_is_refused_before_anything_is_sent(rabbit: RabbitServer, vhost: str) -> None:
    async with amqp(rabbit.url_of(vhost)) as client:
        await client.declarations.declare_queue("q", arguments=QUORUM)
        with pytest.raises(TableError):
            await client.publish([message("q"), message("q", headers={"x": float("nan")})], 10)
        with pytest.raises(ConfigurationError, match="routing key"):
            await client.publish([message("q"), AmqpMessage("", "k" * 256, b"")], 10)
        assert (await client.declarations.find_queue("q")).messages == 0


async def test_headers_beyond_a_frame_are_refused_and_the_connection_goes_on(rabbit: RabbitServer, vhost: str) -> None:
    async with amqp(rabbit.url_of(vhost)) as client:
        await client.declarations.declare_queue("q", arguments=QUORUM)
        large = [message("q", headers={"x": "y" * size}) for size in (131_000, 131_072)]
        answers = await client.publish([message("q"), *large, message("q", b"z" * 1_000_000)], 30)
        assert outcomes(answers) == ["confirmed", "confirmed", "unsent", "confirmed"]
        assert "a frame takes 131052: shorten its headers" in answers[2].why


async def test_many_queues_take_a_bounded_number_of_channels(rabbit: RabbitServer, vhost: str) -> None:
    async with amqp(rabbit.url_of(vhost)) as client:
        answers = await client.publish([message(f"missing{n % 400}") for n in range(1000)], 30)
        assert set(outcomes(answers)) == {"returned"}
        wire = client._publishing.wire
        assert wire is not None
        assert wire.channels == 257


async def test_a_cancelled_publish_leaves_its_room_with_its_confirm(rabbit: RabbitServer, vhost: str) -> None:
    async with amqp(rabbit.url_of(vhost)) as client:
        await client.declarations.declare_queue("q", arguments=QUORUM)
        await client.publish([message("q")], 10)
        call = asyncio.create_task(client.publish([message("q")] * 500, 30))
        await asyncio.sleep(0)
        assert client.unconfirmed == 500
        call.cancel()
        await until(lambda: not client.unconfirmed, "all are confirmed")
        assert call.cancelled()
        assert outcomes(await client.publish([message("q")], 10)) == ["confirmed"]


async def test_more_than_the_window_is_sent_as_room_comes(rabbit: RabbitServer, vhost: str) -> None:
    async with amqp(rabbit.url_of(vhost)) as client:
        await client.declarations.declare_queue("q", arguments=QUORUM)
        assert set(outcomes(await client.publish([message("q")] * 12_000, 60))) == {"confirmed"}


async def test_what_waits_for_room_goes_to_the_next_connection(rabbit: RabbitServer, vhost: str) -> None:
    async with proxied(rabbit.port) as proxy, amqp(through(proxy, rabbit, vhost)) as client:
        client._publisher._window._most_count = 5
        await client.declarations.declare_queue("q", arguments=QUORUM)
        await client.publish([message("q")], 10)
        proxy.deafen()
        calls = [asyncio.create_task(client.publish([message("q")] * 4, 60)) for _ in range(3)]
        await asyncio.sleep(0)
        assert client.unconfirmed == 5
        proxy.heal()
        proxy.reset()
        first, second, third = [outcomes(await call) for call in calls]
        assert first == ["unknown"] * 4
        assert second == ["unknown", *["confirmed"] * 3]
        assert third == ["confirmed"] * 4


@pytest.mark.parametrize("low_on", ["memory", "disk"])
async def test_nothing_is_sent_during_an_alarm(rabbit: RabbitServer, vhost: str, low_on: Alarm) -> None:
    """The first message may be accepted after the alarm; what follows is held back, and both end in time."""
    heard: list[str | None] = []
    async with amqp(rabbit.url_of(vhost), on_blocked=heard.append) as client:
        await client.declarations.declare_queue("q", arguments=QUORUM)
        assert outcomes(await client.publish([message("q", b"before")], 10)) == ["confirmed"]
        with rabbit.alarm(low_on):
            (first,) = await client.publish([message("q", b"first")], 1)
            assert first.outcome == "unknown"
            await until(lambda: client.blocked, "the alarm is known")
            assert heard == [client.blocked]
            assert "no confirm within 1 s" in first.why
            (second,) = await client.publish([message("q", b"second")], 0.2)
            assert (second.outcome, second.why) == (
                "unsent",
                f"the server took no messages within 0.2 s: low on {low_on}",
            )
            # The other connection goes on.
            assert (await client.declarations.find_queue("q")).messages == 1
            waiting = asyncio.create_task(client.publish([message("q", b"third")], 60))
            await asyncio.sleep(0)
        assert outcomes(await waiting) == ["confirmed"]
        assert heard[1:] == [None]
        assert (await client.declarations.find_queue("q")).messages == 3  # "first" was accepted after the alarm


async def test_a_half_open_connection_costs_a_deadline_and_is_made_again(rabbit: RabbitServer, vhost: str) -> None:
    async with proxied(rabbit.port) as proxy, amqp(through(proxy, rabbit, vhost)) as client:
        client._publisher._silence = 1.0
        await client.declarations.declare_queue("q", arguments=QUORUM)
        assert outcomes(await client.publish([message("q")], 10)) == ["confirmed"]
        again = Counted("outlast_reconnects_total")
        proxy.deafen()
        (answer,) = await client.publish([message("q")], 0.3)
        assert (answer.outcome, answer.why) == ("unknown", "no confirm within 0.3 s")
        await until(lambda: not client.unconfirmed, "the connection is given up", within=10)
        assert again.added == {}
        proxy.heal()
        assert outcomes(await client.publish([message("q")], 30)) == ["confirmed"]
        assert again.added["amqp"] >= 1


async def test_a_queue_that_confirms_nothing_keeps_no_room_for_ever(rabbit: RabbitServer, vhost: str) -> None:
    async with amqp(rabbit.url_of(vhost)) as client:
        for queue in ("q", "other"):
            await client.declarations.declare_queue(queue, arguments=QUORUM)
        assert outcomes(await client.publish([message("q")], 10)) == ["confirmed"]
        with rabbit.stuck(vhost, "q"):
            assert outcomes(await client.publish([message("q")], 0.3)) == ["unknown"]
            assert outcomes(await client.publish([message("other")], 60)) == ["confirmed"]
            assert client.unconfirmed == 1
            client._publisher._patience = 0.1
            await until(lambda: not client.unconfirmed, "its room is given back", within=10)
        assert outcomes(await client.publish([message("q")], 30)) == ["confirmed"]  # late confirms disturb nothing
        assert client._publishing.made == 1


async def test_without_a_server_nothing_is_sent(rabbit: RabbitServer, vhost: str) -> None:
    async with proxied(rabbit.port) as proxy, amqp(through(proxy, rabbit, vhost), opened=False) as client:
        proxy.faults.refuse = True
        (answer,) = await client.publish([message("q")], 10)
        assert answer.outcome == "unsent"
        assert "cannot be reached" in answer.why
        proxy.faults.refuse, proxy.faults.hold = False, True
        (answer,) = await client.publish([message("q")], 0.5)
        assert (answer.outcome, answer.why) == ("unsent", "no connection within 0.5 s")


async def test_a_close_leaves_no_call_without_an_answer(rabbit: RabbitServer, vhost: str) -> None:
    async with proxied(rabbit.port) as proxy, amqp(through(proxy, rabbit, vhost)) as client:
        await client.declarations.declare_queue("q", arguments=QUORUM)
        await client.publish([message("q")], 10)
        proxy.deafen()
        calls = [asyncio.create_task(client.publish([message("q")] * 3, 60)) for _ in range(5)]
        await until(lambda: client.unconfirmed == 15, "sent")
        await client.close()
        answers = [answer for call in calls for answer in await call]
        assert outcomes(answers) == ["unknown"] * 15
        assert outcomes(await client.publish([message("q")], 10)) == ["unsent"]


async def test_properties_arrive_as_they_were(rabbit: RabbitServer, vhost: str) -> None:
    sent = MessageProperties(
        content_type="application/json", message_id="m", timestamp=2**63, type="kind", headers={"a": 1.5, "b": [None]}
    )
    async with amqp(rabbit.url_of(vhost)) as client:
        await client.declarations.declare_queue("q", arguments=QUORUM)
        await client.publish([AmqpMessage("", "q", b"{}", sent)], 10)
        got: asyncio.Queue[Any] = asyncio.Queue()
        client.consume("q", 1, got.put_nowait)
        delivery = await got.get()
        assert delivery.properties() == sent
