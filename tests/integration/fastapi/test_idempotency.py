"""Idempotency-Key in a FastAPI app: what is refused, what is stored and replayed, and what a failure frees."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import FileResponse, Response

from outlast import ConfigurationError, Outlast, Settings
from outlast.fastapi import IdempotencyMiddleware, install, require_idempotency_key
from outlast.toolkit.idempotency import memory
from tests.support.asgi import Exchange, ask
from tests.support.idempotent_api import KEY, Api, code_of, post
from tests.support.served import serving

REPLAYED, STORED = "idempotent-replayed", "idempotent-stored"


@pytest.fixture
def api() -> Api:
    return Api()


class TestReplay:
    """What a repetition gets."""

    async def test_it_gets_the_stored_status_body_and_headers_and_is_told_so(self, api: Api) -> None:
        first, second = await post(api), await post(api)
        assert api.runs == 1
        assert (second.status, second.body) == (first.status, first.body) == (201, b'{"order":1}')
        assert REPLAYED not in first.headers
        assert second.headers == {
            "content-type": "application/json",
            "location": "/orders/1",
            "cache-control": "no-store",
            "content-length": "11",
            REPLAYED: "true",
        }

    async def test_more_headers_are_stored_where_they_are_named(self) -> None:
        api = Api(headers=["X-Trace"])
        await post(api)
        assert (await post(api)).headers["x-trace"] == "1"

    async def test_requests_without_a_key_or_of_other_methods_run_each_time(self, api: Api) -> None:
        await post(api, key=None)
        await post(api, key=None)
        assert api.runs == 2
        assert (await ask(api.app, "/orders", KEY, method="GET")).status == 405

    async def test_principals_have_keys_of_their_own(self, api: Api) -> None:
        for token in ("Bearer a", "Bearer b", "Bearer a"):
            await post(api, Authorization=token)
        await post(api)
        assert api.runs == 3

    async def test_the_app_may_name_the_principal(self) -> None:
        api = Api(principal=lambda scope: dict(scope["headers"])[b"x-user"].decode())
        for user, token in (("ann", "1"), ("ann", "2"), ("bob", "2")):
            await post(api, X_User=user, Authorization=token)
        assert api.runs == 2

    @pytest.mark.parametrize(("path", "body"), [("/orders", b"2"), ("/orders?now=1", b"1")])
    async def test_another_request_with_the_key_is_422(self, api: Api, path: str, body: bytes) -> None:
        await post(api, body=b"1")
        path, _, query = path.partition("?")
        reply = await Exchange("POST", path, [("Idempotency-Key", KEY)], (body,), query).serve(api.app)
        assert reply is not None
        assert (reply.status, code_of(reply), api.runs) == (422, "idempotency-key-reused", 1)

    async def test_a_request_in_flight_is_409_with_a_time_to_come_back(self, api: Api) -> None:
        first = asyncio.create_task(post(api, "/slow"))
        await api.running.wait()
        reply = await post(api, "/slow")
        assert (reply.status, code_of(reply), reply.headers["retry-after"]) == (409, "idempotency-in-flight", "1")
        api.go.set()
        assert (await first).body == b"1" == (await post(api, "/slow")).body

    async def test_parts_of_a_request_count_as_one_body(self, api: Api) -> None:
        for body in ((b'{"a":', b"1}"), (b'{"a":1}',), (b"", b'{"a":1}', b"")):
            headers = [("Idempotency-Key", KEY), ("Content-Type", "application/json")]
            exchange = Exchange("POST", "/typed", headers, body)
            reply = await exchange.serve(api.app)
            assert reply is not None
            assert reply.body == b"1"


class TestStored:
    """Which answers are stored."""

    @pytest.mark.parametrize("status", [200, 201, 202, 204, 303, 304, 402])
    async def test_of_work_that_was_done(self, api: Api, status: int) -> None:
        first, second = await post(api, f"/status/{status}"), await post(api, f"/status/{status}")
        assert (first.status, first.body, REPLAYED in first.headers) == (status, second.body, False)
        assert (second.status, second.headers[REPLAYED]) == (status, "true")

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500, 503])
    async def test_a_refusal_or_a_failure_frees_the_key(self, api: Api, status: int) -> None:
        assert [(await post(api, f"/status/{status}")).body for _ in range(2)] == [b"1", b"2"]

    async def test_the_app_may_decide_by_status(self) -> None:
        api = Api(stored=lambda status: status in (201, 409))
        assert [(await post(api, "/status/409")).body for _ in range(2)] == [b"1", b"1"]

    async def test_an_exception_frees_the_key_before_the_client_is_told(self, api: Api) -> None:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="the handler fails"):
                await post(api, "/fails")
        assert api.runs == 2
        assert [(await post(api, "/refuses", '"other"')).status for _ in range(2)] == [409, 409]
        assert api.runs == 4

    async def test_a_body_that_pydantic_refuses_may_be_corrected(self, api: Api) -> None:
        json_type = {"Content_Type": "application/json"}
        assert (await post(api, "/typed", body=b'{"a": "x"}', **json_type)).status == 422
        assert (await post(api, "/typed", body=b'{"a": 1}', **json_type)).status == 200

    async def test_a_cancelled_request_frees_the_key(self, api: Api) -> None:
        first = asyncio.create_task(post(api, "/slow"))
        await api.running.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        api.go.set()
        while (reply := await post(api, "/slow")).status == 409:  # it is freed in another thread
            await asyncio.sleep(0)
        assert (reply.body, api.runs) == (b"1", 1)


class TestBounds:
    """Bodies beyond the bounds, and streams."""

    async def test_a_request_over_the_bound_does_not_run(self) -> None:
        api = Api(max_request=10)
        told = await post(api, body=b"x" * 11, Content_Length="11")
        counted = await Exchange("POST", "/orders", [("Idempotency-Key", KEY)], (b"x" * 6, b"x" * 5)).serve(api.app)
        assert counted is not None
        for reply in (told, counted):
            assert (reply.status, code_of(reply), api.runs) == (413, "body-too-large", 0)
        assert (await post(api, body=b"x" * 10)).status == 201
        assert (await post(api, key=None, body=b"x" * 11)).status == 201

    async def test_an_answer_over_the_bound_is_sent_and_its_work_is_not_repeated(self) -> None:
        api = Api(max_answer=5)
        first, second = await post(api), await post(api)
        assert (first.status, first.body, first.headers[STORED]) == (201, b'{"order":1}', "false")
        assert (second.status, code_of(second), api.runs) == (409, "idempotency-answer-not-kept", 1)
        assert json.loads(second.body)["first_status"] == 201

    async def test_a_stream_is_sent_as_it_comes_and_replayed_whole(self, api: Api) -> None:
        exchange = Exchange("POST", "/stream/3", [("Idempotency-Key", KEY)])
        task = asyncio.create_task(exchange.serve(api.app))
        await api.running.wait()
        assert exchange.reply is not None
        assert exchange.reply.body == b"0,1,2,"
        assert (await post(api, "/stream/3")).status == 409
        api.go.set()
        await task
        again = await post(api, "/stream/3")
        assert (again.status, again.body, again.headers[REPLAYED], api.runs) == (201, b"0,1,2,", "true", 1)

    async def test_a_stream_over_the_bound_is_sent_whole_and_not_kept(self) -> None:
        api = Api(max_answer=10)
        api.go.set()
        assert (await post(api, "/stream/20")).body == b"".join(b"%d," % number for number in range(20))
        assert code_of(await post(api, "/stream/20")) == "idempotency-answer-not-kept"

    async def test_a_stream_of_events_is_not_kept_and_ends_with_its_client(self, api: Api) -> None:
        exchange = Exchange("POST", "/events", [("Idempotency-Key", KEY)])
        sent = asyncio.Event()
        exchange.on_send = lambda message: sent.set() if message.get("body") else None
        task = asyncio.create_task(exchange.serve(api.app))
        await sent.wait()
        assert exchange.reply is not None
        assert exchange.reply.headers[STORED] == "false"
        exchange.gone.set()
        await task
        assert code_of(await post(api, "/events")) == "idempotency-answer-not-kept"

    async def test_a_file_is_read_past_the_ways_that_a_server_has_of_its_own(self, api: Api, tmp_path: Any) -> None:
        (tmp_path / "a.txt").write_text("of a file")
        api.app.post("/file")(lambda: FileResponse(tmp_path / "a.txt"))
        exchange = Exchange("POST", "/file", [("Idempotency-Key", KEY)], extensions={"http.response.pathsend": {}})
        first = await exchange.serve(api.app)
        assert first is not None
        assert first.body == b"of a file" == (await post(api, "/file")).body


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("path", ["/slow", "/stream/3"])
async def test_a_request_runs_to_its_end_when_its_client_goes(api: Api, path: str, raises: bool) -> None:
    exchange = Exchange("POST", path, [("Idempotency-Key", KEY)], raises=raises)
    task = asyncio.create_task(exchange.serve(api.app))
    await api.running.wait()
    exchange.gone.set()
    await asyncio.sleep(0)
    api.go.set()
    await task
    again = await post(api, path)
    assert (again.headers[REPLAYED], api.runs) == ("true", 1)


@pytest.mark.parametrize("wrapped", [False, True])
async def test_over_a_real_server_a_client_that_goes_gets_its_answer_when_it_comes_again(
    api: Api, wrapped: bool
) -> None:
    if wrapped:

        @api.app.middleware("http")
        async def around(request: Request, call_next: Any) -> Response:
            response: Response = await call_next(request)
            response.headers["X-Around"] = "1"
            return response

    headers = (f"idempotency-key: {KEY}", "content-length: 0")
    for path in ("/slow", "/stream/3"):
        api.running.clear()
        api.go.clear()
        async with serving(api.app) as server:
            first, again = await server.client(), await server.client()
            first.begin(path, *headers, method="POST")
            await api.running.wait()
            again.begin(path, *headers, method="POST")
            assert (await again.answer()).status == 409
            first.vanish()
            api.go.set()
            while True:
                again.begin(path, *headers, method="POST")
                reply = await again.answer()
                if reply.status != 409:
                    break
            assert (reply.status < 300, reply.headers[REPLAYED]) == (True, "true")
            assert ("x-around" in reply.headers) is wrapped
    assert api.runs == 2


async def test_a_client_that_goes_before_its_request_is_whole_holds_nothing(api: Api) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    sent: list[Any] = []
    scope = {"type": "http", "method": "POST", "path": "/orders", "headers": [(b"idempotency-key", KEY.encode())]}
    await IdempotencyMiddleware(api.app, api.shop)(scope, receive, sent.append)  # type: ignore[arg-type]
    assert (sent, api.runs) == ([], 0)
    assert (await post(api)).status == 201


async def test_a_store_that_is_full_is_503(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_BYTES", 1)
    assert (await post(api)).status == 201
    reply = await post(api, key='"other"')
    assert (reply.status, code_of(reply), api.runs) == (503, "idempotency-unavailable", 1)
    assert int(reply.headers["retry-after"]) >= 1


class TestRequired:
    """Routes that run only with a key."""

    async def test_a_request_without_a_key_is_400(self, api: Api) -> None:
        reply = await post(api, "/paid", None)
        assert (reply.status, code_of(reply), api.runs) == (400, "idempotency-key-missing", 0)
        assert [(await post(api, "/paid")).status for _ in range(2)] == [201, 201]
        assert api.runs == 1

    def test_the_header_is_in_the_schema(self, api: Api) -> None:
        parameters = api.app.openapi()["paths"]["/paid"]["post"]["parameters"]
        assert [(each["name"], each["in"]) for each in parameters] == [("Idempotency-Key", "header")]

    async def test_the_handler_may_take_the_key(self, api: Api) -> None:
        @api.app.post("/named")
        async def named(key: str = Depends(require_idempotency_key)) -> str:
            return key

        assert (await post(api, "/named")).body == KEY.encode()

    async def test_an_app_that_stores_no_answers_is_told(self) -> None:
        app = FastAPI()
        install(app, Outlast("shop", settings=Settings(url="memory:")))
        app.post("/paid", dependencies=[Depends(require_idempotency_key)])(lambda: 1)
        with pytest.raises(ConfigurationError, match=r"idempotency=Idempotency\(\)"):
            await ask(app, "/paid", KEY)


async def test_a_route_that_reads_the_header_gets_it(api: Api) -> None:
    @api.app.post("/echo")
    async def echo(idempotency_key: str = Header()) -> str:
        return idempotency_key

    assert json.loads((await post(api, "/echo")).body) == KEY
