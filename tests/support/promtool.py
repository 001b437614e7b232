"""Stories of metrics, played to the shipped rules by `promtool test rules`: which alerts fire, and which clear."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from outlast.observe.alerts import ALERTS
from outlast.observe.promql import INTERVAL

__all__ = ["Fired", "Story", "fired", "play", "promtool", "ramp", "steps"]

_BY = "sum by (alertname, severity, app, queue, guard, how)"
_FIRING = 'ALERTS{alertstate="firing"}'
_SEVERITIES = {alert.name: alert.severity for alert in ALERTS}


def promtool(*arguments: str, text: str | None = None) -> str:
    """Run it and return what it prints; AssertionError with that when it fails."""
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@dataclass(frozen=True)
class Fired:
    """An alert, by its name and the labels that tell it from others."""

    alert: str
    labels: tuple[tuple[str, str], ...]

    def sample(self, value: int) -> dict[str, Any]:
        """Return its series in a test of promtool."""
        labels = {"alertname": self.alert, "severity": _SEVERITIES[self.alert], **dict(self.labels)}
        return {
            "labels": "{" + ", ".join(f"{name}={json.dumps(text)}" for name, text in labels.items()) + "}",
            "value": value,
        }


def fired(alert: str, **labels: str) -> Fired:
    """Return an alert; without labels one of the queue that the stories are of."""
    return Fired(alert, tuple(sorted((labels or {"app": "shop", "queue": "mail"}).items())))


def steps(text: str) -> str:
    """Return samples for promtool: `0*10 1*40 _*4` is ten times 0, forty times 1, and none four times."""
    return " ".join(" ".join([value] * int(times)) for value, times in (each.split("*") for each in text.split()))


def ramp(start: float, step: float, times: int) -> str:
    """Return samples that grow."""
    return " ".join(f"{start + step * number:g}" for number in range(times))


@dataclass(frozen=True)
class Story:
    """Samples of series every INTERVAL seconds, and the alerts that they make.

    ever: each alert that fires at any time until then, as often as it begins to. at: all that fire at a time.
    texts: `alert_rule_test` of promtool.
    """

    name: str
    series: Mapping[str, str]
    until: str
    ever: Sequence[Fired] = ()
    at: Mapping[str, Sequence[Fired]] = field(default_factory=dict)
    texts: Sequence[Mapping[str, Any]] = ()


def play(story: Story, rules: Path, folder: Path) -> None:
    """Have promtool play a story; AssertionError tells what fired instead."""
    begun = f"{_BY} (count_over_time(({_FIRING} unless {_FIRING} offset {INTERVAL}s)[{story.until}:{INTERVAL}s]))"
    expected = [
        {"expr": begun, "eval_time": story.until, "exp_samples": [e.sample(n) for e, n in Counter(story.ever).items()]}
    ]
    for time, alerts in story.at.items():
        samples = [each.sample(1) for each in alerts]
        expected.append({"expr": f"{_BY} ({_FIRING})", "eval_time": time, "exp_samples": samples})
    test = {
        "interval": f"{INTERVAL}s",
        "external_url": "http://prometheus.example",
        "input_series": [{"series": name, "values": values} for name, values in story.series.items()],
        "promql_expr_test": expected,
        "alert_rule_test": list(story.texts),
    }
    document = {"rule_files": [str(rules)], "evaluation_interval": f"{INTERVAL}s", "tests": [test]}
    file = folder / "story.yml"
    file.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML too
    promtool("test", "rules", str(file))
