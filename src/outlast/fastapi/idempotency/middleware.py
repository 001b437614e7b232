"""ASGI middleware that runs a request with an Idempotency-Key once, and gives its answer to each repetition."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from outlast.core.errors import ConfigurationError, StoreError
from outlast.core.text import shown
from outlast.core.toolkit_errors import ToolkitAway
from outlast.fastapi.idempotency.header import BadKey, key_in
from outlast.fastapi.idempotency.options import Idempotency, authorization
from outlast.fastapi.idempotency.recorder import Recorder
from outlast.fastapi.idempotency.required import saw_key
from outlast.fastapi.problems import STORE_RETRY, answer
from outlast.toolkit.idempotency.keys import Held, IdempotencyKeys, InFlight, OtherPayload, StoredAnswer, digest_of

if TYPE_CHECKING:
    from outlast.app import Outlast

__all__ = ["REPLAYED", "IdempotencyMiddleware"]

REPLAYED: Final = (b"idempotent-replayed", b"true")
"""The header of an answer that was stored."""
IN_FLIGHT_RETRY: Final = 1
"""Seconds after which the request that runs may have ended."""
_UNRECORDED: Final = ("http.response.pathsend", "http.response.zerocopysend", "http.response.trailers")
"""Ways to send an answer past this middleware."""

_log = logging.getLogger("outlast.fastapi")


class IdempotencyMiddleware:
    """Wraps any ASGI app. Requests of other methods, those without a key, WebSockets and lifespan are passed on.

    The whole request is read first, at most `max_request` bytes. A request runs to its end when its client goes away:
    the client's next try gets the answer. While the store is away, requests with a key are answered 503 and do not run.
    Raise ConfigurationError if `options` is no `Idempotency`, and where the toolkit keeps a cache only.
    """

    def __init__(self, app: ASGIApp, shop: Outlast, options: Idempotency | None = None) -> None:
        if options is not None and not isinstance(options, Idempotency):
            raise ConfigurationError(f"IdempotencyMiddleware(options={shown(options)}): give Idempotency(ttl='24h')")
        self._app = app
        self._kit = shop._piece()
        self._options = options or Idempotency()
        self._keys: IdempotencyKeys | None = None
        self._told_of_cookies = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] not in self._options.methods:
            await self._app(scope, receive, send)
            return
        try:
            key = key_in(scope["headers"], bare=self._options.bare_keys)
        except BadKey as error:
            await answer(400, "invalid-idempotency-key", str(error))(scope, receive, send)
            return
        saw_key(scope, key or "")
        if key is None:
            await self._app(scope, receive, send)
            return
        await self._once(key, scope, receive, send)

    async def _once(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await self._body(scope, receive)
        if body is None:
            return
        if len(body) > self._options.max_request:
            await self._too_large()(scope, receive, send)
            return
        method, path = scope["method"].encode(), scope["path"].encode("utf-8", "surrogatepass")
        payload = digest_of(method, path, scope.get("query_string", b""), body)
        try:
            found = await self._all_keys().begin([self._principal(scope), method, path, key.encode()], payload)
        except StoreError as error:
            await _unavailable(error)(scope, receive, send)
            return
        if isinstance(found, Held):
            await self._run(found, body, scope, receive, send)
        else:
            await _answer_of(found)(scope, receive, send)

    async def _run(self, held: Held, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request. A failure frees the key."""
        recorder = Recorder(held, self._options, body, receive, send)
        extensions = scope.get("extensions") or {}
        scope["extensions"] = {name: value for name, value in extensions.items() if name not in _UNRECORDED}
        try:
            await self._app(scope, recorder.receive, recorder.send)
        except Exception:
            if not recorder.ended:
                await held.free()  # before the server answers 500: the client's next try must run
            raise
        except BaseException:  # cancelled: nothing more can be awaited
            if not recorder.ended:
                held.free_later()
            raise
        if not recorder.ended:  # the app has sent no end
            await held.free()

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the body, more than `max_request` bytes if it is too large, None if the client has gone."""
        limit = self._options.max_request
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if length.isdigit() and int(length[:20]) > limit:
            return bytes(limit + 1)
        parts: list[bytes] = []
        size = 0
        while size <= limit:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if not message.get("more_body", False):
                break
        return b"".join(parts)

    def _principal(self, scope: Scope) -> bytes:
        found = self._options.principal(scope)
        if not isinstance(found, str):
            raise ConfigurationError(f"Idempotency(principal=...) returned {shown(found)}: return text, '' if unknown")
        if not found and not self._told_of_cookies and self._options.principal is authorization:
            self._tell_of_cookies(scope)
        return found.encode("utf-8", "surrogatepass")

    def _tell_of_cookies(self, scope: Scope) -> None:
        if any(name == b"cookie" for name, _ in scope["headers"]):
            self._told_of_cookies = True
            _log.warning(
                "a request with an Idempotency-Key has a cookie and no Authorization: it counts as anonymous, and all "
                "anonymous clients share their keys; give Idempotency(principal=...) the id of the user"
            )

    def _all_keys(self) -> IdempotencyKeys:
        kit = self._kit()
        if self._keys is None or self._keys.kit is not kit:
            self._keys = IdempotencyKeys(kit, ttl=self._options.kept_for)
        return self._keys

    def _too_large(self) -> JSONResponse:
        limit = self._options.max_request
        return answer(
            413, "body-too-large", f"a request with an Idempotency-Key may have {limit:,} bytes (max_request)"
        )


def _unavailable(error: StoreError) -> JSONResponse:
    retry_after = error.retry_after if isinstance(error, ToolkitAway) else None
    detail = "the request was not run: its Idempotency-Key cannot be checked now"
    return answer(503, "idempotency-unavailable", detail, retry_after=retry_after or STORE_RETRY)


def _answer_of(found: StoredAnswer | InFlight | OtherPayload) -> Response:
    """Return the answer to a request that must not run."""
    if isinstance(found, InFlight):
        detail = "a request with this Idempotency-Key is being processed: send it again later"
        return answer(409, "idempotency-in-flight", detail, retry_after=IN_FLIGHT_RETRY)
    if isinstance(found, OtherPayload):
        detail = "this Idempotency-Key was used with another request: use a new key for each operation"
        return answer(422, "idempotency-key-reused", detail)
    if found.body is None:
        detail = "the request with this Idempotency-Key was done; its answer was not kept: read the result elsewhere"
        return answer(409, "idempotency-answer-not-kept", detail, first_status=found.status)
    response = Response(found.body, found.status)
    bodiless = found.status in (204, 304)
    length = [] if bodiless else [(b"content-length", b"%d" % len(found.body))]
    response.raw_headers = [*found.headers, *length, REPLAYED]
    return response
