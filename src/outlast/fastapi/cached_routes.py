"""ASGI middleware that keeps answers of declared routes in the cache, and never gives one user's answer to another."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outlast.core.durations import Duration
from outlast.core.errors import BulkheadFull, ConfigurationError
from outlast.core.text import shown
from outlast.fastapi.problems import answer
from outlast.toolkit.cache.rule import MOST_TAGS, CacheRule, rule_of
from outlast.toolkit.metrics import CacheReads

if TYPE_CHECKING:
    from outlast.app import Outlast

__all__ = ["CachedRoute", "CachedRoutes", "by_credentials"]

LARGEST: Final = 512 * 1024
"""Bytes of a body up to which it is kept; a larger one is passed on as it comes."""
_FORBIDS: Final = {"no-store", "private", "no-cache"}
_CREDENTIALS: Final = (b"authorization", b"cookie")
_FIELD: Final = re.compile(r"\{([A-Za-z_]\w*)\}", re.ASCII)
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,64}\Z")


class KeptAnswer(Struct, frozen=True, array_like=True):
    """An answer as it is kept."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class _Answered(Struct):
    """What the app has answered. passed: it is sent to the client already, or was not completed."""

    answer: KeptAnswer | None
    passed: bool = False


class CachedRoute:
    """A route whose answers to GET are kept. path: as the app has it, such as "/products/{id}".

    The key is the scheme, host, path and query, the request headers that `vary` names, and what `identity(scope)`
    returns. A request with `Authorization` or `Cookie` passes by the cache unless `identity` returns text for it, or
    `public=True` says that the answer is the same for all. tags: templates of the fields of `path`. The other options
    are those of `Cache.cached`. Raise ConfigurationError.
    """

    def __init__(
        self,
        path: str,
        *,
        ttl: Duration,
        identity: Callable[[Scope], str | None] | None = None,
        public: bool = False,
        vary: Sequence[str] = (),
        tags: Sequence[str] = (),
        stale: Duration = 0,
        stale_on_error: Duration = 0,
    ) -> None:
        where = f"CachedRoute({shown(path)})"
        given: object = path
        lists: tuple[tuple[str, object], ...] = (("vary", vary), ("tags", tags))
        if not isinstance(given, str) or not given.startswith("/"):
            raise ConfigurationError(f"{where}: path: give text that begins with '/', such as '/products/{{id}}'")
        for name, texts in lists:
            if isinstance(texts, str) or not isinstance(texts, Collection) or not all(map(_is_text, texts)):
                raise ConfigurationError(f"{where}: {name}={shown(texts)}: give a list of texts")
        if len(tags) > MOST_TAGS:
            raise ConfigurationError(f"{where}: tags: {len(tags):,} are given: give at most {MOST_TAGS}")
        if not all(map(_HEADER.match, vary)):
            raise ConfigurationError(f"{where}: vary={shown(vary)}: give names of headers, such as 'accept-language'")
        if type(public) is not bool:
            raise ConfigurationError(f"{where}: public={shown(public)}: give True or False")
        if identity is not None and not callable(identity):
            raise ConfigurationError(f"{where}: identity={shown(identity)}: give a function of the ASGI scope")
        if identity is not None and public:
            raise ConfigurationError(f"{where}: give identity= for answers to one user, or public=True, not both")
        self.path: Final = path
        self.reads: Final = CacheReads(path)
        self.rule: Final[CacheRule] = rule_of(ttl=ttl, stale=stale, stale_on_error=stale_on_error)
        self.identity: Final = identity
        self.public: Final = public
        self.vary: Final = tuple(sorted({name.lower() for name in vary}))
        self.tags: Final = tuple(tags)
        pieces = _FIELD.split(path)
        if len(set(pieces[1::2])) < len(pieces[1::2]) or _has_braces(pieces[::2]):
            raise ConfigurationError(f"{where}: path: give each field once, as in '/products/{{id}}'")
        made = "".join(re.escape(piece) if at % 2 == 0 else f"(?P<{piece}>[^/]+)" for at, piece in enumerate(pieces))
        self.match: Final = re.compile(made).fullmatch
        for tag in self.tags:
            if not set(_FIELD.findall(tag)) <= set(pieces[1::2]) or _has_braces([_FIELD.sub("", tag)]):
                known = ", ".join(pieces[1::2]) or "none"
                raise ConfigurationError(f"{where}: tags: {shown(tag)} names no field of the path (it has: {known})")


def _has_braces(texts: Sequence[str]) -> bool:
    return any("{" in text or "}" in text for text in texts)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def by_credentials(scope: Scope) -> str | None:
    """Return an identity for `CachedRoute`: a digest of the headers Authorization and Cookie, None without them."""
    found = [(name, value) for name, value in scope["headers"] if name.lower() in _CREDENTIALS]
    return sha256(msgspec.msgpack.encode(found)).hexdigest() if found else None


Asked = tuple[CachedRoute, str, list[str]]
"""The route of a request, its key, and its tags."""


class CachedRoutes:
    """ASGI middleware: `app.add_middleware(CachedRoutes, shop=shop, routes=[CachedRoute("/products", ttl="1m")])`.

    An answer is kept and given to others when its status is 200, it is complete and of at most 512 KiB, and has no
    `Set-Cookie`, no `Cache-Control` with private, no-store or no-cache, and no `Vary` beyond the headers in its key.
    All other answers go to their own request only. While the store is away the app answers, at most `concurrency` of
    `cache.configure` at once; a request that gets no turn is answered 503.
    """

    def __init__(self, app: ASGIApp, *, shop: Outlast, routes: Sequence[CachedRoute]) -> None:
        if any(not isinstance(each, CachedRoute) for each in routes):
            raise ConfigurationError("CachedRoutes(routes=...): give a list of CachedRoute('/path', ttl=...)")
        for each in routes:
            shop.cache.check_tags(each.tags)
        self._app = app
        self._shop = shop
        self._routes = tuple(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from the cache, or pass the request on."""
        found = self._key_of(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        route, key, tags = found
        client = _Client(send)

        async def compute() -> _Answered:
            capture = _Capture(client)
            await self._app(scope, receive, capture)
            return capture.answered(route.vary)

        try:
            read = self._shop.cache.read_answer
            answered = await read(key, tags, route.rule, _FORM, compute, reads=route.reads, keep=_may_be_kept)
        except BulkheadFull as error:
            await answer(503, "overloaded", str(error), retry_after=error.retry_after or 1)(scope, receive, send)
            return
        # What goes on for it in the background must send nothing any more.
        client.answered = True
        if answered.answer is not None and not answered.passed:
            await _send(answered.answer, send)

    def _key_of(self, scope: Scope) -> Asked | None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        for route in self._routes:
            fields = route.match(path)
            if fields is not None:
                return self._key_on(route, scope, fields.groupdict())
        return None

    def _key_on(self, route: CachedRoute, scope: Scope, fields: dict[str, str]) -> Asked | None:
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value.decode("latin-1"))
        identity = None if route.identity is None else route.identity(scope)
        personal = any(name in headers for name in _CREDENTIALS)
        if personal and not route.public and not identity:
            return None
        asked = ",".join(headers.get(b"cache-control", ())).lower()
        if "no-store" in asked or b"range" in headers or headers.get(b"content-length", ["0"]) != ["0"]:
            return None
        if b"transfer-encoding" in headers:
            return None
        varied = [headers.get(name.encode("latin-1")) for name in route.vary]
        parts = (
            scope.get("scheme"),
            headers.get(b"host"),
            scope.get("root_path"),
            scope["path"],
            scope.get("query_string", b"").decode("latin-1"),
            varied,
            identity,
        )
        tags = [_FIELD.sub(lambda field: fields[field[1]], tag) for tag in route.tags]
        return route, f"route:{route.path}:{msgspec.json.encode(parts).decode()}", tags


class _Client:
    """Sends to the client of one request until that is answered."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.answered = False

    async def __call__(self, message: Message) -> None:
        if not self.answered:
            await self._send(message)


class _Capture:
    """Receives what the app sends; passes it on at once when it is too large to be kept."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body: list[bytes] = []
        self._size = 0
        self._passing = self._complete = False

    async def __call__(self, message: Message) -> None:
        if self._passing or message["type"] not in ("http.response.start", "http.response.body"):
            await self._pass(message)
            return
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body.append(message.get("body", b""))
        self._size += len(self._body[-1])
        self._complete = not message.get("more_body", False)
        if self._size > LARGEST:
            more = not self._complete
            await self._pass({"type": "http.response.body", "body": b"".join(self._body), "more_body": more})

    async def _pass(self, message: Message) -> None:
        if not self._passing and self._start is not None:
            await self._send(self._start)
            if message["type"] != "http.response.body" and self._body:
                await self._send({"type": "http.response.body", "body": b"".join(self._body), "more_body": True})
        self._passing = True
        await self._send(message)

    def answered(self, vary: tuple[str, ...]) -> _Answered:
        if self._passing or self._start is None or not self._complete:
            return _Answered(None, passed=True)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._start.get("headers", ())]
        made = KeptAnswer(self._start["status"], headers, b"".join(self._body))
        return _Answered(made) if _is_for_all(made, vary) else _Own(made)


class _Own(_Answered):
    """An answer for its own request only."""


def _is_for_all(made: KeptAnswer, vary: tuple[str, ...]) -> bool:
    """Return whether an answer may be kept, and given to each request of its key (RFC 9111, 3 and 4.1)."""
    if made.status != 200:
        return False
    for name, value in made.headers:
        words = {word.strip().lower().partition("=")[0] for word in value.split(",")}
        match name.lower():
            case "set-cookie":
                return False
            case "cache-control" if words & _FORBIDS:
                return False
            case "vary" if not words - {""} <= set(vary):
                return False
            case _:
                continue
    return True


def _may_be_kept(answered: Any) -> bool:
    return type(answered) is _Answered and answered.answer is not None


class _AnswerForm:
    """How answers are written and read."""

    _read = msgspec.json.Decoder(KeptAnswer).decode

    def validate(self, value: Any) -> Any:
        return value

    def write(self, value: _Answered) -> bytes:
        return msgspec.json.encode(value.answer)

    def read(self, body: bytes) -> _Answered:
        return _Answered(type(self)._read(body))


_FORM: Final = _AnswerForm()


async def _send(kept: KeptAnswer, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept.headers]
    await send({"type": "http.response.start", "status": kept.status, "headers": headers})
    await send({"type": "http.response.body", "body": kept.body})
