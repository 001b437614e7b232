"""What the docs and the files write in the languages of other tools is read by the parsers of these."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from logstash_pipeline_parser import Pipeline

from outlast.observe.log_files import log_files
from outlast.observe.logs import FIELDS
from tests.support.node_client import run_node

PAGE = Path(__file__).parents[2] / "docs" / "logs.md"


def faults_of(*queries: str) -> list[Any]:
    found: list[Any] = json.loads(run_node("parse_logql.js", json.dumps(queries)))
    return found


def queries() -> list[str]:
    fences = re.findall(r"^```logql\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [line for fence in fences for line in fence.splitlines()]


def test_the_queries_of_the_page_are_logql_and_ask_for_what_there_is() -> None:
    assert len(queries()) >= 5
    assert faults_of(*queries()) == []
    streams = re.findall(r"(\w+)=\"", " ".join(re.findall(r"{[^{}]*}", " ".join(queries()))))
    assert set(streams) <= {"app", "event", "level", "queue"}
    assert {"job", "kind", "reason", "seconds", "trace_id"} <= FIELDS.keys()


@pytest.mark.parametrize("query", ['{app="shop"', "{app=shop}", '{app="a"} |', 'rate({app="a"})[5m]'])
def test_a_wrong_query_is_found(query: str) -> None:
    assert faults_of(query)


def test_the_pipeline_of_logstash_is_one() -> None:
    tree = Pipeline(log_files()["logstash.conf"]).parse()
    assert [name for name, _ in tree] == ["input", "filter", "output"]
