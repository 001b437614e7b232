"""The text of a scrape, as the parsers of Prometheus read it."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
from collections.abc import Iterable

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from outlast.meters import Meters
from outlast.observe.exposition import Exposition
from tests.support.scrapes import parse_openmetrics

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.7,text/plain;version=0.0.4;q=0.3"


@pytest.fixture
def own() -> Meters:
    found = Meters()
    found.counter("seen_total", "Seen.", ("queue",)).of("mail").add(2)
    found.gauge("open", "Open.").of().set(math.inf)
    found.summary("spent_seconds", "Spent.", ("kind",)).of("send").observe(1.5, 2)
    found.histogram("took_seconds", "Took.", edges=(0.5, 10)).of().observe(0.5, 1, 2, 11)
    return found


def answered(own: Meters, accept: str = "", **options: bool) -> tuple[str, str]:
    content_type, body = asyncio.run(Exposition(own.read).answer(accept, **options))
    return content_type, body.decode()


def samples(families: Iterable[Metric]) -> dict[tuple[str, ...], float]:
    return {
        (each.name, *(f"{key}={value}" for key, value in sorted(each.labels.items()))): each.value
        for family in families
        for each in family.samples
    }


EXPECTED = {
    ("outlast_process_figures",): 1,
    ("seen_total", "queue=mail"): 2,
    ("open",): math.inf,
    ("spent_seconds_count", "kind=send"): 2,
    ("spent_seconds_sum", "kind=send"): 1.5,
    ("took_seconds_bucket", "le=0.5"): 1,
    ("took_seconds_bucket", "le=10.0"): 3,
    ("took_seconds_bucket", "le=+Inf"): 4,
    ("took_seconds_count",): 4,
    ("took_seconds_sum",): 14.5,
}


def test_each_kind_of_metric_in_the_text_format(own: Meters) -> None:
    content_type, text = answered(own)
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert samples(parse_plain(text)) == EXPECTED
    assert "# TYPE seen_total counter" in text


def test_openmetrics_when_it_is_asked_for(own: Meters) -> None:
    content_type, text = answered(own, OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert samples(parse_openmetrics(text)) == EXPECTED
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize("accept", ["text/plain;version=x.y", "application/openmetrics-text;version=one", "\0", ",;="])
def test_a_header_that_cannot_be_read_asks_for_text(own: Meters, accept: str) -> None:
    content_type, text = answered(own, accept)
    assert content_type.startswith("text/plain")
    assert samples(parse_plain(text)) == EXPECTED


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\nb", "\u2028", "x" * 5000, "", "ä€😀", "\ud800", "{le="])
def test_label_values_of_any_text_are_one_line_and_bounded(text: str) -> None:
    own = Meters()
    own.counter("seen_total", "Seen.", ("queue",)).of(text).add(2)
    shown = answered(own)[1]
    (found,) = [key for key in samples(parse_plain(shown)) if key[0] == "seen_total"]
    assert len(found[1]) <= 130
    assert samples(parse_openmetrics(answered(own, OPENMETRICS)[1])) == samples(parse_plain(shown))


def test_no_series_is_there_twice(own: Meters) -> None:
    other = Meters()
    other.counter("seen_total", "Seen.", ("queue",)).of("mail").add(9)
    other.gauge("open", "Open.", ("guard",)).of("payments").set(1)
    other.summary("took_seconds", "Took.").of().observe(1)
    twice = Exposition(lambda: [*own.read(), *other.read()])
    assert samples(parse_plain(asyncio.run(twice.answer())[1].decode())) == EXPECTED


def test_two_scrapes_list_the_metrics_in_one_order(own: Meters) -> None:
    own.counter("seen_total", "Seen.", ("queue",)).of("bills").add()
    backwards = Exposition(lambda: own.read()[::-1])
    assert asyncio.run(backwards.answer())[1].decode() == answered(own)[1]


def test_without_the_figures_of_processes(own: Meters) -> None:
    text = answered(own, processes=False)[1]
    assert samples(parse_plain(text)) == {("outlast_process_figures",): 0}


def test_the_error_names_the_extra_where_the_package_is_missing() -> None:
    code = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from outlast.observe.exposition import Exposition\n"
        "try:\n    Exposition(list)\nexcept Exception as error:\n    print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ConfigurationError metrics need a package: pip install 'outlast[prometheus]'")
