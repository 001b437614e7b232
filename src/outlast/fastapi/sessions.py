"""Sessions of requests: an ASGI middleware with the cookie, and the FastAPI dependency that returns the session."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outlast.core.errors import ConfigurationError, InvalidArguments, StoreError
from outlast.core.text import line, shown
from outlast.core.toolkit_errors import SessionConflict, SessionEnded, SessionFull, ToolkitAway
from outlast.fastapi.problems import STORE_RETRY, answer, session_refused, toolkit_unavailable
from outlast.fastapi.session_cookie import SameSite, SessionCookie, cookie_of
from outlast.toolkit.sessions.session import Session
from outlast.toolkit.sessions.sessions import Sessions

__all__ = ["SessionMiddleware", "current_session"]

_KEY: Final = "outlast.session"
_REFUSALS: Final = (SessionConflict, SessionEnded, SessionFull, StoreError)
_log = logging.getLogger("outlast.fastapi")


class _NotAnswered(OSError):
    """The app's answer was not sent, since its session was not stored; another was. Servers raise OSError so."""


class SessionMiddleware:
    """ASGI middleware that gives each request its session: `app.add_middleware(SessionMiddleware, sessions=sessions)`.

    A session is read when the route asks for it (`current_session`), stored before the first byte of the answer, and
    its cookie set when it gets a new id only. When it cannot be stored, the client gets 409, 422 or 503 in place of the
    app's answer. An answer with status 500 or above stores nothing. What a stream or a background task changes after
    the first byte must be saved by `session.save()`.

    cookie: its name, by default that of the sessions, after the prefix `__Host-`: it is sent to this host, over https
    only. same_site: "lax", "strict", "none". lasting: the cookie outlives the browser, until the absolute end.
    plain_http: for development without https: no prefix, not `Secure`. Raise ConfigurationError.
    """

    def __init__(
        self,
        app: ASGIApp,
        sessions: Sessions,
        *,
        cookie: str | None = None,
        same_site: SameSite = "lax",
        lasting: bool = False,
        plain_http: bool = False,
    ) -> None:
        if not isinstance(sessions, Sessions):
            raise ConfigurationError(f"SessionMiddleware(sessions={shown(sessions)}): give shop.sessions()")
        self._app = app
        self._sessions = sessions
        self._cookie = cookie_of(
            sessions.name if cookie is None else cookie, same_site=same_site, plain_http=plain_http
        )
        self._lasting = lasting
        if plain_http:
            _log.warning(
                "SessionMiddleware(plain_http=True): the cookie %r is sent without encryption, and other apps of the "
                "host can set it: leave it out in production",
                self._cookie.name,
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        opening = _Opening(self._sessions, self._cookie, scope)
        scope[_KEY] = opening
        if scope["type"] == "websocket":
            opening.fixed = "a WebSocket was opened"
            await self._app(scope, receive, send)
            _tell_of_unsaved(opening, scope)
            return
        await self._serve(opening, scope, receive, send)

    async def _serve(self, opening: _Opening, scope: Scope, receive: Receive, send: Send) -> None:
        begun = refused = False

        async def send_saved(message: Message) -> None:
            nonlocal begun, refused
            if message["type"] == "http.response.start" and not begun:
                begun = True
                try:
                    message = await self._saved(opening, message)
                except (*_REFUSALS, InvalidArguments) as error:
                    refused = True
                    await _refusal(error)(scope, receive, send)
                    raise _NotAnswered(str(error)) from error
            elif refused:  # the app goes on, although its `send` has raised: the client has another answer
                raise _NotAnswered("the session was not stored, and the client has been told so")
            await send(message)

        try:
            await self._app(scope, receive, send_saved)
        except _REFUSALS as error:
            if begun or (isinstance(error, StoreError) and error is not opening.failure):
                raise
            await _refusal(error)(scope, receive, send)
        except Exception:
            if not refused:
                raise
        if begun and not refused:
            _tell_of_unsaved(opening, scope)

    async def _saved(self, opening: _Opening, message: Message) -> Message:
        """Store the session; return the beginning of the answer with its headers."""
        session = opening.session
        opening.fixed = "the answer has begun"
        if session is None:
            return message
        if message["status"] >= 500:
            session.discard()
        await session.save()
        session.fix(opening.fixed)
        headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
        _vary(headers)
        if session.issued is not None:
            headers.append((b"set-cookie", self._set_cookie(session, session.issued)))
            if not any(name.lower() == b"cache-control" for name, _ in headers):
                headers.append((b"cache-control", b"no-store"))
        return {**message, "headers": headers}

    def _set_cookie(self, session: Session, issued: str) -> bytes:
        if not issued:
            return self._cookie.removed()
        left = session.ends - self._sessions.now() if self._lasting and session.ends is not None else None
        return self._cookie.set_to(issued, left)


class _Opening:
    """The session of one request, read at its first use. fixed: why no cookie can be sent any more."""

    def __init__(self, sessions: Sessions, cookie: SessionCookie, scope: Scope) -> None:
        self._sessions = sessions
        self._cookie = cookie
        self._headers = scope["headers"]
        self._opening = asyncio.Lock()
        self.session: Session | None = None
        self.fixed = ""

    async def open(self) -> Session:
        async with self._opening:
            if self.session is None:
                session = await self._sessions.open(self._cookie.read(self._headers))
                if self.fixed:
                    session.fix(self.fixed)
                self.session = session
            return self.session

    @property
    def failure(self) -> StoreError | None:
        """The error of the session that the app may have raised."""
        return None if self.session is None else self.session.failure


async def current_session(connection: HTTPConnection) -> Session:
    """Return the session of a request or WebSocket: `session: Annotated[Session, Depends(current_session)]`.

    Also for a route that is a plain function. Raise ConfigurationError where the app has no `SessionMiddleware`.
    """
    opening: Any = connection.scope.get(_KEY)
    if opening is None:
        raise ConfigurationError(
            "current_session: nothing reads the session: give app.add_middleware(SessionMiddleware, "
            "sessions=shop.sessions())"
        )
    session: Session = await opening.open()
    return session


def _tell_of_unsaved(opening: _Opening, scope: Scope) -> None:
    if opening.session is not None and _is_changed(opening.session):
        _log.warning(
            "%s: the session was changed after %s, and not saved: await session.save() there",
            line(scope["path"]),
            opening.fixed,
        )


def _is_changed(session: Session) -> bool:
    try:
        return session.is_changed
    except InvalidArguments:  # a value was changed in place to what cannot be kept
        return True


def _refusal(error: Exception) -> Response:
    if isinstance(error, SessionConflict | SessionEnded | SessionFull):
        return session_refused(error)
    if isinstance(error, InvalidArguments):  # of a value that was changed in place
        return answer(422, "invalid-arguments", str(error))
    if isinstance(error, ToolkitAway):
        return toolkit_unavailable(error)
    _log.error("a session was not stored: %s", error)
    return answer(503, "session-not-stored", "the session could not be stored", retry_after=STORE_RETRY)


def _vary(headers: list[tuple[bytes, bytes]]) -> None:
    """Tell caches that the answer depends on the cookie."""
    named = b",".join(value for name, value in headers if name.lower() == b"vary").lower()
    if not {b"*", b"cookie"} & {word.strip() for word in named.split(b",")}:
        headers.append((b"vary", b"Cookie"))
