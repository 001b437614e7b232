"""Old and new code on one store: jobs of older versions, of former names, and of versions that are not known yet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Raw

from outlast import Outlast, Redacted
from outlast.core.message import Message
from tests.support.polling import until
from tests.support.working import new_app, record, working


def with_language(args: dict[str, Any]) -> dict[str, Any]:
    return {**args, "language": "en"}


def as_sent_by(job: Any, kind: str, **args: Any) -> Message:
    """Return a message as another version of the app would have sent it."""
    message: Message = job.message(0, "-")
    return msgspec.structs.replace(message, kind=kind, args=Raw(msgspec.json.encode(args)), redacted=())


async def test_a_job_of_an_older_version_or_a_former_name_is_upgraded_and_runs(app: Outlast) -> None:
    ran: list[tuple[int, str, str]] = []

    @app.job(version=2, upgrades={1: with_language}, aliases=("mail",))
    async def send(order_id: int, language: str) -> str:
        ran.append((order_id, language, "ran"))
        return language

    messages = [
        as_sent_by(send, "send", order_id=1),
        as_sent_by(send, "mail", order_id=2),
        as_sent_by(send, "mail@2", order_id=3, language="fr"),
        send.message(4, "de"),
    ]
    jobs = await app.send(messages)
    async with working(app):
        found = [await record(app, job) for job in jobs]
    assert sorted(ran) == [(1, "en", "ran"), (2, "en", "ran"), (3, "fr", "ran"), (4, "de", "ran")]
    assert [(each.state, each.attempt) for each in found] == [("succeeded", 1)] * 4
    assert [each.kind for each in found] == ["send", "mail", "mail@2", "send@2"]
    assert [await job.result(timeout=30) for job in jobs] == ["en", "en", "fr", "de"]


async def test_a_failed_upgrade_is_a_dead_job_with_its_reason_and_no_secret(app: Outlast) -> None:
    def fails(args: dict[str, Any]) -> dict[str, Any]:
        raise LookupError(f"no customer for {args['token']}")

    @app.job(version=2, upgrades={1: fails})
    async def send(n: int, token: Annotated[str, Redacted]) -> None: ...

    (job,) = await app.send([as_sent_by(send, "send", token="s3cr3t")])
    async with working(app):
        found = await record(app, job)
    assert (found.state, found.reason, found.attempt) == ("dead", "invalid-arguments", 1)
    (failure,) = found.failures
    assert "the upgrade from version 1 to 2 failed: LookupError: no customer for [redacted]" in failure.message
    assert "s3cr3t" not in failure.traceback


async def test_what_is_newer_waits_parked_for_the_code_that_knows_it(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/jobs.db"
    old, new = new_app(url), new_app(url)
    ran: list[str] = []

    @old.job
    async def send(order_id: int, language: str) -> None:
        ran.append(f"old {order_id}")

    async def send_receipt(order_id: int, language: str) -> None:
        ran.append(f"new {order_id}")

    receipt = new.job(version=2, upgrades={1: with_language}, aliases=("send",))(send_receipt)
    async with old, new:
        second = await receipt.enqueue(2, "de")
        third = await new.send([as_sent_by(receipt, "send@2", order_id=3, language="de")])
        async with working(old):
            await record(old, await send.enqueue(1, "en"))
            store = (await old.runtime()).store

            async def parked() -> bool:
                return (await store.broker.stats(["default"]))["default"].parked == 2

            await until(parked, "what the old code does not know is parked")
            async with working(new):
                found = [await record(new, job) for job in (second, *third)]
        assert sorted(ran) == ["new 2", "new 3", "old 1"]
        assert [(each.state, each.attempt, each.crashes) for each in found] == [("succeeded", 1, 0)] * 2


async def test_tests_know_a_job_in_every_version(app: Outlast) -> None:
    @app.job(version=2, upgrades={1: with_language})
    async def send(order_id: int, language: str) -> None: ...

    with app.testing() as t:
        await send.enqueue(1, "de")
        await app.send([as_sent_by(send, "send", order_id=2)])
        t.assert_enqueued(send, order_id=1, language="de")
        (older,) = t.assert_enqueued("send", order_id=2, language="en")
        assert (older.kind, older.message.kind) == ("send", "send")
        assert [each.kind for each in t.enqueued(send)] == ["send", "send"]
        assert len(t.enqueued("send@2")) == 1
        assert [each.state for each in await t.drain()] == ["succeeded"] * 2
