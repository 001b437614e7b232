"""Read the text of /metrics as Prometheus does, and have promtool judge it."""

from __future__ import annotations

import subprocess
from typing import Any

from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Scrape", "judged", "parse_openmetrics"]


def parse_openmetrics(text: str) -> list[Metric]:
    """Return the metrics in a text of OpenMetrics; raise ValueError for one that is not."""
    return list(openmetrics_parser.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


class Scrape:
    """The samples of one scrape, by name and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.kinds: dict[str, str] = {}
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in text_string_to_metric_families(text):
            self.kinds[family.name] = family.type
            for each in family.samples:
                key = (each.name, frozenset(each.labels.items()))
                assert key not in self.samples, f"{key} is there twice"
                self.samples[key] = each.value

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of one series, None if it is not there."""
        return self.samples.get((name, frozenset(labels.items())))

    def having(self, name: str, **labels: str) -> list[dict[str, str]]:
        """Return the labels of all series of a name that have these."""
        wanted = labels.items()
        return [dict(of) for each, of in self.samples if each == name and wanted <= of]

    def names(self) -> set[str]:
        """Return the names of all metrics that have a series."""
        return set(self.kinds)


def judged(text: str) -> str:
    """Return what `promtool check metrics` says of the text; "" if it finds nothing."""
    done: subprocess.CompletedProcess[Any] = subprocess.run(
        ["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False
    )
    return str(done.stdout + done.stderr) if done.returncode or done.stderr else ""
