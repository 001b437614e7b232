"""Each alert has a section in the docs, one safe action, and a link; the docs tell the windows as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from outlast.observe.alerts import ALERTS, Alert
from outlast.observe.promql import ALLOWED, BURNS
from outlast.observe.rules import rules_text

PAGE = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (Outlast\w+)\n\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
of_each = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)


def test_each_alert_has_a_section_and_each_section_an_alert() -> None:
    assert list(SECTIONS) == [alert.name for alert in ALERTS]


@of_each
def test_its_section_tells_its_severity_and_the_one_safe_action(alert: Alert) -> None:
    section = " ".join(SECTIONS[alert.name].split())
    assert section.startswith(f"*{alert.severity.capitalize()}.* ")
    assert section.count("**Safe action:**") == 1
    told = section.partition("**Safe action:** ")[2]
    command = re.search(r"outlast \w+(?: \w+)?", alert.action)
    if command is not None:
        assert command[0].removesuffix(" MODULE") in told


@of_each
def test_it_names_its_labels_and_what_to_do(alert: Alert) -> None:
    text = f"{alert.summary} {alert.action}"
    assert all(f"$labels.{label}" in text for label in alert.labels)
    assert alert.action
    assert not alert.action.endswith(".")


@of_each
def test_it_shows_a_series_that_its_labels_select(alert: Alert) -> None:
    block = rules_text().partition(f"- alert: {alert.name}\n")[2].partition("- alert: ")[0]
    annotations = dict(re.findall(r"^          (\w+): (.*)$", block, re.MULTILINE))
    assert list(annotations)[-5:] == ["summary", "description", "action", "docs", "link"]
    assert annotations["docs"] == f'"docs/alerts.md#{alert.name.lower()}"'
    assert alert.shows in annotations["link"]
    assert "g0.end_input=" in annotations["link"]
    assert f"severity: {alert.severity}\n" in block


def test_the_commands_of_the_actions_exist() -> None:
    from typer.main import get_command

    from outlast.cli.root import build

    commands = get_command(build()).commands  # type: ignore[attr-defined]
    named = {word for alert in ALERTS for word in re.findall(r"outlast (\w+)", f"{alert.action} {alert.meaning}")}
    assert {"dead", "doctor", "guards", "queues", "worker"} <= named
    assert named <= set(commands)


def test_the_docs_tell_the_windows_as_they_are() -> None:
    def words(window: str) -> str:
        units = {"m": "minutes", "h": "hours", "d": "days"}
        number, unit = window[:-1], units[window[-1]]
        return f"the last {unit[:-1]}" if number == "1" else f"the last {number} {unit}"

    rows = re.findall(r"^\| ([\d.]+) % of (.+?) \| ([\d.]+) % of (.+?) \| (\w+) \|", PAGE, re.MULTILINE)
    assert rows == [
        (
            f"{100 * ALLOWED * burn.factor:g}",
            words(burn.long),
            f"{100 * ALLOWED * burn.factor:g}",
            words(burn.short),
            burn.severity,
        )
        for burn in BURNS
    ]
