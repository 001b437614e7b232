"""The shipped rules on queues, stores and dependencies, judged by promtool."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.metric_stories import worker
from tests.support.promtool import Story, fired, play, ramp, steps

LATE = fired("OutlastQueueLate")
SLOWLY = fired("OutlastQueueLateSlowly")
WITHOUT = fired("OutlastQueueWithoutWorkers")
STUCK = fired("OutlastQueueStuck")
SILENT = fired("OutlastWorkerSilent", app="shop")
AWAY = fired("OutlastStoreAway", app="shop")
MISSING = fired("OutlastFiguresMissing", app="shop")
OPEN = fired("OutlastBreakerOpen", guard="payments")
FULL = fired("OutlastStoreNearlyFull", app="shop")
OF_THE_STORE = (
    *("ready", "running", "oldest", "objective", "paused", "consumers", "held_dead", "succeeded", "dead"),
    *("dead_other", "used", "limit"),
)


def store_away(samples: int, backlog: str) -> dict[str, str]:
    """Return a worker whose store is away from the 20th sample on; backlog: the age of the oldest job after it."""
    after = 80 - 20 - samples
    usual = {"objective": 60, "consumers": 2, "running": 1, "succeeded": 1000, "used": 100, "limit": 1000}
    shown = {name: f"{usual.get(name, 0)}*20 _*{samples} {usual.get(name, 0)}*{after}" for name in OF_THE_STORE}
    shown["oldest"] = f"0*20 _*{samples} {backlog}"
    return worker(80, up=f"1*20 0*{samples} 1*{after}", **shown)


STORIES = [
    Story("the store is away for 60 s", store_away(2, "62*1 10*1 0*56"), "39m"),
    Story(
        "the store is away for 10 minutes, and its backlog is worked off in 90 s",
        store_away(20, "610*1 500*1 100*1 0*37"),
        "39m",
        [AWAY],
        {"11m30s": [], "12m": [AWAY], "19m30s": [AWAY], "20m": []},
    ),
    Story(
        "one of two processes does not reach the store",
        {**worker(80), "outlast_store_up{app='shop',instance='b:9464'}": steps("1*10 0*20 1*50")},
        "39m",
        [AWAY],
        {"7m": [AWAY], "15m": []},
    ),
    Story(
        "a queue that is late from now on, and then no more",
        worker(120, oldest=f"{steps('0*20')} {ramp(61, 30, 30)} {steps('0*70')}"),
        "59m",
        [LATE],
        {"18m": [], "19m": [LATE], "25m": [LATE], "30m": []},
    ),
    Story("a queue that is late for five minutes", worker(120, oldest="0*20 90*10 0*90"), "59m"),
    Story("a start with a backlog of five minutes", worker(120, oldest="300*4 200*4 90*2 0*110"), "59m"),
    Story(
        "a paused queue", worker(120, oldest=ramp(0, 30, 120), paused="1*120", ready="5*120", running="0*120"), "59m"
    ),
    Story(
        "a queue that is late for one minute in twenty, all day",
        worker(2400, oldest=" ".join(["0*38 90*2"] * 60)),
        "19h59m",
        [SLOWLY],
        {"13h": [], "18h": [SLOWLY]},
    ),
    Story(
        "a queue that no worker consumes",
        worker(60, ready="0*10 4*12 0*38", consumers="2*8 0*14 2*38", running="1*8 0*14 1*38"),
        "29m",
        [WITHOUT],
        {"6m30s": [], "7m": [WITHOUT], "11m": []},
    ),
    Story("a queue that no worker consumes, and that is empty", worker(60, consumers="0*60", running="0*60"), "29m"),
    Story(
        "a queue that no worker consumes while it is paused",
        worker(60, ready="4*60", consumers="0*60", running="0*60", paused="1*60"),
        "29m",
    ),
    Story(
        "workers that take nothing",
        worker(
            80, oldest=f"{steps('0*10')} {ramp(0, 30, 70)}", ready="0*10 5*70", running="1*10 0*70", succeeded="9*80"
        ),
        "39m",
        [LATE, STUCK],
        {"14m30s": [], "15m": [LATE], "15m30s": [LATE, STUCK], "39m": [LATE, STUCK]},
    ),
    Story(
        "workers that take nothing while a guard is open",
        worker(
            80,
            oldest=f"{steps('0*10')} {ramp(0, 30, 70)}",
            ready="0*10 5*70",
            running="1*10 0*70",
            succeeded="9*80",
            open="0*9 1*71",
            refused=f"{steps('0*9')} {ramp(1, 1, 71)}",
        ),
        "39m",
        [LATE, OPEN],
    ),
    Story(
        "workers that take nothing, beside a guard that is open since its last call, long ago",
        worker(
            80,
            oldest=f"{steps('0*10')} {ramp(0, 30, 70)}",
            ready="0*10 5*70",
            running="1*10 0*70",
            succeeded="9*80",
            open="1*80",
            refused="7*80",
        ),
        "39m",
        [LATE, STUCK],
    ),
    Story(
        "a worker process that is blocked for ten minutes",
        worker(60, silent="0*10 1*20 0*30"),
        "29m",
        [SILENT],
        {"6m30s": [], "7m": [SILENT], "15m": []},
    ),
    Story("a worker process that is blocked for a minute", worker(60, silent="0*10 1*2 0*48"), "29m"),
    Story(
        "jobs that only fail and are retried",
        worker(80, oldest="400*80", ready="5*80", running="0*80", succeeded="9*80", retries=ramp(0, 2, 80)),
        "8m",
    ),
    Story("a guard that is open for a minute", worker(60, open="0*10 1*2 0*48"), "29m"),
    Story(
        "a guard that is open for ten minutes, half-open at times",
        worker(60, open="0*10 1*3 0*1 1*3 0*1 1*12 0*30", refused=f"{steps('0*10')} {ramp(1, 1, 20)} {steps('20*30')}"),
        "29m",
        [OPEN],
        {"6m30s": [], "7m": [OPEN], "16m": []},
    ),
    Story(
        "a guard that is open since its last call, an hour ago: the next call closes it",
        worker(240, open="0*10 1*230", refused="0*10 7*230"),
        "1h59m",
        [OPEN],
        {"7m": [OPEN], "15m30s": [], "1h59m": []},
    ),
    Story(
        "a disk that is nearly full", worker(80, used="850*10 950*40 500*30"), "39m", [FULL], {"15m": [FULL], "26m": []}
    ),
    Story("a memory that fills up", worker(240, used=ramp(500, 1.5, 240)), "1h59m", [FULL]),
    Story("a store that grows a little", worker(240, used=ramp(100, 1, 240)), "1h59m"),
    Story("a Redis server without maxmemory", worker(80, used="100*80", limit="none"), "39m"),
    Story(
        "the only process is gone for twenty minutes",
        {name: " ".join([*text.split()[:20], steps("_*40"), *text.split()[:40]]) for name, text in worker(60).items()},
        "49m",
        [MISSING],
        {"14m": [], "20m": [MISSING], "30m30s": []},
    ),
]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_what_fires(story: Story, rules: Path, tmp_path: Path) -> None:
    play(story, rules, tmp_path)
