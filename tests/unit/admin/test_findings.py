"""The doctor's judgements, from plain values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from outlast.admin.findings import (
    of_bindings,
    of_declarations,
    of_guard,
    of_holders,
    of_limits,
    of_queue,
    of_schedule,
    of_spool,
    of_unrunnable,
    of_variables,
)
from outlast.core.findings import Finding
from outlast.core.store.broker import QueueStats
from outlast.core.text import ascii_json, clean, counted, duration, indented, json_line, line, short, size, when
from tests.support.findings import only


def test_limits() -> None:
    assert only([of_limits(256)]).severity == "warning"
    assert only([of_limits(20_000)]).severity == "ok"
    assert only([of_limits(-1)]).text == "unlimited"


def test_workers_that_are_gone() -> None:
    assert only(of_holders([("host:7", 3)], consumed=True)).severity == "warning"
    gone = only(of_holders([("host:7", 1)], consumed=False))
    assert (gone.severity, gone.text) == ("error", "worker host:7 lost its lease with 1 job running")
    assert list(of_holders([], consumed=False)) == []


@pytest.mark.parametrize(
    ("stats", "severity", "said"),
    [
        (QueueStats(depth=3, ready=3, consumers=1), "ok", "3 jobs, 1 worker"),
        (QueueStats(), "ok", "0 jobs, 0 workers"),
        (QueueStats(depth=3, ready=3), "error", "3 jobs waiting and no worker consumes it"),
        (QueueStats(depth=2, running=2), "ok", "2 jobs"),
        (QueueStats(depth=3, ready=3, paused=True), "warning", "paused with 3 jobs waiting"),
        (QueueStats(depth=3, ready=3, consumers=1, oldest=3600.0), "warning", "has waited for 1 h"),
        (QueueStats(depth=3, ready=3, consumers=1, max_depth=3), "error", "full: 3 of 3"),
        (QueueStats(depth=1, parked=1, consumers=1), "warning", "1 job parked"),
        (QueueStats(dead=2), "warning", "2 dead letters"),
        (QueueStats(depth=2, ready=1, consumers=1), "warning", "1 job held by a move"),
        (QueueStats(depth=2, running=1, successors=1, consumers=1), "ok", "2 jobs, 1 worker"),
    ],
)
def test_queues(stats: QueueStats, severity: str, said: str) -> None:
    found = only(of_queue("mail", stats))
    assert (found.check, found.severity, said in found.text) == ("queue mail", severity, True)


def test_a_queue_that_a_guard_holds_up_has_no_fault() -> None:
    stats, why = QueueStats(depth=3, ready=3, consumers=1, oldest=3600.0), "waits for payments: open for 1 h"
    found = only(of_queue("mail", stats, why))
    assert (found.severity, found.text) == ("ok", f"3 jobs, 1 worker, {why}")
    nobody = only(of_queue("mail", QueueStats(depth=3, ready=3), why))
    assert nobody.severity == "error", "no guard will let a job of this queue go"


def test_a_queue_of_an_app_that_is_gone_is_told_how_its_events_end() -> None:
    found = only(of_queue("mail", QueueStats(depth=3, ready=3), bound_by="shop"))
    assert "if app 'shop' is gone, first outlast topology prune --retired shop" in found.fix
    assert "events" not in only(of_queue("mail", QueueStats(depth=3, ready=3))).fix


def test_a_full_queue_that_a_guard_holds_up_is_nothing_that_more_workers_mend() -> None:
    stats, why = QueueStats(depth=3, ready=3, consumers=1, max_depth=3), "waits for payments: open for 1 h"
    found = only(of_queue("mail", stats, why))
    assert (found.severity, found.text) == ("warning", f"full: 3 of 3, {why}")
    assert "more workers" not in found.fix


def test_guards() -> None:
    assert of_guard("payments", why="", held="") == Finding("guard payments", "ok", "closed")
    why = "open for 41 s, next probe in 4.0 s"
    assert of_guard("payments", why=why, held="") == Finding("guard payments", "ok", why)
    for held in ("open", "closed"):
        found = of_guard("payments", why="" if held == "closed" else why, held=held)
        assert (found.severity, found.fix) == ("warning", "outlast guards reset payments")


def test_jobs_that_no_child_process_can_begin() -> None:
    assert not list(of_unrunnable({}, 0))
    waiting, dead = of_unrunnable({"render": "no such module"}, 2)
    assert waiting.text == "jobs of kind 'render' cannot run: no such module"
    assert "reason:kind-missing" in dead.fix


def test_a_spool() -> None:
    fine = of_spool("outbox.db", 1, 0, None)
    assert (fine.severity, fine.text) == ("ok", "outbox.db: 1 job to relay")
    bad = of_spool("outbox.db", 0, 2, ("q.1", "not a job"))
    assert (bad.severity, bad.text) == (
        "warning",
        "outbox.db: 0 jobs to relay, 2 refused for good, such as q.1: not a job",
    )


def test_a_queue_can_have_more_than_one_trouble() -> None:
    found = list(of_queue("mail", QueueStats(depth=5, ready=4, parked=1, dead=1, max_depth=5)))
    assert [each.severity for each in found] == ["error", "error", "warning", "warning"]


@pytest.mark.parametrize(
    ("given", "severity", "said"),
    [
        ({}, "ok", "runs"),
        ({"paused": True}, "warning", "paused"),
        ({"paused": True, "orphan": True}, "error", "no live worker declares it"),
        ({"error": "no such zone", "paused": True}, "error", "cannot run: no such zone"),
        ({"due_since": 300.0}, "error", "was due 5 min ago and has not run"),
    ],
)
def test_schedules(given: dict[str, Any], severity: str, said: str) -> None:
    well: dict[str, Any] = {"error": "", "orphan": False, "paused": False, "due_since": None, "app": "shop"}
    found = only([of_schedule("nightly", **{**well, **given})])
    assert (found.check, found.severity, said in found.text) == ("schedule nightly", severity, True)


def declarations(kinds: dict[tuple[str, str], int], consumers: int) -> list[Finding]:
    return list(
        of_declarations(
            kinds,
            declared_kinds={"send": "mail", "bill@3": "bills", "bill@2": "bills"},
            declared_queues=["mail"],
            stats={"mail": QueueStats(consumers=consumers)},
            app="main:shop",
        )
    )


def test_what_is_declared_and_what_waits() -> None:
    assert only(declarations({("mail", "send"): 3}, 1)).severity == "ok"
    unknown = only(declarations({("mail", "send_old"): 3}, 1))
    assert (unknown.severity, "3 jobs of kind 'send_old'" in unknown.text) == ("error", True)
    newer = only(declarations({("bills", "bill@4"): 1}, 1))
    assert (newer.severity, "need newer code: main:shop runs this kind up to version 3" in newer.text) == (
        "warning",
        True,
    )
    older = only(declarations({("bills", "bill"): 1}, 1))
    assert (older.severity, "upgrades= from version 1" in older.fix) == ("error", True)
    assert only(declarations({}, 0)).text == "no worker consumes these queues of main:shop: mail"


def test_bindings_that_are_no_longer_declared() -> None:
    assert list(of_bindings({}, "main:shop")) == []
    (found,) = of_bindings({"orders": {"mail", "bill"}, "news": {"mail"}}, "main:shop")
    assert found.severity == "warning"
    assert found.text == (
        "bindings that main:shop does not declare any more still give events to queues: "
        "news to mail; orders to bill, mail"
    )
    assert found.fix.startswith("outlast topology prune --app main:shop")


def test_variables_without_effect() -> None:
    assert only(of_variables({})).severity == "ok"
    assert only(of_variables({"OUTLAST_LAESE": "no setting has this name"})).severity == "warning"


def test_text_for_people() -> None:
    assert [duration(each) for each in (0.44, 12.3, 90, 7200, 200_000)] == ["0.4 s", "12 s", "2 min", "2 h", "2 d"]
    assert (when(90.0, 100.0), when(400.0, 100.0), when(None, 1.0)) == ("10 s ago", "in 5 min", "")
    assert [size(each) for each in (12, 2048, 5 << 20, 3 << 30)] == ["12 B", "2.0 KiB", "5.0 MiB", "3.0 GiB"]
    assert (counted(1, "job"), counted(12_000, "job")) == ("1 job", "12,000 jobs")
    assert clean("a\x1b[31mb\r\nc\u202e\x9b") == "a\\x1b[31mb\nc\\u202e\\x9b"
    assert clean("\u200e\u2028\ud800\ufeff") == "\\u200e\\u2028\\ud800\\ufeff"
    assert line("a\r\nb\x85c\n") == "a\\nb\\x85c\\n"
    assert indented("a\nb\r\n\u2029c\n") == "a\n  b\n  \\u2029c"
    assert len(indented("".join(map(chr, range(0x11_0000)))).splitlines()) == 2
    document = {"text": "".join(map(chr, range(0x20, 0x3000)))}
    shown = json_line(json.dumps(document, ensure_ascii=False))
    assert json.loads(shown) == document
    assert clean(shown) == shown
    assert (short("one\ntwo"), short("x" * 20, 10)) == ("one", "xxxxxxx...")


def test_json_in_ascii_decodes_to_the_same() -> None:
    document = {"é": "ü \u2028 😀 plain", "n": [1, "ß"]}
    shown = ascii_json(json.dumps(document, ensure_ascii=False))
    assert shown.isascii()
    assert json.loads(shown) == document
