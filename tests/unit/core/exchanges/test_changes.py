"""Changes of the exchanges and bindings of a store: what a declaration adds, and what a removal takes away."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from outlast.core.errors import ConfigurationError
from outlast.core.exchanges.changes import BindingChange, added, changed, removed, row_of
from outlast.core.exchanges.values import Binding, Bindings, Exchange

ORDERS, LOGS = Exchange(name="orders"), Exchange(name="logs", type="headers", unroutable="keep")


def binding(queue: str = "mail", key: str = "paid", **options: Any) -> Binding:
    return Binding(
        **{"exchange": "orders", "queue": queue, "kind": "send", "parameter": "order", "key": key, **options}
    )


def known(*bindings: Binding, version: int = 3) -> Bindings:
    return changed(Bindings(), BindingChange((ORDERS, LOGS), bindings), version)


def test_a_row_is_told_apart_by_exchange_queue_key_and_arguments() -> None:
    some = [
        binding(),
        binding(key="sent"),
        binding("billing"),
        binding(exchange="logs"),
        binding(arguments={"a": 1, "b": 2}),
        binding(arguments={"a": 1.0, "b": 2}),
        binding(arguments={"a": "1", "b": 2}),
        binding(arguments={"a": True, "b": 2}),
    ]
    assert len({row_of(each) for each in some}) == len(some)
    assert row_of(binding(arguments={"b": 2, "a": 1})) == row_of(some[4])
    assert row_of(binding(kind="other", parameter="event", app="post", priority="low")) == row_of(binding())


def test_a_declaration_adds_what_is_new() -> None:
    change = added(Bindings(), [ORDERS, ORDERS], [binding(), binding(), binding("billing")])
    assert change == BindingChange((ORDERS,), (binding(), binding("billing")))
    assert change
    now = changed(Bindings(), change, 7)
    assert now == Bindings(7, (ORDERS,), (binding("billing"), binding()))
    again = added(now, [ORDERS], [binding("billing"), binding()])
    assert again == BindingChange()
    assert not again
    assert changed(now, again, 8) == structs.replace(now, version=8)


def test_all_bindings_of_a_queue_follow_the_newest_declaration() -> None:
    before = known(binding(), binding(key="sent"), binding("billing"), binding(exchange="logs"))
    newer = binding(key="lost", kind="send@2", parameter="event", priority="low", expires=5.0, redacted=True)
    change = added(before, [ORDERS], [newer])
    assert {each.key: each for each in change.bindings} == {
        key: structs.replace(newer, key=key) for key in ("paid", "sent", "lost")
    }
    assert changed(before, change, 4).bindings[0] == binding(exchange="logs")


@pytest.mark.parametrize(
    ("exchange", "text"),
    [
        (
            Exchange(name="orders", type="direct"),
            r"exchange 'orders' has type='topic' in this store, and is declared with type='direct': declare "
            r"type='topic', give .*, or remove the stored one with `outlast topology prune`",
        ),
        (
            Exchange(name="orders", unroutable="keep"),
            "has unroutable='refuse' in this store, and is .* unroutable='keep'",
        ),
    ],
)
def test_an_exchange_keeps_its_settings(exchange: Exchange, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        added(known(), [exchange], [])


def test_a_binding_needs_its_exchange() -> None:
    with pytest.raises(ConfigurationError, match=r"queue 'mail' is bound to exchange 'orders', .* exchange\('orders'"):
        added(Bindings(), [LOGS], [binding()])
    assert added(known(), [], [binding()]) == BindingChange(bindings=(binding(),))


def test_a_removal_takes_bindings_and_exchanges_without_any() -> None:
    before = known(binding(), binding("billing"))
    assert removed(before, [], ["orders", "lost"]) == BindingChange()
    assert removed(before, [binding(kind="other"), binding(key="lost")], ["orders"]) == BindingChange(
        removed_bindings=(binding(),)
    )
    change = removed(before, [binding(), binding("billing")], ["orders", "logs"])
    assert change.removed == 4
    assert change
    assert changed(before, change, 9) == Bindings(9)
    assert removed(before, [], ["logs"]).removed_exchanges == ("logs",)
