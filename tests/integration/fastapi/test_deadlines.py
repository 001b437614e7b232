"""The deadline of a request: from the header into guarded calls; and the answers to what a guard refuses."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from outlast import (
    BulkheadFull,
    ConfigurationError,
    DeadlinePassed,
    GuardOpen,
    GuardTimeout,
    Outlast,
    remaining,
)
from outlast.fastapi import install

HEADER = "X-Deadline-Seconds"


def served(header: str | None = HEADER) -> TestClient:
    app = FastAPI()
    install(app, Outlast("shop"), deadline_header=header)

    @app.get("/left")
    async def left() -> float | None:
        return remaining()

    @app.get("/left-in-thread")
    def left_in_thread() -> float | None:
        return remaining()

    return TestClient(app)


@pytest.mark.parametrize("path", ["/left", "/left-in-thread"])
@pytest.mark.parametrize(
    ("given", "least", "most"), [("30", 20, 30), ("2.5", 0, 2.5), (" 7 ", 0, 7), ("99999", 3000, 3600)]
)
def test_a_request_has_the_seconds_of_its_header(path: str, given: str, least: float, most: float) -> None:
    left = served().get(path, headers={HEADER: given}).json()
    assert least <= left <= most


def test_without_the_header_there_is_none() -> None:
    assert served().get("/left").json() is None
    assert served(None).get("/left", headers={HEADER: "nonsense"}).json() is None


@pytest.mark.parametrize("given", ["", "0", "-1", "soon", "inf", "nan", "1e3", "0x7", "1,5", "0.0", "1" * 40])
def test_one_that_is_no_number_of_seconds_is_refused(given: str) -> None:
    answer = served().get("/left", headers={HEADER: given})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-deadline")
    assert answer.headers["content-type"] == "application/problem+json"


def test_two_headers_are_refused() -> None:
    answer = served().get("/left", headers=[(HEADER, "3"), (HEADER.lower(), "4")])
    assert answer.status_code == 400


@pytest.mark.parametrize("name", ["", "X Deadline", "X-Deadline:", 7])
def test_what_is_no_name_of_a_header_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="deadline_header="):
        install(FastAPI(), Outlast("shop"), deadline_header=name)


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (GuardOpen("payments", 4.2, "6 of 10 calls failed"), 503, "dependency-unavailable", "5"),
        (BulkheadFull("payments", 20), 503, "dependency-busy", "1"),
        (DeadlinePassed("payments", 0.1), 504, "deadline-passed", None),
        (GuardTimeout("payments", 2.0), 504, "dependency-timeout", None),
    ],
)
def test_refusals_of_a_guard_are_problems(error: Exception, status: int, code: str, retry_after: str | None) -> None:
    app = FastAPI()
    install(app, Outlast("shop"))

    @app.get("/pay")
    async def pay() -> None:
        raise error

    answer = TestClient(app).get("/pay")
    assert (answer.status_code, answer.json()["code"], answer.json()["guard"]) == (status, code, "payments")
    assert answer.headers.get("retry-after") == retry_after
