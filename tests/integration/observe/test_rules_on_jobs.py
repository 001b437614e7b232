"""The shipped rules, judged by promtool: what fires, what does not, and what clears."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlast.observe.rules import rules_text
from tests.support.metric_stories import worker
from tests.support.promtool import Story, fired, play, promtool, ramp, steps

DEAD = fired("OutlastDeadLetters")
MISSING = fired("OutlastFiguresMissing", app="shop")
KILLED = fired("OutlastWorkerDied", app="shop", how="killed")
LAPSED = fired("OutlastWorkerDied", app="shop", how="lapsed")


def ten_restarts(*, moving: bool) -> dict[str, str]:
    """Return ten processes, one after the other, each for two minutes; between them nothing is scraped for a minute."""
    found: dict[str, str] = {}
    lives = [(f"pod-{number}:9464" if moving else "a:9464", 6 * number) for number in range(11)]
    for instance, start in lives:
        life = worker(4, instance, ready="30*1 5*1 0*2", oldest="45*1 10*1 0*2", consumers="0*1 2*3", clean="0*3 2*1")
        for series, values in life.items():
            before = found.get(series, "")
            found[series] = (
                f"{before} {steps(f'_*{start - len(before.split())}')} {values}".strip() if start else values
            )
    return found


def unscraped(series: dict[str, str], after: int, samples: int) -> dict[str, str]:
    """Return what is left of series when some samples in their middle were not taken."""
    lines = {name: text.split() for name, text in series.items()}
    return {name: " ".join([*of[:after], *["_"] * samples, *of[after + samples :]]) for name, of in lines.items()}


def restarted(instance: str) -> dict[str, str]:
    """Return a worker with a dead letter, and the one that takes its place after a minute, with a second one."""
    first = worker(40, dead="0*10 1*30", held_dead="0*10 1*30")
    second = worker(58, instance, dead="1*8 2*50", held_dead="1*8 2*50")
    return first | {
        series: f"{first.get(series, steps('_*40'))} {steps('_*2')} {text}" for series, text in second.items()
    }


STORIES = [
    Story("all is well for an hour", worker(120), "59m"),
    Story(
        "a fresh start, then one dead letter",
        worker(60, dead="0*10 1*50", held_dead="0*10 1*50"),
        "29m",
        [DEAD],
        {"4m30s": [], "5m": [DEAD], "14m30s": [DEAD], "15m": []},
        texts=[
            {
                "eval_time": "5m",
                "alertname": "OutlastDeadLetters",
                "exp_alerts": [
                    {
                        "exp_labels": {"severity": "ticket", "app": "shop", "queue": "mail"},
                        "exp_annotations": {
                            "summary": "New dead letters in queue mail of shop: 1",
                            "description": "Within 10m, jobs failed for good: no attempt is left, or their error may "
                            "not be retried.",
                            "action": "Read why they failed, which changes nothing: outlast dead queue:mail",
                            "docs": "docs/alerts.md#outlastdeadletters",
                            "link": "http://prometheus.example/graph?g0.expr=outlast%3Aqueue_dead%3Atotal"
                            "%7Bapp%3D%22shop%22%2Cqueue%3D%22mail%22%7D&g0.tab=0&g0.range_input=7200s"
                            "&g0.end_input=1970-01-01T00:05:00",
                        },
                    }
                ],
            }
        ],
    ),
    Story(
        "the first dead letter makes the series",
        worker(60, dead="_*10 1*50", dead_other="none", held_dead="0*10 1*50"),
        "29m",
        [DEAD],
        {"4m30s": [], "5m": [DEAD], "15m": []},
    ),
    Story(
        "the first sample of all shows a dead letter",
        {name: f"{steps('_*10')} {values}" for name, values in worker(50, dead="1*50", held_dead="1*50").items()},
        "29m",
        [DEAD],
        {"5m": [DEAD], "15m": []},
    ),
    Story(
        "a dead letter of a kind that no app declares",
        worker(60, dead_other="_*10 1*50", held_dead="0*10 1*50"),
        "29m",
        [DEAD],
    ),
    *(
        Story(
            f"a restart between two dead letters, {where}",
            restarted(instance),
            "49m",
            [DEAD, DEAD],
            {"15m": [], "24m30s": [], "25m": [DEAD], "35m": []},
        )
        for where, instance in (("at the same address", "a:9464"), ("at another address", "b:9464"))
    ),
    Story(
        "a dead letter that was redriven, and another one soon after",
        worker(60, dead="0*10 1*8 2*42", held_dead="0*10 1*4 0*4 1*42"),
        "29m",
        [DEAD, DEAD],
        {"5m": [DEAD], "7m": [], "9m": [DEAD]},
    ),
    Story(
        "a dead letter while nothing was scraped",
        unscraped(worker(120, dead="0*10 1*110", held_dead="0*10 1*110"), 10, 60),
        "59m",
        [MISSING, DEAD],
        {"35m": [DEAD], "45m": []},
    ),
    Story(
        "old dead letters, and half an hour in which nothing was scraped",
        unscraped(worker(120, dead="3*120", held_dead="3*120"), 40, 60),
        "59m",
        [DEAD, MISSING],
        {"0s": [DEAD], "10m30s": [], "51m": []},
    ),
    Story("a new store", worker(60, dead="7*10 0*10 1*40", held_dead="0*20 1*40"), "29m", [DEAD], {"10m": [DEAD]}),
    Story("a new Prometheus on an old store without dead letters", worker(60, dead="500*60"), "29m"),
    Story("ten clean restarts at the same address", ten_restarts(moving=False), "32m"),
    Story("ten clean restarts, each at another address", ten_restarts(moving=True), "32m"),
    Story(
        "one SIGKILL",
        worker(80, killed="0*20 1*60", oldest="0*20 8*1 0*59", consumers="2*20 1*1 2*59"),
        "39m",
        [KILLED],
        {"9m30s": [], "10m": [KILLED], "20m30s": []},
    ),
    Story(
        "one SIGKILL before the first scrape",
        worker(80, killed="1*80"),
        "39m",
        [KILLED],
        {"0s": [KILLED], "10m30s": []},
    ),
    Story(
        "two hundred kills in ten minutes",
        worker(80, killed=f"0*10 {' '.join(f'{10 * n}*1' for n in range(20))} 200*50"),
        "39m",
        [KILLED],
    ),
    Story(
        "a worker that was cut off for longer than its lease, and told so when it came back",
        {**worker(80, "a:9464"), **worker(80, "b:9464", lapsed="0*22 1*58")},
        "39m",
        [LAPSED],
        {"11m": [LAPSED], "21m30s": []},
    ),
    Story("processes that are recycled", worker(80, recycled=ramp(0, 3, 80)), "39m"),
]


@pytest.mark.parametrize("grafana", ["", "https://grafana.example/"])
def test_promtool_finds_nothing_wrong(tmp_path: Path, grafana: str) -> None:
    file = tmp_path / "outlast.rules.yml"
    file.write_text(rules_text(grafana), encoding="utf-8")
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", str(file))


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_what_fires(story: Story, rules: Path, tmp_path: Path) -> None:
    play(story, rules, tmp_path)
