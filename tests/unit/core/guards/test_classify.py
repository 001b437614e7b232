"""What the end of a call says about its dependency, and which calls may be repeated."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import sys
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import httpx2
import pytest

from outlast import BulkheadFull, DeadlinePassed, GuardOpen, GuardTimeout
from outlast.core.guards.classify import (
    Request,
    header,
    is_local,
    outcome_of_error,
    outcome_of_value,
    request_of,
    status_of,
    why_not_repeated,
)

URL = "http://payments.test/charges"


def request(method: str = "GET", **headers: str) -> httpx2.Request:
    return httpx2.Request(method, URL, headers={name.replace("_", "-"): value for name, value in headers.items()})


def response(status: int, method: str = "GET", **headers: str) -> httpx2.Response:
    return httpx2.Response(status, request=request(method, **headers))


def status_error(status: int, method: str = "GET", **headers: str) -> httpx2.HTTPStatusError:
    answer = response(status, method, **headers)
    return httpx2.HTTPStatusError("status", request=answer.request, response=answer)


def with_method(error: type[httpx2.RequestError], method: str) -> httpx2.RequestError:
    return error("failed", request=request(method))


def named(name: str, base: type[BaseException] = Exception, module: str = "aiohttp", **fields: Any) -> BaseException:
    error: BaseException = type(name, (base,), {"__module__": module})("failed")
    for field, value in fields.items():
        setattr(error, field, value)
    return error


class FakeOpened(Exception):
    """An error whose attributes raise."""

    @property
    def response(self) -> object:
        raise RuntimeError("not set")


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        concurrent.futures.CancelledError(),
        KeyboardInterrupt(),
        SystemExit(1),
        GeneratorExit(),
        GuardOpen("other", 1.0, "it is down"),
        BulkheadFull("other", 20),
        DeadlinePassed("other"),
        with_method(httpx2.PoolTimeout, "GET"),
        httpx2.UnsupportedProtocol("ftp"),
        httpx2.InvalidURL("?"),
        named("TimeoutError", module="sqlalchemy.exc"),
        named("EmptyPoolError", module="urllib3.exceptions"),
    ],
    ids=repr,
)
def test_what_is_not_of_the_dependency_is_neutral_whatever_the_policy(error: BaseException) -> None:
    assert outcome_of_error(error, None, ()) == "neutral"
    assert outcome_of_error(error, (BaseException,), ()) == "neutral"
    assert outcome_of_error(error, lambda _: True, ()) == "neutral"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ValueError("x"), "failure"),
        (with_method(httpx2.ReadTimeout, "GET"), "failure"),
        (with_method(httpx2.ConnectError, "GET"), "failure"),
        (named("TimeoutError", TimeoutError, "elsewhere"), "failure"),
        (GuardTimeout("payments", 2.0), "failure"),
        (status_error(500), "failure"),
        (status_error(503), "failure"),
        (status_error(404), "success"),
        (status_error(429), "success"),
        (named("ClientResponseError", status=502, headers={}), "failure"),
        (named("ClientResponseError", status=404, headers={}), "success"),
        (named("Odd", status=404), "failure"),
        (named("Odd", status_code="404", headers={}), "failure"),
        (named("Odd", status_code=7, headers={}), "failure"),
        (FakeOpened("x"), "failure"),
    ],
    ids=repr,
)
def test_by_default_answers_below_500_are_successes_and_other_errors_failures(
    error: BaseException, outcome: str
) -> None:
    assert outcome_of_error(error, None, ()) == outcome


def test_ignored_errors_are_neutral_and_win() -> None:
    assert outcome_of_error(KeyError("x"), (KeyError,), (LookupError,)) == "neutral"


def test_with_classes_only_these_are_failures() -> None:
    assert outcome_of_error(ConnectionResetError(), (OSError,), ()) == "failure"
    assert outcome_of_error(ValueError(), (OSError,), ()) == "success"
    assert outcome_of_value(response(500), (OSError,)) == "failure"


def test_a_function_decides_about_errors_and_values() -> None:
    def fails(answer: object) -> bool:
        return answer == "bad" or isinstance(answer, KeyError)

    assert outcome_of_error(KeyError(), fails, ()) == "failure"
    assert outcome_of_error(ValueError(), fails, ()) == "success"
    assert outcome_of_value("bad", fails) == "failure"
    assert outcome_of_value("good", fails) == "success"


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (None, "success"),
        ("x", "success"),
        ({"status_code": 500}, "success"),
        (response(500), "failure"),
        (response(404), "success"),
        (SimpleNamespace(status=503, headers={}), "failure"),
        (SimpleNamespace(status=503), "success"),
        (SimpleNamespace(status_code=None, status="up", headers={}), "success"),
    ],
    ids=repr,
)
def test_a_returned_response_of_500_or_more_is_a_failure(value: object, outcome: str) -> None:
    assert outcome_of_value(value, None) == outcome


def test_the_status_of_an_error_is_that_of_its_response() -> None:
    assert status_of(status_error(502)) == 502
    assert status_of(ValueError()) is None


@pytest.mark.parametrize("predicate", [False, True])
@pytest.mark.parametrize(
    "error",
    [asyncio.CancelledError(), concurrent.futures.CancelledError(), KeyboardInterrupt(), SystemExit(), GeneratorExit()],
    ids=repr,
)
def test_cancel_exit_and_interrupt_are_never_repeated(error: BaseException, predicate: bool) -> None:
    assert why_not_repeated(error, idempotent=predicate) == "it was stopped"


@pytest.mark.parametrize(
    ("answer", "idempotent", "why"),
    [
        (ValueError(), False, ""),
        (with_method(httpx2.ReadTimeout, "GET"), False, ""),
        (with_method(httpx2.ReadTimeout, "PUT"), False, ""),
        (with_method(httpx2.ReadTimeout, "POST"), False, "POST may"),
        (with_method(httpx2.ReadTimeout, "PATCH"), False, "PATCH may"),
        (with_method(httpx2.ReadTimeout, "POST"), True, ""),
        (with_method(httpx2.ConnectError, "POST"), False, ""),
        (with_method(httpx2.ConnectTimeout, "POST"), False, ""),
        (with_method(httpx2.PoolTimeout, "POST"), False, ""),
        (status_error(503, "POST"), False, "POST may"),
        (status_error(503, "POST", Idempotency_Key="7"), False, ""),
        (status_error(429, "POST"), False, ""),
        (status_error(503), False, ""),
        (status_error(404), False, "status 404"),
        (status_error(404), True, "status 404"),
        (status_error(408), False, ""),
        (response(503), False, ""),
        (response(503, "POST"), False, "POST may"),
        (response(429, "POST"), False, ""),
        (response(503, "POST", Idempotency_Key="7"), False, ""),
        (named("ClientConnectorError", OSError), False, ""),
        (socket.gaierror(), False, ""),
        (GuardOpen("payments", 1, "it is down"), True, "the guard refuses"),
        (GuardTimeout("payments", 1), False, ""),
        (GuardTimeout("payments", 1, running=True), False, "its thread still runs"),
        (GuardTimeout("payments", 1, running=True), True, ""),
    ],
    ids=repr,
)
def test_what_may_be_repeated(answer: object, idempotent: bool, why: str) -> None:
    found = why_not_repeated(answer, idempotent=idempotent)
    assert found.startswith(why)
    assert bool(found) is bool(why)


def test_of_requests_the_reason_is_in_the_error_of_urllib3() -> None:
    reason = named("NewConnectionError", module="urllib3.exceptions")
    refused = named("ConnectionError", module="requests", request=request("POST"))
    refused.args = (named("MaxRetryError", reason=reason),)
    assert why_not_repeated(refused, idempotent=False) == ""
    reset = named("ConnectionError", module="requests", request=request("POST"))
    assert why_not_repeated(reset, idempotent=False).startswith("POST may")
    reset.args = ()
    assert why_not_repeated(reset, idempotent=False).startswith("POST may")


def test_a_post_of_urllib_that_was_not_sent_may_be_repeated() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "http://{}:{}/".format(*server.getsockname())
    with pytest.raises(URLError) as refused:
        urlopen(address, data=b"{}", timeout=30)
    assert why_not_repeated(refused.value, idempotent=False) == ""
    refused.value.reason = ConnectionResetError()
    assert why_not_repeated(refused.value, idempotent=False).startswith("POST may")


class TestRequestOf:
    def test_of_an_error_of_httpx_without_a_request(self) -> None:
        assert request_of(httpx2.ReadTimeout("failed")) is None

    def test_of_aiohttp(self) -> None:
        info = SimpleNamespace(method="POST", headers={"idempotency-key": "7"})
        assert request_of(named("ClientResponseError", request_info=info)) == Request("POST", keyed=True)
        assert request_of(SimpleNamespace(method="patch", headers={}, status=503)) == Request("PATCH", keyed=False)

    def test_an_unknown_method_is_no_request(self) -> None:
        assert request_of(SimpleNamespace(method="SELECT", headers={})) is None
        assert request_of(SimpleNamespace(method="POST")) is None

    def test_in_the_frames_of_the_error_the_innermost_first(self) -> None:
        def inner(method: str, headers: dict[str, str]) -> None:
            raise ConnectionResetError(f"{method} {headers}")

        def outer(request: object) -> None:
            inner("POST", {"Idempotency-Key": "7"})

        assert request_of(raised(outer, SimpleNamespace(method="GET", headers={}))) == Request("POST", keyed=True)

    def test_in_the_frames_of_its_cause(self) -> None:
        def send(request: object) -> None:
            raise asyncio.CancelledError

        timeout = GuardTimeout("payments", 1.0)
        timeout.__cause__ = raised(send, SimpleNamespace(method=b"POST", headers={}))
        assert request_of(timeout) == Request("POST", keyed=False)
        assert why_not_repeated(timeout, idempotent=False).startswith("POST may")

    def test_not_in_endless_chains(self) -> None:
        error = first = ValueError()
        for _ in range(9):
            error.__cause__ = error = ValueError()
        assert request_of(first) is None

    def test_not_in_endless_tracebacks(self) -> None:
        def send(request: object, depth: int) -> None:
            if depth:
                deeper(depth - 1)
            raise ValueError

        def deeper(depth: int) -> None:
            if depth:
                deeper(depth - 1)
            raise ValueError

        limit = sys.getrecursionlimit()
        assert limit > 400
        error = raised(deeper, 150)
        assert request_of(error) is None
        found = raised(send, SimpleNamespace(method="POST", headers={}), 150)
        assert request_of(found) == Request("POST", keyed=False)  # it is in the outer frames, which are looked at


def raised(call: Any, *args: Any) -> BaseException:
    try:
        call(*args)
    except BaseException as error:
        return error
    raise AssertionError("it has not raised")


class Broken:
    def get(self, name: str) -> str:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        (httpx2.Headers({"retry-after": "7"}), "7"),
        ({"Retry-After": "7"}, "7"),
        ({"retry-after": b"7"}, "7"),
        ({"Retry-After": 7}, None),
        ({}, None),
        (None, None),
        ("text", None),
        (Broken(), None),
    ],
)
def test_headers_of_any_type(headers: object, value: str | None) -> None:
    assert header(headers, "Retry-After") == value


def test_a_local_error_is_known_by_its_class() -> None:
    assert is_local(named("PoolTimeout", module="psycopg_pool"))
    assert not is_local(named("TimeoutError", module="asyncio"))
