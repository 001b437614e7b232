"""What is in the way on the server: named with the setting, the difference and the fix."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from msgspec import structs

from outlast import Constant, Retry
from outlast.clients.amqp.address import AmqpAddress
from outlast.clients.amqp.client import AmqpClient
from outlast.core.errors import ConfigurationError, StoreError, StoreUncertain
from outlast.core.settlement import Finish
from tests.stores.rabbitmq.bench import Bench
from tests.support.polling import until
from tests.support.servers.rabbitmq_server import shared_rabbit
from tests.support.working import new_app


async def declare(vhost: str, queue: str, **arguments: str | int) -> None:
    """Declare a queue as another client does."""
    client = AmqpClient(AmqpAddress.of(shared_rabbit().url_of(vhost)))
    await client.declarations.declare_queue(
        queue, arguments={name.replace("_", "-"): arguments[name] for name in arguments}
    )
    await client.close()


@pytest.mark.parametrize("queue", ["q", "q.dead"])
async def test_a_queue_with_other_arguments_is_refused_with_the_way_out(vhost: str, queue: str) -> None:
    await declare(vhost, queue, x_queue_type="quorum", x_max_length=10)
    bench = Bench(shared_rabbit().url_of(vhost))
    with pytest.raises(ConfigurationError) as refused:
        await bench.open()
    text = str(refused.value)
    assert text.startswith(f"queue '{queue}' exists at amqp://127.0.0.1:")
    assert re.search(r"with another x-[a-z-]+: received ", text)
    assert f'"src-queue": "{queue}"' in text
    assert f"rabbitmqctl delete_queue -p {vhost} {queue}" in text
    await bench.close()


async def test_a_classic_queue_of_the_name_is_refused(vhost: str) -> None:
    await declare(vhost, "q")
    bench = Bench(shared_rabbit().url_of(vhost))
    with pytest.raises(ConfigurationError, match=r"^queue 'q' exists at .* with another x-"):
        await bench.open()
    await bench.close()


async def test_a_virtual_host_that_is_not_there_is_named(vhost: str) -> None:
    bench = Bench(shared_rabbit().url_of("no-such-host"))
    with pytest.raises(StoreError, match="rabbitmqctl add_vhost 'no-such-host'"):
        await bench.open()
    await bench.close()


async def test_a_user_without_permission_is_told_which_one(vhost: str) -> None:
    rabbit = shared_rabbit()
    rabbit.api("PUT", "users/reader", {"password": "reader", "tags": ""})
    rabbit.api("PUT", f"permissions/{vhost}/reader", {"configure": "^$", "write": "^$", "read": ".*"})
    bench = Bench(f"amqp://reader:reader@127.0.0.1:{rabbit.port}/{quote(vhost)}")
    with pytest.raises(ConfigurationError, match=r"^queue 'q.dead' cannot be declared at .*: give the user the permis"):
        await bench.open()
    assert "reader:reader" not in bench.store.url
    await bench.close()


async def test_what_was_accepted_is_not_refused_with_its_neighbour_whose_queue_cannot_be_made(vhost: str) -> None:
    rabbit = shared_rabbit()
    await declare(vhost, "bad.dead", x_queue_type="quorum", x_max_length=10)
    bench = Bench(rabbit.url_of(vhost))
    await bench.open()
    with pytest.raises(StoreUncertain, match=r"queue 'bad\.dead' exists at .* with another x-"):
        await bench.broker.publish([bench.message("q"), bench.message("bad")])
    with pytest.raises(ConfigurationError, match=r"^queue 'bad\.dead' exists at .* with another x-"):
        await bench.broker.publish([bench.message("bad")])
    assert (await bench.stats())[0] == 1
    await bench.close()


async def test_a_follow_up_that_is_stored_is_not_stored_again_while_another_one_cannot_be(vhost: str) -> None:
    await declare(vhost, "bad.dead", x_queue_type="quorum", x_max_length=10)
    bench = Bench(shared_rabbit().url_of(vhost))
    await bench.open("q", "next")
    await bench.publish()
    (job,) = await bench.claim()
    await bench.settle(Finish(job.fence, "succeeded", then=[bench.message("next"), bench.message("bad")]))
    await bench.client.declarations.delete_queue("bad.dead")
    await until(lambda: _is_empty(bench), "it is settled")
    assert (await bench.stats("next"))[0] == 1
    await bench.close()


async def _is_empty(bench: Bench) -> bool:
    return await bench.stats() == (0, 0, 0)


async def test_a_wrong_password_is_refused_and_not_shown() -> None:
    bench = Bench(f"amqp://outlast:hunter2@127.0.0.1:{shared_rabbit().port}/")
    with pytest.raises(StoreError, match="give the user and the password") as refused:
        await bench.open()
    assert "hunter2" not in str(refused.value)
    await bench.close()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"timeout": None}, "timeout=None: the server of amqp://"),
        ({"timeout": 1796}, "timeout=1796"),
        ({"priority": "high"}, "priority='high': the store of amqp://"),
        ({"unique": True}, "unique=''"),
        ({"result_ttl": 60}, "result_ttl=60"),
        ({"retry": Retry(backoff=Constant(20_000))}, "a backoff of up to 20000 s"),
    ],
    ids=str,
)
async def test_a_declaration_that_it_cannot_keep_is_refused_with_the_fix(
    vhost: str, options: dict[str, Any], text: str
) -> None:
    app = new_app(shared_rabbit().url_of(vhost))

    @app.job(**options)
    async def send() -> None: ...

    with pytest.raises(ConfigurationError) as refused:
        await app.runtime()
    assert str(refused.value).startswith(f"job 'send': {text}")
    assert "give" in str(refused.value)
    await app.close()


async def test_the_command_of_the_error_moves_the_jobs(vhost: str) -> None:
    """An error that names a command must name one that works."""
    rabbit = shared_rabbit()
    await declare(vhost, "q", x_queue_type="quorum", x_max_length=10)
    bench = Bench(rabbit.url_of(vhost))
    with pytest.raises(ConfigurationError) as refused:
        await bench.open()
    found = re.search(r"set_parameter -p (\S+) shovel drain '(\{.*\})'", str(refused.value))
    assert found is not None
    assert found[1] == vhost
    assert '"dest-queue": "q.old"' in found[2]
    await bench.close()


async def test_a_follow_up_that_cannot_be_sent_is_a_dead_letter_and_its_job_is_settled(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.declare("next")
    await bench.publish()
    (job,) = await bench.claim()
    bad = structs.replace(bench.message("next", args={"n": 1}), headers={"n" * 300: "x", "team": "a"})
    await bench.settle(Finish(job.fence, "succeeded", then=[bad, bench.message("next")]))
    await until(lambda: _is_empty(bench), "it is settled")
    ((letter, headers),) = await bench.letters(1, "next")
    assert (letter.body, letter.properties().message_id, headers["team"]) == (b'{"n":1}', bad.id, "a")
    assert headers["outlast-reason"].startswith("it cannot be sent: the name 'nnn")
    assert (await bench.stats("next"))[0] == 1
    assert len([each for each in caplog.messages if "cannot be sent" in each]) == 1


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"wide": "x" * 140_000}, "its properties have .* a frame takes 131052: shorten its headers"),
        ({"n" * 300: "x"}, r"the name 'n+'\.\.\. has 300 bytes"),
    ],
    ids=["size", "name"],
)
async def test_a_job_whose_headers_cannot_be_sent_is_refused_for_good(
    bench: Bench, headers: dict[str, str], why: str
) -> None:
    """A store that is away is tried again; this is never accepted."""
    with pytest.raises(ConfigurationError, match=f"^job 'send' cannot be sent: {why}"):
        await bench.broker.publish([structs.replace(bench.message("q"), headers=headers)])


async def test_a_job_that_cannot_be_sent_leaves_the_others_of_its_batch_known(bench: Bench) -> None:
    wide = structs.replace(bench.message("q"), headers={"wide": "x" * 140_000})
    good = [bench.message("q"), bench.message("q")]
    with pytest.raises(ConfigurationError, match="cannot be sent: its properties have") as refused:
        await bench.broker.publish([good[0], wide, good[1]])
    assert refused.value.stored == (good[0].id, good[1].id)
    assert refused.value.unstored == (wide,)
