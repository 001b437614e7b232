"""Bindings that jobs declare: settled when every declaration of the app is known."""

from __future__ import annotations

from typing import Any

import pytest

from outlast.core.errors import ConfigurationError
from outlast.core.exchanges.declared import DeclaredBinding, EventParameter
from outlast.core.exchanges.values import Binding, Exchange
from outlast.core.policy import Policy
from outlast.core.registry import Declaration, Registry

ORDERS, LOGS = Exchange(name="orders"), Exchange(name="logs", type="headers")


def handler() -> None: ...


def job(kind: str, *on: DeclaredBinding, queue: str = "mail", redacted: bool = False, **options: Any) -> Declaration:
    return Declaration(
        kind=kind,
        queue=queue,
        handler=handler,
        mode="thread",
        takes_context=False,
        policy=Policy(),
        on=on,
        event=EventParameter("order", lambda: redacted) if on else None,
        **options,
    )


def registry(*jobs: Declaration) -> Registry:
    found = Registry(app="shop")
    found.add_exchange(ORDERS)
    found.add_exchange(LOGS)
    for each in jobs:
        found.add(each)
    return found


def test_the_bindings_of_all_jobs_are_declared() -> None:
    vip = DeclaredBinding(LOGS, arguments={"vip": True})
    topology = registry(
        job("send", DeclaredBinding(ORDERS, "paid"), DeclaredBinding(ORDERS, "sent"), vip, priority="high"),
        job("bill", DeclaredBinding(ORDERS, "#"), queue="billing", version=2, upgrades={}, expires=9.0, redacted=True),
        job("other"),
    ).topology()
    send: dict[str, Any] = {"queue": "mail", "kind": "send", "parameter": "order", "app": "shop", "priority": "high"}
    assert topology.exchanges == (ORDERS, LOGS)
    assert topology.bindings == (
        Binding(exchange="orders", key="paid", **send),
        Binding(exchange="orders", key="sent", **send),
        Binding(exchange="logs", arguments={"vip": True}, **send),
        Binding(
            exchange="orders",
            queue="billing",
            kind="bill@2",
            parameter="order",
            key="#",
            app="shop",
            expires=9.0,
            redacted=True,
        ),
    )


def test_an_exchange_may_be_declared_again_with_the_same_settings_only() -> None:
    found = registry()
    version = found.version
    found.add_exchange(Exchange(name="orders"))
    assert found.version > version
    with pytest.raises(ConfigurationError, match=r"'orders' is declared twice, with type='topic', .* type='direct'"):
        found.add_exchange(Exchange(name="orders", type="direct"))
    with pytest.raises(ConfigurationError, match="unroutable='refuse' and with type='topic', unroutable='keep'"):
        found.add_exchange(Exchange(name="orders", unroutable="keep"))
    assert found.exchanges == {"orders": ORDERS, "logs": LOGS}


def test_a_queue_is_bound_to_an_exchange_for_one_kind() -> None:
    found = registry(job("send", DeclaredBinding(ORDERS, "paid")))
    with pytest.raises(
        ConfigurationError, match=r"'send' and 'invoice' of queue 'mail' are both bound to exchange 'orders', .* own"
    ):
        found.add(job("invoice", DeclaredBinding(ORDERS, "sent")))
    assert set(found.declarations) == {"send"}
    found.add(job("log", DeclaredBinding(LOGS)))
    found.add(job("bill", DeclaredBinding(ORDERS, "paid"), queue="billing"))
    found.add(job("direct"))
    assert len(found.topology().bindings) == 3


@pytest.mark.parametrize("other", [Exchange(name="lost"), Exchange(name="orders", type="direct")])
def test_a_binding_to_an_exchange_of_another_app_is_refused(other: Exchange) -> None:
    found = registry(job("send", DeclaredBinding(other, "paid")))
    with pytest.raises(
        ConfigurationError,
        match=rf"job 'send' is bound to exchange '{other.name}' of another .* exchange\('{other.name}'",
    ):
        found.topology()
