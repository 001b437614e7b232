"""Jobs over a real server: handed out, settled by acks, retried through buckets, given back, dead with a reason."""

from __future__ import annotations

import asyncio

import pytest

from outlast.clients.amqp.properties import MessageProperties
from outlast.core.errors import ConfigurationError
from outlast.core.message import Fence
from outlast.core.settlement import ACCEPTED, Finish, Lost, Note, Park, Release, Reschedule, TooLarge
from outlast.core.topology import Queue, Topology
from tests.stores.rabbitmq.bench import Bench
from tests.support.jobs import A, failure, raw
from tests.support.polling import until
from tests.support.servers.rabbitmq_server import shared_rabbit


async def test_a_job_arrives_as_it_was_published(bench: Bench) -> None:
    job = bench.message(args={"order": 7}, headers={"trace": "1"}, expires=60, redacted=("order",))
    assert await bench.broker.publish([job]) == [ACCEPTED]
    (delivery,) = await bench.claim()
    assert (delivery.message, delivery.attempt, delivery.crashes, delivery.begun) == (job, 1, 0, False)


async def test_settled_jobs_are_gone_and_settling_again_changes_nothing(bench: Bench) -> None:
    await bench.publish(3)
    deliveries = await bench.claim(3)
    done = [Finish(each.fence, "succeeded") for each in deliveries]
    assert await bench.settle(*done) == []
    assert await bench.settle(*done) == []
    await until(lambda: _is_empty(bench), "an empty queue")


async def _is_empty(bench: Bench) -> bool:
    return await bench.stats() == (0, 0, 0)


async def test_no_more_is_handed_out_than_was_asked_for(bench: Bench) -> None:
    await bench.publish(5)
    assert len(await bench.claim(2)) == 2
    given = await bench.broker.claim({"q": 1}, limit=1, holder=A, lease=10, wait=5)
    assert len(given) == 1
    assert await bench.broker.claim({"q": 0}, limit=1, holder=A, lease=10, wait=0) == []


async def test_a_body_over_the_limit_is_not_sent_and_the_others_are(vhost: str) -> None:
    bench = Bench(shared_rabbit().url_of(vhost), max_body=20)
    await bench.open()
    answers = await bench.broker.publish([bench.message(args={"a": "x" * 20}), bench.message(args={"a": 1})])
    assert answers == [TooLarge(28, 20), ACCEPTED]
    (only,) = await bench.claim()
    assert bench.args(only) == {"a": 1}
    await bench.close()


async def test_a_queue_that_nobody_declared_is_made(bench: Bench) -> None:
    await bench.publish(queue="new")
    assert (await bench.broker.stats(["new"]))["new"].ready == 1
    assert await bench.broker.stats(["never"]) == {}


async def test_a_retry_comes_back_with_its_attempt(bench: Bench) -> None:
    (id,) = await bench.publish(args={"a": 1})
    (first,) = await bench.claim()
    assert await bench.settle(Reschedule(first.fence, bench.clock.time() + 1, 2, failure(1))) == []
    (again,) = await bench.claim()
    assert (again.message.id, again.attempt, again.begun, bench.args(again)) == (id, 2, True, {"a": 1})
    assert bench.clock.time() - first.message.enqueued_at >= 1


async def test_follow_ups_of_another_queue_are_there_when_the_settlement_is(bench: Bench) -> None:
    await bench.declare("q", "other")
    await bench.publish()
    (first,) = await bench.claim()
    await bench.settle(Finish(first.fence, "succeeded", then=[bench.message("other", args={"b": 2})]))
    assert (await bench.broker.stats(["other"]))["other"].ready == 1
    (follow_up,) = await bench.claim(1, "other")
    assert bench.args(follow_up) == {"b": 2}


async def test_a_dead_job_is_a_dead_letter_with_its_reason(bench: Bench) -> None:
    (id,) = await bench.publish(args={"a": 1})
    (first,) = await bench.claim()
    await bench.settle(Finish(first.fence, "dead", "gave-up", error=failure(1)))
    assert await bench.stats() == (0, 0, 1)
    ((letter, headers),) = await bench.letters(1)
    assert (letter.body, letter.properties().message_id) == (b'{"a":1}', id)
    assert headers["outlast-reason"] == "gave-up"
    assert headers["outlast-error"] == "ValueError: boom"


async def test_what_is_given_back_keeps_its_attempt_and_is_suspect_by_no_return_of_ours(bench: Bench) -> None:
    (id,) = await bench.publish()
    for crashes in (0, 1, 1, 1):
        (delivery,) = await bench.claim()
        assert (delivery.message.id, delivery.attempt, delivery.crashes) == (id, 1, crashes)
        await bench.settle(Release(delivery.fence))
    (delivery,) = await bench.claim()
    await bench.settle(Park(delivery.fence, bench.clock.time()))
    assert [each.message.id for each in await bench.claim()] == [id]


async def test_a_channel_that_has_ended_makes_receipts_lost_and_jobs_ready(bench: Bench, vhost: str) -> None:
    (id,) = await bench.publish()
    (first,) = await bench.claim()
    await asyncio.to_thread(shared_rabbit().ctl, "close_all_connections", "--vhost", vhost, "test")
    (again,) = await bench.claim()
    assert (again.message.id, again.crashes) == (id, 1)
    assert await bench.settle(Finish(first.fence, "succeeded")) == [Lost(first.fence, "superseded")]
    assert await bench.settle(Finish(again.fence, "succeeded")) == []


async def test_a_job_of_a_queue_that_is_not_consumed_here_is_lost(bench: Bench) -> None:
    fence = Fence("other.1", "other", 1)
    assert await bench.settle(Finish(fence, "succeeded")) == [Lost(fence, "superseded")]


async def test_what_waits_when_the_broker_closes_is_ready_for_others_with_its_attempt(bench: Bench, vhost: str) -> None:
    await bench.publish(300)
    taken = await bench.claim(10, slots=300)
    await until(lambda: _delivered(bench, 300), "300 prefetched jobs")
    await bench.broker.close()
    other = Bench(bench.url)
    await other.open()
    again = await other.claim(300, slots=300)
    assert {each.attempt for each in again} == {1}
    assert max(each.crashes for each in again) == 1
    assert {each.message.id for each in taken} <= {each.message.id for each in again}
    await other.close()


async def _delivered(bench: Bench, number: int) -> bool:
    ready, _, _ = await bench.stats()
    return ready == 0


async def test_leases_are_nobodys_business_and_notes_are_refused(bench: Bench) -> None:
    await bench.publish()
    (first,) = await bench.claim()
    assert await bench.broker.extend(A, lease=10) == []
    assert await bench.broker.save([]) == []
    with pytest.raises(ConfigurationError, match="keeps no progress"):
        await bench.broker.save([Note(first.fence, "progress", raw(1))])
    assert await bench.broker.forfeit(A, crashed=True) == 0
    (again,) = await bench.claim()
    assert again.message.id == first.message.id


@pytest.mark.parametrize("options", [{"priority": "high"}, {"delay": 90.0}, {"key": "eu"}], ids=str)
async def test_an_option_that_is_not_kept_is_refused_and_nothing_is_sent(bench: Bench, options: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        await bench.broker.publish([bench.message(), bench.message(**options)])
    assert await bench.stats() == (0, 0, 0)


async def test_a_header_that_is_ours_is_refused(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="headers: 'outlast-attempt' is a name of Outlast's own"):
        await bench.publish(headers={"outlast-attempt": "7"})


@pytest.mark.parametrize(
    ("header", "value", "why"),
    [
        ("outlast-priority", "high", "priority='high'"),
        ("outlast-job-key", "eu", "key='eu'"),
        ("outlast-unique", '{"key": "a"}', "unique="),
        ("outlast-max-wait", 5, "max_wait=5"),
    ],
)
async def test_a_job_of_another_client_that_needs_a_store_is_a_dead_letter(
    bench: Bench, header: str, value: str | int, why: str
) -> None:
    await bench.send(b"{}", MessageProperties(type="send", headers={header: value}))
    await bench.send(b"{}", MessageProperties(type="send", message_id="q.plain"))
    assert [each.message.id for each in await bench.claim()] == ["q.plain"]
    ((_, headers),) = await bench.letters(1)
    assert str(headers["outlast-reason"]).startswith(f"job 'send': {why}")


@pytest.mark.parametrize(("longest", "heartbeat"), [(0.0, 30), (305.0, 305), (float("inf"), 600)])
async def test_a_heartbeat_is_as_long_as_the_longest_run(vhost: str, longest: float, heartbeat: int) -> None:
    """A run that blocks the loop must not cost the connection."""
    bench = Bench(shared_rabbit().url_of(vhost))
    await bench.broker.open()
    await bench.broker.declare(Topology((Queue(name="q"),), longest_run=longest))

    async def told() -> bool:
        path = f"vhosts/{vhost}/connections"
        found = await asyncio.to_thread(shared_rabbit().api, "GET", path)
        return [each.get("timeout") for each in found] == [heartbeat]

    await until(told, f"a connection with a heartbeat of {heartbeat} s")
    await bench.close()


async def test_a_job_of_another_client_needs_ten_lines(bench: Bench) -> None:
    await bench.send(b'{"order": 7}', MessageProperties(type="send"))
    (delivery,) = await bench.claim()
    assert (delivery.message.kind, bench.args(delivery)) == ("send", {"order": 7})


async def test_a_job_that_waits_longer_than_the_longest_bucket_waits_again(bench: Bench) -> None:
    until_then = bench.clock.time() + 1.0
    headers = {"outlast-not-before": until_then}
    await bench.send(b"{}", MessageProperties(type="send", message_id="q.late", headers=headers))
    (delivery,) = await bench.claim()
    assert delivery.message.id == "q.late"
    assert bench.clock.time() >= until_then


async def test_a_bucket_that_was_deleted_is_made_again(bench: Bench, vhost: str) -> None:
    await bench.publish(2)
    first, second = await bench.claim(2)
    await bench.settle(Reschedule(first.fence, bench.clock.time() + 1, 2, failure(1)))
    await bench.claim()
    for kind in ("queues", "exchanges"):
        await asyncio.to_thread(shared_rabbit().api, "DELETE", f"{kind}/{vhost}/outlast.delay.1s")
    await bench.settle(Reschedule(second.fence, bench.clock.time() + 1, 2, failure(1)))
    (again,) = await bench.claim()
    assert (again.message.id, again.attempt) == (second.message.id, 2)


async def test_several_queues_share_the_slots_and_a_busy_one_gets_what_an_idle_one_leaves(bench: Bench) -> None:
    await bench.declare("a", "b")
    await bench.publish(20, "a")
    given = await bench.broker.claim({"a": 10, "b": 10}, limit=10, holder=A, lease=10, wait=5)
    await until(lambda: _unacked(bench, "a", 5), "the half of the slots")
    taken: set[str] = set()

    async def more() -> bool:
        nonlocal given
        taken.update(each.message.id for each in given)
        await bench.settle(*(Finish(each.fence, "succeeded") for each in given))
        given = await bench.broker.claim({"a": 10, "b": 10}, limit=10, holder=A, lease=10, wait=1)
        return len(taken) == 20

    await until(more, "all of a")
    await bench.publish(1, "b")
    assert len(await bench.claim(1, "a", "b", slots=10)) == 1


async def _unacked(bench: Bench, queue: str, number: int) -> bool:
    ready = (await bench.broker.stats([queue]))[queue].ready
    return ready == 20 - number


async def test_fifty_retries_of_one_job_all_arrive(bench: Bench) -> None:
    """A ladder of queues, or an x-death that is sent again, would lose the second one."""
    (id,) = await bench.publish()
    for attempt in range(1, 51):
        (delivery,) = await bench.claim()
        assert (delivery.message.id, delivery.attempt) == (id, attempt)
        await bench.settle(Reschedule(delivery.fence, bench.clock.time() + 0.3, attempt + 1, failure(attempt)))
    (delivery,) = await bench.claim()
    await bench.settle(Finish(delivery.fence, "succeeded"))
    await bench.broker.close()
    vhost = bench.url.rpartition("/")[2]
    await until(lambda: _counted(vhost), "every queue is empty")


def _counted(vhost: str) -> bool:
    """Tell whether the server counts no message anywhere."""
    found = shared_rabbit().api("GET", f"queues/{vhost}")
    return all(
        each.get("messages", 1) == each["messages_ready"] + each["messages_unacknowledged"] == 0 for each in found
    )
