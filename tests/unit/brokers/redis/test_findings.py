"""The doctor's judgements of Redis servers, from what they say of themselves."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from outlast.brokers.redis.findings import of_namespaces, of_servers
from outlast.clients.redis.facts import Facts, durability_of
from outlast.clients.redis.inspection import ServerReport, ServersReport

WELL = Facts(
    version=(7, 2, 0),
    role="master",
    replicas=1,
    append_only=True,
    fsync="always",
    save="",
    policy="noeviction",
    maxmemory=0,
    used_memory=1000,
)


def findings(facts: Facts, *, spool: bool = True, **given: Any) -> dict[str, str]:
    """Return what is not well, as "check: text", with its severity."""
    level, window = durability_of(facts, 0)
    servers = ServersReport(
        **{
            "kind": "sentinel",
            "masters": (ServerReport("a:1", facts),),
            "unreached": 0,
            "durability": level,
            "window": window,
            "round_trip": 0.001,
            **given,
        }
    )
    found = list(of_servers(servers, spool=spool))
    assert all((each.severity == "ok") == (each.fix == "") for each in found)
    return {f"{each.check}: {each.text}": each.severity for each in found if each.severity != "ok"}


def test_a_server_that_keeps_what_it_took_is_well() -> None:
    assert findings(WELL) == {}
    assert findings(replace(WELL, fsync="everysec")) == {}


@pytest.mark.parametrize(
    ("facts", "severity", "said"),
    [
        (replace(WELL, role="slave"), "error", "is a replica"),
        (replace(WELL, write_error=True), "error", "could not write"),
        (replace(WELL, policy="volatile-lru"), "warning", "this is for caches"),
        (replace(WELL, maxmemory=1000, used_memory=800), "warning", "uses 800 B of its maxmemory"),
        (replace(WELL, maxmemory=1000, used_memory=950), "error", "uses 950 B of its maxmemory"),
        (replace(WELL, append_only=False), "error", "nothing is kept on a disk"),
        (replace(WELL, append_only=False, save="60 1"), "warning", "only snapshots"),
        (replace(WELL, append_only=None), "warning", "does not report its durability settings"),
        (replace(WELL, replicas=0), "warning", "no replica of a:1"),
    ],
)
def test_each_fault_is_told(facts: Facts, severity: str, said: str) -> None:
    ((text, found),) = findings(facts).items()
    assert said in text
    assert found == severity


def test_a_cache_is_no_place_for_jobs() -> None:
    found = findings(replace(WELL, policy="allkeys-lru", maxmemory=1 << 30))
    assert found == {
        "server a:1: maxmemory-policy allkeys-lru: a full server removes jobs": "error",
        "durability: jobs that the server evicts are lost": "warning",
    }


@pytest.mark.parametrize(
    ("replicas", "spool", "said"),
    [
        (0, False, "no replica: no job runs while the server is unavailable, and no job is accepted"),
        (0, True, "no replica: no job runs while the server is unavailable"),
        (2, True, "2 replicas, but the url names one server: workers do not follow a failover"),
    ],
)
def test_one_server_is_a_single_point(replicas: int, spool: bool, said: str) -> None:
    assert findings(replace(WELL, replicas=replicas), kind="single", spool=spool) == {
        f"single point: {said}": "warning"
    }


def test_a_distant_server_and_a_silent_master() -> None:
    assert findings(WELL, round_trip=0.08, unreached=1) == {
        "cluster: 1 master cannot be reached": "error",
        "distance: a request takes 80 ms": "warning",
    }


def test_a_shared_server_tells_whose_namespaces_are_there() -> None:
    assert list(of_namespaces((), "outlast")) == []
    assert list(of_namespaces(["{outlast}:born"], "outlast")) == []
    (found,) = of_namespaces(["{outlast}:born", "{shop}:born", "{mail}:born"], "outlast")
    assert (found.severity, found.text) == ("ok", "this is outlast; on the same server: mail, shop")
    (many,) = of_namespaces([f"{{n{number:02}}}:born" for number in range(30)], "outlast")
    assert many.text.endswith("n18, n19 and 10 more")
