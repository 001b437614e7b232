"""The seam stays small: what every store must do is counted."""

from __future__ import annotations

import inspect

import pytest

from outlast.brokers.memory import MemoryStore
from outlast.brokers.sqlite import SqliteStore
from outlast.core.store.broker import Broker
from outlast.core.store.control import Control
from outlast.core.store.exchanges import Exchanges
from outlast.core.store.guards import Guards
from outlast.core.store.history import History
from outlast.core.store.inbox import Inbox
from outlast.core.store.records import Records
from outlast.core.store.schedules import Schedules
from outlast.core.store.totals import Totals


def methods(protocol: type) -> set[str]:
    return {name for name, value in vars(protocol).items() if inspect.isfunction(value) and not name.startswith("_")}


@pytest.mark.parametrize(
    ("protocol", "most"),
    [
        (Broker, 12),
        (Records, 5),
        (Control, 1),
        (Schedules, 5),
        (Guards, 3),
        (Exchanges, 3),
        (Inbox, 3),
        (Totals, 1),
        (History, 6),
    ],
)
def test_no_protocol_grows(protocol: type, most: int) -> None:
    assert 0 < len(methods(protocol)) <= most


@pytest.mark.parametrize("protocol", [Broker, Records, Control, Schedules, Guards, Exchanges, Inbox, Totals, History])
def test_every_method_promises_something(protocol: type) -> None:
    assert [name for name in methods(protocol) if not getattr(protocol, name).__doc__] == []


@pytest.mark.parametrize(("store", "more"), [(MemoryStore, set()), (SqliteStore, {"backup"})])
def test_a_store_offers_the_seam_and_no_more(store: type, more: set[str]) -> None:
    offered = {name for name, value in inspect.getmembers(store, inspect.isfunction) if not name.startswith("_")}
    seam = set[str]().union(*map(methods, (Broker, Records, Control, Schedules, Guards, Exchanges, Totals, History)))
    assert offered == seam | more
