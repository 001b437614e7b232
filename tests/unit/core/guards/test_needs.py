"""Which guards a queue needs: what may be given, and what all declarations of an app must agree on."""

from __future__ import annotations

from typing import Any

import pytest

from outlast import Breaker, Guard, Outlast
from outlast.core.errors import ConfigurationError
from outlast.core.guards.needs import guard_names
from outlast.core.topology import Queue, adjusted


@pytest.fixture
def shop() -> Outlast:
    shop = Outlast("shop")
    shop.guard("payments", breaker=Breaker())
    shop.guard("mail", breaker=Breaker())
    return shop


def job(shop: Outlast, kind: str, queue: str, **options: Any) -> None:
    @shop.job(kind=kind, queue=queue, **options)
    def handler() -> None: ...


def test_guards_and_names_are_taken_each_once() -> None:
    payments = Guard("payments", breaker=True)
    assert guard_names([payments, "mail", "payments"], "queue 'q'") == ("payments", "mail")
    assert Queue(name="q", needs=[payments]).needs == ("payments",)
    assert adjusted(Queue(name="q", needs=["mail"]), {"max_depth": 1}).needs == ("mail",)


@pytest.mark.parametrize("needs", ["payments", 3, None, Guard("payments")])
def test_needs_must_be_a_list(needs: object) -> None:
    with pytest.raises(ConfigurationError, match=r"queue 'q': needs=.*: give a list of guards, such as needs=\[paym"):
        Queue(name="q", needs=needs)  # type: ignore[arg-type]


@pytest.mark.parametrize("each", [3, "no name!", "", object()])
def test_what_is_no_guard_is_refused(each: object) -> None:
    with pytest.raises(ConfigurationError, match=r"queue 'q': needs=.*: give guards of the app .*or their names"):
        Queue(name="q", needs=[each])  # type: ignore[list-item]


def test_the_queue_declares_and_its_jobs_need_not(shop: Outlast) -> None:
    shop.queue("charges", needs=["payments"])
    job(shop, "charge", "charges")
    job(shop, "refund", "charges", needs=[shop.registry.guards["payments"]])
    job(shop, "send", "letters")
    assert shop.registry.needs() == {"charges": ("payments",)}
    assert {queue.name: queue.needs for queue in shop.registry.topology().queues} == {
        "charges": ("payments",),
        "letters": (),
    }


def test_the_jobs_declare_if_all_of_the_queue_do(shop: Outlast) -> None:
    job(shop, "charge", "charges", needs=["payments", "mail"])
    job(shop, "refund", "charges", needs=["mail", "payments"])
    assert shop.registry.needs() == {"charges": ("payments", "mail")}


def test_needs_of_nothing_are_none(shop: Outlast) -> None:
    job(shop, "charge", "charges", needs=[])
    job(shop, "refund", "charges")
    assert shop.registry.needs() == {}


@pytest.mark.parametrize("others", [{}, {"needs": []}, {"needs": ["mail"]}, {"needs": ["payments", "mail"]}])
def test_jobs_of_one_queue_that_need_other_guards_are_refused(shop: Outlast, others: dict[str, Any]) -> None:
    job(shop, "charge", "charges", needs=["payments"])
    job(shop, "list", "charges", **others)
    with pytest.raises(ConfigurationError, match=r"job '.*' needs .*same queue 'charges' needs .*queue of its own"):
        shop.registry.topology()


@pytest.mark.parametrize("needs", [[], ["mail"], ["payments", "mail"]])
def test_a_job_that_needs_others_than_its_queue_is_refused(shop: Outlast, needs: list[str]) -> None:
    shop.queue("charges", needs=["payments"])
    job(shop, "charge", "charges", needs=needs)
    with pytest.raises(ConfigurationError, match=r"job 'charge' needs .* its queue 'charges' needs 'payments'.*own"):
        shop.registry.needs()


def test_a_guard_may_be_declared_after_its_queue() -> None:
    shop = Outlast("shop")
    shop.queue("charges", needs=["payments"])
    with pytest.raises(ConfigurationError, match=r"'charges' needs guard 'payments', which this app does not declare "):
        shop.registry.topology()
    shop.guard("payments", breaker=True)
    assert shop.registry.needs() == {"charges": ("payments",)}


def test_a_guard_that_cannot_hold_a_queue_is_refused() -> None:
    shop = Outlast("shop")
    shop.guard("plain", timeout=1)
    shop.guard("hosts", breaker=True, key="host")
    shop.queue("a", needs=["plain"])
    with pytest.raises(ConfigurationError, match=r"'plain', which has no breaker and never opens: .*breaker=True"):
        shop.registry.needs()
    shop = Outlast("shop")
    shop.guard("hosts", breaker=True, key="host")
    shop.queue("a", needs=["hosts"])
    with pytest.raises(ConfigurationError, match=r"'hosts', which has a breaker for each key: .*without key="):
        shop.registry.needs()


async def test_the_first_use_of_the_app_refuses_a_guard_that_nobody_declares() -> None:
    shop = Outlast("shop")
    shop.queue("charges", needs=["payment"])
    shop.guard("payments", breaker=True)
    job(shop, "charge", "charges")
    with pytest.raises(ConfigurationError, match=r"needs guard 'payment', .*declared: payments"), shop.testing():
        await shop.runtime()
