"""The probes in docs/health.md: each command is one that `outlast` reads, each path one that a supervisor serves."""

from __future__ import annotations

import json
import re
from pathlib import Path

from outlast.core.listen import address_of
from outlast.observe.health import probe
from outlast.observe.health.pages import health_pages
from outlast.observe.health.views import ServiceView

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "health.md").read_text()


def test_each_command_is_read_without_the_parser_of_the_other_commands() -> None:
    commands = [json.loads(each) for each in re.findall(r'\["outlast", "health".*?\]', PAGE)]
    assert len(commands) >= 4
    asked = [probe.parsed(words[2:]) for words in commands]
    assert {each.question for each in asked if each is not None} == set(probe.QUESTIONS)
    assert None not in asked


def test_each_path_is_served() -> None:
    pages = {*health_pages(ServiceView), "/autoscale"}
    assert set(re.findall(r"path: (\S+?),", PAGE)) == {"/startupz", "/livez", "/readyz"} <= pages
    (scaled,) = re.findall(r'url: "http://[^/]+(/\S+?)\?', PAGE)
    assert scaled in pages


def test_each_address_is_one() -> None:
    found = re.findall(r'--listen"?,? "?([\d.]+:\d+)', PAGE)
    assert len(found) == 2
    assert None not in map(address_of, found)
