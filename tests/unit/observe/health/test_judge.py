"""When a service counts as frozen, ready and started; and all that is no reason for it."""

from __future__ import annotations

from typing import Any

import pytest

from outlast.core.store.broker import QueueStats
from outlast.observe.health.judge import PATIENCE, frozen_queues, is_live, is_ready, is_started, suspects
from outlast.observe.health.views import ServiceView, WorkerView

FROZEN = WorkerView(pid=7, state="consuming", due=61.0, asked=("mail", "pdf"), away=False)
WELL = WorkerView(pid=8, state="consuming", due=2.0, asked=("mail",))


def view(*workers: WorkerView, **facts: Any) -> ServiceView:
    return ServiceView(workers=workers, **{"came_up": True, **facts})


def but(worker: WorkerView, **facts: Any) -> WorkerView:
    return WorkerView(**{name: getattr(worker, name) for name in worker.__struct_fields__} | facts)


def test_a_worker_whose_claims_do_not_come_back_is_under_suspicion() -> None:
    assert suspects([WELL, FROZEN]) == [FROZEN]
    assert suspects([but(FROZEN, due=PATIENCE)]) != []
    assert suspects([but(FROZEN, due=PATIENCE - 0.1)]) == []


@pytest.mark.parametrize(
    "facts",
    [{"away": True}, {"state": "silent"}, {"state": "draining"}, {"state": "opening"}, {"due": 0.0}],
    ids=["the store is away", "a job blocks the loop", "it drains", "it opens the store", "no slot, or a guard"],
)
def test_what_explains_that_no_claim_comes_back(facts: dict[str, Any]) -> None:
    assert suspects([but(FROZEN, **facts)]) == []


def test_it_is_frozen_for_the_queues_that_have_a_job_for_it() -> None:
    has = QueueStats(ready=1)
    assert frozen_queues(FROZEN, {"mail": has, "pdf": QueueStats(), "other": has}) == ("mail",)
    assert frozen_queues(FROZEN, {}) == ()


@pytest.mark.parametrize(
    "stats",
    [
        QueueStats(ready=5, paused=True),
        QueueStats(ready=5, held="concurrency"),
        QueueStats(ready=5, held="rate"),
        QueueStats(ready=5, keys=0, keys_held=2),
        QueueStats(parked=5),
        QueueStats(scheduled=5, running=5, successors=5, dead=5),
    ],
)
def test_a_pause_a_limit_and_parked_kinds_are_no_fault_of_the_worker(stats: QueueStats) -> None:
    assert frozen_queues(FROZEN, {"mail": stats}) == ()


def test_one_key_that_waits_among_others_that_do_not_explains_nothing() -> None:
    assert frozen_queues(FROZEN, {"mail": QueueStats(ready=5, keys=1, keys_held=2)}) == ("mail",)


def test_a_frozen_worker_is_a_reason_to_restart_and_the_answer_says_why() -> None:
    answer = is_live(view(WELL, FROZEN, frozen={7: ("mail",)}))
    assert (answer.ok, answer.state) == (False, "frozen")
    assert answer.text == (
        "worker 7 has free slots and due jobs in mail, and no claim of it has come back for 61 s: restart the service"
    )


def test_a_frozen_worker_is_not_ready_however_short_the_patience() -> None:
    assert not is_ready(view(but(WELL, due=7.0), frozen={8: ("mail",)})).ok


def test_a_service_that_drains_lives_and_is_not_ready() -> None:
    drains = view(but(FROZEN, state="draining"), stopping=True, frozen={7: ("mail",)})
    assert [(each.ok, each.state) for each in (is_live(drains), is_ready(drains), is_started(drains))] == [
        (True, "draining"),
        (False, "draining"),
        (True, "started"),
    ]


def test_a_service_is_ready_as_soon_as_one_worker_consumes() -> None:
    starting = WorkerView(pid=9, state="starting")
    assert (is_ready(view(starting, WELL)).state, is_ready(view(WELL)).ok) == ("ready", True)
    assert (is_ready(view(starting)).state, is_ready(view(starting)).ok) == ("unready", False)
    assert is_ready(view(starting, came_up=False)).state == "starting"


def test_a_store_that_is_away_is_told_and_no_reason_to_restart() -> None:
    away = view(but(WELL, away=True))
    ready, live = is_ready(away), is_live(away)
    assert (ready.ok, ready.state, live.ok) == (False, "unready", True)
    broker = next(each for each in ready.checks if each.name == "broker")
    assert (broker.ok, broker.text) == (False, "claims and settlements of 1 worker fail")


def test_an_open_guard_is_told_and_counts_for_nothing() -> None:
    ready = is_ready(view(but(WELL, shut=("payments",))))
    guards = next(each for each in ready.checks if each.name == "guards")
    assert (ready.ok, guards.ok, guards.text) == (True, False, "open guards hold payments")


def test_claims_that_are_late_make_a_service_unready_before_it_counts_as_frozen() -> None:
    late = view(but(WELL, due=20.0))
    assert (is_ready(late).ok, is_live(late).ok) == (False, True)


def test_a_start_is_over_when_the_app_is_imported_even_while_the_store_is_away() -> None:
    importing, waiting = WorkerView(pid=1, state="starting"), WorkerView(pid=1, state="opening")
    found = [is_started(view(each, came_up=False)).ok for each in (importing, waiting)]
    assert found == [False, True]
    assert is_started(view()).ok
    assert is_live(view(importing, came_up=False)).ok
