"""The pages of probes and autoscalers: the status, and the JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import pytest

from outlast.core.errors import StoreUnavailable
from outlast.core.forecast import Forecast
from outlast.core.store.broker import QueueStats
from outlast.observe.health.pages import health_pages, scale_page
from outlast.observe.health.views import ServiceView, WorkerView
from outlast.observe.server import Page, PageRequest

WELL = WorkerView(pid=8, state="consuming", due=2.0, asked=("mail",), shut=("pdf",))


async def got(page: Page, query: str = "") -> tuple[int, Any]:
    reply = await page(PageRequest("/", parse_qs(query, keep_blank_values=True)))
    assert reply.content_type == "application/json"
    return reply.status, json.loads(reply.body)


async def test_each_question_has_its_page_and_the_state_is_told() -> None:
    seen = ServiceView(workers=(WELL,), came_up=True)
    pages = health_pages(lambda: seen)
    assert {path: await got(page) for path, page in pages.items()} == {
        "/livez": (200, {"ok": True, "state": "live", "text": "1 worker: 1 consuming"}),
        "/readyz": (200, {"ok": True, "state": "ready", "text": "1 worker: 1 consuming"}),
        "/startupz": (200, {"ok": True, "state": "started", "text": "1 worker: 1 consuming"}),
    }


async def test_a_service_that_drains_is_not_ready_and_lives() -> None:
    seen = ServiceView(workers=(WorkerView(pid=8, state="draining"),), came_up=True, stopping=True)
    pages = health_pages(lambda: seen)
    status, body = await got(pages["/readyz"])
    assert (status, body["state"]) == (503, "draining")
    status, body = await got(pages["/livez"])
    assert (status, body["state"]) == (200, "draining")


async def test_verbose_tells_what_the_answer_depends_on() -> None:
    pages = health_pages(lambda: ServiceView(workers=(WELL,), came_up=True))
    _, body = await got(pages["/readyz"], "verbose")
    assert body["checks"] == [
        {"name": "consuming", "ok": True, "text": "1 worker: 1 consuming"},
        {"name": "broker", "ok": True, "text": "it answers"},
        {"name": "guards", "ok": False, "text": "open guards hold pdf"},
    ]
    assert body["workers"] == [
        {"pid": 8, "state": "consuming", "due": 2.0, "away": False, "asked": ["mail"], "shut": ["pdf"]}
    ]


def scaled(error: Exception | None = None) -> Page:
    known = {name: QueueStats(ready=600, consumers=1, forecast=Forecast(ends=2.0)) for name in ("mail", "pdf")}

    async def stats(queues: Sequence[str]) -> Mapping[str, QueueStats]:
        if error is not None:
            raise error
        return {queue: known[queue] for queue in queues if queue in known}

    return scale_page(stats, 1)


@pytest.mark.parametrize(
    ("query", "replicas"),
    [
        ("queue=mail", 5),
        ("queue=mail&within=10", 30),
        ("queue=mail&within=5m", 1),
        ("queue=mail&processes=4", 2),
        ("queue=mail&queue=pdf", 10),
        ("queue=mail,pdf", 10),
    ],
)
async def test_an_autoscaler_gets_a_number(query: str, replicas: int) -> None:
    status, body = await got(scaled(), query)
    assert (status, body["replicas"]) == (200, replicas)


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("", 400, "name the queue, such as /autoscale?queue=mail"),
        ("queue=", 400, "name the queue"),
        ("queue=mail&within=soon", 400, "within='soon'"),
        ("queue=mail&within=0", 400, "within is more than 0 seconds"),
        ("queue=mail&within=-5", 400, "within='-5'"),
        ("queue=mail&processes=0", 400, "processes a whole number from 1 on"),
        (f"queue=mail&processes={'9' * 400}", 400, "processes a whole number from 1 on"),
        ("queue=mail&processes=1.5", 400, "processes a whole number from 1 on"),
        ("queue=mail&processes=many", 400, "processes a whole number from 1 on"),
        ("queue=mail&processes=1e9", 400, "processes a whole number from 1 on"),
        ("queue=mail&processes=99999999999", 400, "processes a whole number from 1 on"),
        ("queue=none", 404, "the store has no queue 'none'"),
    ],
)
async def test_a_wrong_question_is_refused_and_no_number_is_made_up(query: str, status: int, said: str) -> None:
    found, body = await got(scaled(), query)
    assert found == status
    assert said in body["error"]
    assert "replicas" not in body


@pytest.mark.parametrize("error", [StoreUnavailable("away, with a secret"), TimeoutError()])
async def test_while_the_store_is_away_the_autoscaler_gets_an_error_and_keeps_what_it_has(error: Exception) -> None:
    assert await got(scaled(error), "queue=mail") == (503, {"error": "the store does not answer"})
