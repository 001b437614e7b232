"""Rate limits of HTTP requests: an ASGI middleware and a FastAPI dependency, with the headers and the 429 answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, Final

from fastapi import Depends, Response
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.core.text import shown
from outlast.core.toolkit_errors import ToolkitAway
from outlast.fastapi.client_address import ClientAddress
from outlast.fastapi.problems import LimitRefused, answer, too_many_requests, toolkit_unavailable
from outlast.toolkit.limiter.decision import Decision
from outlast.toolkit.limiter.limiter import Limiter

__all__ = ["RateLimitMiddleware", "rate_limit"]

Key = Callable[[HTTPConnection], str | Awaitable[str | None] | None]
Cost = Callable[[HTTPConnection], int | Awaitable[int]]
Exempt = Callable[[HTTPConnection], bool | Awaitable[bool]]
_PEER: Final = ClientAddress()


class RateLimitMiddleware:
    """ASGI middleware that takes the cost of each HTTP request from a limiter, and answers 429 to what is refused.

    Each answer of the app gets the headers RateLimit-Policy and RateLimit. client: returns the client's address, which
    is the key. key: returns another key of the request, such as the user's id; for None and "" the address is the key,
    so that a request without credentials is not unlimited. cost: a number, or a function of the request. exempt:
    returns whether a request is not limited. The functions may be `async def`. While the store is away, a closed
    limiter answers 503. The body of a refused request is not read. WebSockets and lifespan are passed on.

    Raise ConfigurationError for options that cannot work.
    """

    def __init__(
        self,
        app: ASGIApp,
        limiter: Limiter,
        *,
        client: ClientAddress = _PEER,
        key: Key | None = None,
        cost: int | Cost = 1,
        exempt: Exempt | None = None,
    ) -> None:
        _check("RateLimitMiddleware", limiter, client, cost, key=key, exempt=exempt)
        self._app = app
        self._limiter = limiter
        self._client = client
        self._key = key
        self._cost = cost
        self._exempt = exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        connection = HTTPConnection(scope) if scope["type"] == "http" else None
        if connection is None or (self._exempt is not None and await _called(self._exempt, connection)):
            await self._app(scope, receive, send)
            return
        try:
            decision = await self._decide(connection)
        except ToolkitAway as error:
            await toolkit_unavailable(error)(scope, receive, send)
            return
        except InvalidArguments as error:
            await answer(422, "invalid-arguments", str(error))(scope, receive, send)
            return
        if not decision:
            await too_many_requests(decision)(scope, receive, send)
            return
        told = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in decision.headers]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *told]}
            await send(message)

        await self._app(scope, receive, send_with_headers)

    async def _decide(self, connection: HTTPConnection) -> Decision:
        key = await _called(self._key, connection) if self._key is not None else None
        cost = await _called(self._cost, connection) if callable(self._cost) else self._cost
        return await self._limiter.take(_key_of(key, connection, self._client), cost=cost)


async def _called(function: Callable[[HTTPConnection], Any], connection: HTTPConnection) -> Any:
    """Return what a function of the app returns, awaited if it is async: a coroutine itself would count as true."""
    found = function(connection)
    return await found if isawaitable(found) else found


def rate_limit(
    limiter: Limiter,
    *,
    client: ClientAddress = _PEER,
    key: Callable[..., Any] | None = None,
    cost: int | Callable[..., Any] = 1,
) -> Callable[..., Awaitable[Decision]]:
    """Return a FastAPI dependency that takes the cost of a request from a limiter: `Depends(rate_limit(limiter))`.

    client, key, cost: as of `RateLimitMiddleware`; key and cost are FastAPI dependencies of their own, if functions.
    The dependency returns the `Decision`. A refused request is answered with 429, and with 503 by a closed limiter
    whose store is away: RFC 9457 problems where the app has `install`. A route that returns a Response of its own sends
    no RateLimit headers: there the middleware sends them. Raise ConfigurationError for options that cannot work.
    """
    _check("rate_limit", limiter, client, cost, key=key)

    async def no_key() -> None:
        return None

    async def fixed_cost() -> Any:
        return cost

    key_of, cost_of = Depends(key or no_key), Depends(cost if callable(cost) else fixed_cost)

    async def limited(
        connection: HTTPConnection, response: Response, key: Any = key_of, cost: Any = cost_of
    ) -> Decision:
        try:
            decision = await limiter.take(_key_of(key, connection, client), cost=cost)
        except ToolkitAway as error:
            raise LimitRefused(toolkit_unavailable(error)) from error
        except InvalidArguments as error:
            raise LimitRefused(answer(422, "invalid-arguments", str(error))) from error
        if not decision:
            raise LimitRefused(too_many_requests(decision))
        for name, value in decision.headers:
            response.headers.append(name, value)
        return decision

    return limited


def _key_of(key: object, connection: HTTPConnection, client: ClientAddress) -> str:
    """Return the key: no key that a client chooses is the address of another."""
    if key is None or key == "":
        return f"address:{client(connection)}"
    if not isinstance(key, str):
        raise TypeError(f"the key of a rate limit must be text or None, not {shown(key)}")
    return f"key:{key}"


def _check(what: str, limiter: object, client: object, cost: object, **functions: object) -> None:
    if not isinstance(limiter, Limiter):
        raise ConfigurationError(f"{what}(limiter={shown(limiter)}): give shop.limiter('10/second', name='api')")
    if not isinstance(client, ClientAddress):
        raise ConfigurationError(f"{what}(client={shown(client)}): give ClientAddress(hops=1)")
    if not callable(cost) and (type(cost) is not int or not 1 <= cost <= limiter.rules.most):
        raise ConfigurationError(
            f"{what}(cost={shown(cost)}): give a whole number from 1 to what the limits admit at once "
            f"({limiter.rules.most:,}), or a function"
        )
    for name, function in functions.items():
        if function is not None and not callable(function):
            raise ConfigurationError(f"{what}({name}={shown(function)}): give a function, or leave it out")
