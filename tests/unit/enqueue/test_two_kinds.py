"""No kind of job is taken for another: neither its id, nor its unique key, nor its result."""

from __future__ import annotations

import pytest
from msgspec import structs

from outlast import IdConflict, JobRefused, Outlast, Unique, UniqueConflict


def declared() -> tuple[Outlast, list[JobRefused]]:
    shop = Outlast("kinds")
    refusals: list[JobRefused] = []
    shop.observe(JobRefused)(refusals.append)
    return shop, refusals


async def test_two_kinds_of_a_queue_with_one_unique_text() -> None:
    shop, _ = declared()

    @shop.job(queue="mail", unique="order:{order}")
    async def receipt(order: int) -> str:
        return "receipt"

    @shop.job(queue="mail", unique="order:{order}")
    async def invoice(order: int) -> str:
        return "invoice"

    with shop.testing() as t:
        first, second = await receipt.enqueue(7), await invoice.enqueue(7)
        assert (first.created, second.created, (await invoice.enqueue(7)).created) == (True, True, False)
        assert (await second.record()).unique == "invoice:order:7"
        await t.drain()
        assert (await first.result(0), await second.result(0)) == ("receipt", "invoice")


async def test_a_key_of_the_whole_queue_that_another_kind_holds() -> None:
    shop, refusals = declared()

    @shop.job(queue="mail")
    async def receipt(order: int) -> None: ...

    @shop.job(queue="mail")
    async def invoice(order: int) -> None: ...

    one = Unique("order:7", scope="queue")
    with shop.testing():
        held = await receipt.with_options(unique=one).enqueue(7)
        assert not (await receipt.with_options(unique=one).enqueue(7)).created
        with pytest.raises(UniqueConflict, match=r"unique key 'order:7' is held by job .* of kind 'receipt'") as caught:
            await invoice.with_options(unique=one).enqueue(7)
        assert (caught.value.existing, caught.value.kind) == (held.id, "receipt")
        assert [each.reason for each in refusals] == ["conflict"]
        replacing = await invoice.with_options(unique=one, on_conflict="replace").enqueue(7)
        assert replacing.replaced == held.id


async def test_an_id_that_another_kind_has() -> None:
    shop, refusals = declared()

    @shop.job(queue="mail")
    async def receipt(order: int) -> None: ...

    @shop.job(queue="mail")
    async def invoice(order: int) -> None: ...

    with shop.testing() as t:
        await receipt.with_options(id="order-7").enqueue(7)
        for _ in range(2):
            with pytest.raises(IdConflict, match=r"'mail\.order-7' belongs to a job of kind 'receipt'") as caught:
                await invoice.with_options(id="order-7").enqueue(7)
            assert (caught.value.id, caught.value.kind) == ("mail.order-7", "receipt")
            await t.drain()
        assert [(each.id, each.kind, each.reason) for each in refusals] == [("mail.order-7", "invoice", "conflict")] * 2
        messages = [invoice.with_options(id=f"order-{n}").message(n) for n in range(5, 9)]
        with pytest.raises(IdConflict) as caught:
            await shop.enqueue_many(messages)
        assert caught.value.stored == ("mail.order-5", "mail.order-6", "mail.order-8")
        assert [each.id for each in caught.value.unstored] == ["mail.order-7"]


def test_versions_and_former_names_are_one_kind() -> None:
    shop, _ = declared()

    @shop.job(aliases=("send_mail",), version=2, upgrades={1: lambda args: args})
    async def receipt(order: int) -> None: ...

    same = shop.registry.same_kind
    assert all(same(wire, "receipt") and same("send_mail@9", wire) for wire in shop.registry.kinds)
    assert same("unknown", "unknown@2")
    assert not same("send_mail", "unknown")
    assert not same("unknown", "other")


async def test_an_id_of_a_former_name_is_the_same_job() -> None:
    shop, _ = declared()

    async def receipt(order: int) -> None: ...

    job = shop.job(kind="receipt", queue="mail", aliases=("send_mail",))(receipt)
    with shop.testing() as t:
        message = job.with_options(id="order-7").message(7)
        await t.store.publish([structs.replace(message, kind="send_mail")])
        handle = await job.with_options(id="order-7").enqueue(7)
        assert (handle.id, handle.conflict) == ("mail.order-7", "id")
