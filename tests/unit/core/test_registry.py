"""The registry, topology and unique keys: what may be declared."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import pytest

from outlast.core.durations import LONGEST
from outlast.core.errors import ConfigurationError, DuplicateKind
from outlast.core.kinds import Upgrade
from outlast.core.policy import Policy, Retention
from outlast.core.registry import Declaration, Registry
from outlast.core.schedule import Scheduled, Spec
from outlast.core.topology import Queue, Topology
from outlast.core.unique import Unique


def handler() -> None: ...


def declared(kind: str, queue: str = "mail", policy: Policy = Policy()) -> Declaration:  # noqa: B008 - frozen
    return Declaration(kind=kind, queue=queue, handler=handler, mode="thread", takes_context=False, policy=policy)


def test_a_kind_brings_its_queue() -> None:
    registry = Registry()
    registry.add(declared("send"))
    registry.add(declared("render", "pdf"))
    assert set(registry.declarations) == {"send", "render"}
    assert registry.topology() == Topology(
        (Queue(name="mail"), Queue(name="pdf")),
        kinds=("send", "render"),
        longest_run=305.0,
        kinds_of={"mail": ("send",), "pdf": ("render",)},
    )


def test_the_kinds_of_a_queue_are_told_with_their_former_names_and_without_versions() -> None:
    registry = Registry()
    upgrades: dict[int, Upgrade] = {1: dict}
    registry.add(replace(declared("send"), version=2, upgrades=upgrades, aliases=("send_mail",)))
    registry.add(declared("render"))
    registry.add(declared("pay", "money"))
    assert registry.topology().kinds_of == {"mail": ("send", "send_mail", "render"), "money": ("pay",)}


def test_the_longest_run_is_told_and_a_kind_without_a_timeout_has_no_end() -> None:
    registry = Registry()
    assert registry.topology().longest_run == 0
    registry.add(declared("send", policy=Policy(timeout=20)))
    registry.add(declared("render", policy=Policy(timeout=60)))
    assert registry.topology().longest_run == 65
    registry.add(declared("report", policy=Policy(timeout=None)))
    assert registry.topology().longest_run == inf


def test_a_kind_twice_is_refused_and_both_are_named() -> None:
    registry = Registry()
    registry.add(declared("send"))
    with pytest.raises(DuplicateKind, match=r"'send' is declared twice, by .*handler and .*handler"):
        registry.add(declared("send", "pdf"))
    assert set(registry.queues) == {"mail"}


def test_a_queues_bounds_hold_whichever_comes_first() -> None:
    bounded = Queue(name="mail", max_depth=5)
    first, last = Registry(), Registry()
    first.add_queue(bounded)
    first.add(declared("send"))
    last.add(declared("send"))
    last.add_queue(bounded)
    assert (
        first.topology()
        == last.topology()
        == Topology((bounded,), kinds=("send",), longest_run=305.0, kinds_of={"mail": ("send",)})
    )


def test_every_declaration_is_a_change_that_an_open_store_is_told() -> None:
    registry = Registry(app="shop")
    versions = [registry.version]
    for kind in ("send", "send_again"):
        registry.add(declared(kind))
        versions.append(registry.version)
    registry.add_queue(Queue(name="mail", max_depth=1))
    assert sorted({*versions, registry.version}) == [*versions, registry.version]
    assert registry.topology().app == "shop"


def test_a_schedule_is_a_change_too_and_its_name_is_taken() -> None:
    registry = Registry()
    nightly = Scheduled(name="nightly", kind="report", spec=Spec(every="1d"))
    registry.add_schedule(nightly)
    assert (registry.schedules, registry.version) == ({"nightly": nightly}, 1)
    with pytest.raises(ConfigurationError, match="'nightly' is declared twice, for 'report' and 'report'"):
        registry.add_schedule(nightly)


def test_a_queue_twice_must_say_the_same() -> None:
    registry = Registry()
    registry.add_queue(Queue(name="mail", max_depth=5))
    registry.add_queue(Queue(name="mail", max_depth=5))
    with pytest.raises(ConfigurationError, match="'mail' is declared twice"):
        registry.add_queue(Queue(name="mail", max_depth=6))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"name": "a.b"}, "queue name"),
        ({"name": "q", "max_depth": 0}, "max_depth=0"),
        ({"name": "q", "on_full": "drop"}, "on_full='drop'"),
        ({"name": 5}, "queue name 5"),
        ({"name": "q", "max_depth": "10"}, "max_depth='10'"),
        ({"name": "q", "max_depth": 1.5}, "max_depth=1.5"),
        ({"name": "q", "retention": 3600}, "retention=3600"),
        ({"name": "q", "objective": 0}, "objective=0 is missed by each job"),
        ({"name": "q", "objective": None}, "objective=None: give seconds"),
        ({"name": "q", "objective": float("nan")}, "objective=nan: give seconds"),
    ],
)
def test_a_queue_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Queue(**wrong)


def test_a_queue_has_the_default_retention() -> None:
    assert Queue(name="q").retention == Retention()
    assert Queue(name="q", max_depth=1).max_depth == 1


def test_an_objective_is_a_duration_of_60_s_by_default() -> None:
    assert Queue(name="q").objective == 60.0
    assert Queue(name="q", objective="5m").objective == 300.0


def test_the_kinds_of_each_queue_are_told_by_their_names() -> None:
    registry = Registry()
    for kind, queue in (("send", "mail"), ("look", "mail"), ("render", "pdf")):
        registry.add(declared(kind, queue))
    registry.add_queue(Queue(name="empty"))
    assert registry.kinds_by_queue() == {"mail": ("send", "look"), "pdf": ("render",), "empty": ()}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"key": ""}, "unique key of 0"),
        ({"key": "x" * 513}, "unique key of 513"),
        ({"key": "k", "until": "later"}, "until='later'"),
        ({"key": "k", "scope": "all"}, "scope='all'"),
        ({"key": "k", "seconds": 0}, "seconds=0"),
        ({"key": "k", "seconds": -1}, "seconds.=-1"),
        ({"key": "k", "seconds": float("nan")}, "seconds=nan"),
        ({"key": "k", "seconds": "soon"}, "seconds.='soon'"),
        ({"key": 5}, "unique=5"),
    ],
)
def test_a_unique_key_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Unique(**wrong)


def test_a_unique_key() -> None:
    assert Unique("k") == Unique("k", "finish", None)
    assert Unique("x" * 512, "start", 5.0).seconds == 5.0
    assert Unique("k", seconds="5m").seconds == 300
    assert Unique("k", seconds=LONGEST).seconds == LONGEST


def test_two_kinds_are_one_by_name_whatever_the_version() -> None:
    registry = Registry()
    registry.add(declared("send"))
    same = registry.same_kind
    assert same("send", "send")
    assert same("send", "send@2")
    assert not same("send", "print")
    assert not same("unknown", "send")
    assert same("unknown", "unknown@3")
    assert not same("unknown", "other")
