"""What is shown of a sample of the store."""

from __future__ import annotations

from outlast import Outlast
from outlast.core.forecast import Forecast
from outlast.core.policy import DEFAULTS
from outlast.core.space import Space
from outlast.core.store.broker import QueueStats
from outlast.core.store.totals import OUTCOMES
from outlast.meters.metric import Reading
from outlast.observe.declared import DeclaredQueues, declared_by
from outlast.observe.store_figures import StoreSample, away, readings_of

DECLARED = DeclaredQueues("shop", {"mail": ("send", "remind"), "pdf": ()}, {"mail": 5.0})


def shown(readings: list[Reading]) -> dict[tuple[str, ...], float]:
    found = {(each.metric.name.removeprefix("outlast_"), *each.labels): each.values[0] for each in readings}
    assert len(found) == len(readings), "each series once"
    return found


def test_an_app_tells_its_queues_and_the_names_of_its_kinds() -> None:
    shop = Outlast("shop")

    @shop.job(queue="mail", version=2, upgrades={})
    async def send() -> None: ...

    shop.queue("pdf")
    found = declared_by(shop.registry)
    assert (found.app, found.kinds) == ("shop", {"mail": ("send",), "pdf": ()})
    assert found.objectives == {"mail": DEFAULTS.objective, "pdf": DEFAULTS.objective}


def test_what_a_store_does_not_count_is_absent_and_not_0() -> None:
    sample = StoreSample(0, 0, {"mail": QueueStats(ready=3, depth=3, dead=2, consumers=1)}, counts_all=False)
    found = shown(readings_of(sample, DECLARED, 0))
    assert {series[0]: value for series, value in found.items() if "mail" in series} == {
        "queue_jobs": 3,
        "queue_depth": 3,
        "queue_dead": 2,
        "queue_consumers": 1,
        "queue_objective_seconds": 5,
    }


def test_each_declared_kind_and_outcome_is_there_from_0_on() -> None:
    found = shown(readings_of(StoreSample(0, 0, {}, {}), DECLARED, 0))
    ended = {series: value for series, value in found.items() if series[0] == "jobs_ended_total"}
    assert ended == {
        ("jobs_ended_total", "shop", "mail", kind, outcome): 0 for kind in ("send", "remind") for outcome in OUTCOMES
    }


def test_totals_are_of_all_versions_of_a_kind_and_of_declared_queues_alone() -> None:
    totals = {
        ("mail", "send", "dead"): 1,
        ("mail", "send@2", "dead"): 2,
        ("mail", "other", "succeeded"): 4,
        ("of_another_app", "send", "dead"): 8,
    }
    found = shown(readings_of(StoreSample(0, 0, {}, totals), DECLARED, 0))
    assert found["jobs_ended_total", "shop", "mail", "send", "dead"] == 3
    assert found["jobs_ended_total", "shop", "mail", "other", "succeeded"] == 4
    assert not [series for series in found if "of_another_app" in series]


def test_kinds_whose_names_are_cut_to_the_same_label_are_added() -> None:
    one, other = "a" * 127 + "b", "a" * 127 + "c"
    declared = DeclaredQueues("shop", {"mail": (one, other)})
    totals = {("mail", one, "dead"): 1, ("mail", other, "dead"): 2}
    found = shown(readings_of(StoreSample(0, 0, {}, totals), declared, 0))
    assert [value for series, value in found.items() if series[-1] == "dead"] == [3]


def test_a_store_without_totals_shows_none() -> None:
    assert not [
        each for each in shown(readings_of(StoreSample(0, 0, {}), DECLARED, 0)) if each[0] == "jobs_ended_total"
    ]


def test_the_counts_of_a_queue() -> None:
    stats = QueueStats(
        depth=11,
        ready=1,
        scheduled=2,
        running=3,
        parked=4,
        successors=5,
        dead=6,
        oldest=7.5,
        drain_rate=8.0,
        paused=True,
        consumers=9,
        max_depth=100,
        forecast=Forecast(empty_in=12.0),
    )
    found = shown(readings_of(StoreSample(10, 0.25, {"mail": stats, "of_another_app": stats}), DECLARED, 11.5))
    assert found == {
        ("store_up", "shop"): 1,
        ("sample_seconds", "shop"): 0.25,
        ("sample_age_seconds", "shop"): 1.5,
        ("queue_jobs", "shop", "mail", "ready"): 1,
        ("queue_jobs", "shop", "mail", "scheduled"): 2,
        ("queue_jobs", "shop", "mail", "running"): 3,
        ("queue_jobs", "shop", "mail", "parked"): 4,
        ("queue_jobs", "shop", "mail", "waiting"): 5,
        ("queue_depth", "shop", "mail"): 11,
        ("queue_max_depth", "shop", "mail"): 100,
        ("queue_oldest_seconds", "shop", "mail"): 7.5,
        ("queue_paused", "shop", "mail"): 1,
        ("queue_consumers", "shop", "mail"): 9,
        ("queue_drain_rate", "shop", "mail"): 8,
        ("queue_drain_seconds", "shop", "mail"): 12,
        ("queue_objective_seconds", "shop", "mail"): 5,
        ("queue_dead", "shop", "mail"): 6,
    }


def test_what_is_unknown_or_unbounded_is_absent() -> None:
    found = shown(readings_of(StoreSample(0, 0, {"mail": QueueStats()}, space=Space(7)), DECLARED, 0))
    assert not {series[0] for series in found} & {"queue_max_depth", "queue_drain_seconds", "store_limit_bytes"}
    assert found["store_used_bytes", "shop"] == 7
    bounded = shown(readings_of(StoreSample(0, 0, {}, space=Space(7, 9)), DECLARED, 0))
    assert bounded["store_limit_bytes", "shop"] == 9


def test_of_a_store_that_is_away_only_that_is_shown() -> None:
    assert shown(away("shop")) == {("store_up", "shop"): 0}
