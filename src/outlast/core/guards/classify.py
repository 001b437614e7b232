"""What the end of a call says about its dependency, and whether the call may be repeated; decided without a network.

Errors and responses of httpx, httpx2, requests, aiohttp and urllib are recognized by the names of their classes and by
their attributes, so that none of these libraries is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Any, Final, NamedTuple

from outlast.core.errors import GuardRefused, GuardTimeout
from outlast.core.guards.answers import CallOutcome

__all__ = [
    "PLAIN",
    "Request",
    "header",
    "is_local",
    "outcome_of_error",
    "outcome_of_value",
    "request_of",
    "status_of",
    "was_stopped",
    "why_not_repeated",
]

PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes, list, dict, tuple, set})
"""Types of values that are no response."""
_LOCAL: Final = frozenset({"PoolTimeout", "EmptyPoolError", "MaxConnectionsError", "InvalidURL", "UnsupportedProtocol"})
"""Errors of this process, raised before the dependency was asked: an exhausted pool, a URL that no client can use."""
_LOCAL_OF_MODULE: Final = frozenset({("sqlalchemy.exc", "TimeoutError")})
"""Such errors whose name alone says too little: no connection of the pool became free."""
_NOT_SENT: Final = frozenset(
    {
        "ClientConnectorError",
        "ConnectError",
        "ConnectTimeout",
        "ConnectTimeoutError",
        "ConnectionRefusedError",
        "ConnectionTimeoutError",
        "NameResolutionError",
        "NewConnectionError",
        "PoolTimeout",
        "gaierror",
    }
)
"""Errors of a connection that was not made: the dependency has not seen the request."""
_STOPPED: Final = frozenset({"CancelledError"})
"""`concurrent.futures.CancelledError` is an Exception."""
_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "POST", "PATCH", "CONNECT"})
_UNSAFE: Final = frozenset({"POST", "PATCH"})
_FRAMES: Final = 100
"""The most frames of a traceback that are searched for the request."""
_CHAIN: Final = 5
"""The most causes of an error that are searched for it."""


class Request(NamedTuple):
    """The HTTP request of a call. keyed: whether it has an Idempotency-Key."""

    method: str
    keyed: bool


def outcome_of_error(
    error: BaseException,
    failures: tuple[type[BaseException], ...] | Callable[[Any], object] | None,
    ignore: tuple[type[BaseException], ...],
) -> CallOutcome:
    """Return what an error says about the dependency. failures, ignore: as of `Breaker`.

    Neutral: an error that is not an Exception (cancel, exit, interrupt, abandoned generator), one of this process, one
    to ignore. By default an HTTP status below 500 is a success, since the dependency has answered, and every other
    error is a failure.
    """
    if was_stopped(error) or is_local(error) or isinstance(error, ignore):
        return "neutral"
    if failures is None:
        status = status_of(error)
        return "failure" if status is None or status >= 500 else "success"
    if isinstance(failures, tuple):
        return "failure" if isinstance(error, failures) else "success"
    return "failure" if failures(error) else "success"


def outcome_of_value(
    value: object, failures: tuple[type[BaseException], ...] | Callable[[Any], object] | None
) -> CallOutcome:
    """Return what a returned value says about the dependency: a response with status 500 or more is a failure."""
    if failures is not None and callable(failures):
        return "failure" if failures(value) else "success"
    if type(value) in PLAIN:
        return "success"
    status = status_of(value)
    return "failure" if status is not None and status >= 500 else "success"


def was_stopped(error: BaseException) -> bool:
    """Whether the error is a cancel, an exit, an interrupt or the end of a generator, and not a failure."""
    return not isinstance(error, Exception) or _named(error, _STOPPED)


def is_local(error: BaseException) -> bool:
    """Whether the error came up before the dependency was asked: a refusal of a guard, an exhausted pool."""
    if isinstance(error, GuardRefused):
        return True
    return any(
        each.__name__ in _LOCAL or (each.__module__, each.__name__) in _LOCAL_OF_MODULE for each in type(error).__mro__
    )


def status_of(answer: object) -> int | None:
    """Return the HTTP status of an error or a response, None for anything else."""
    for each in (answer, _get(answer, "response")):
        if each is None:
            continue
        status = _get(each, "status_code")
        if status is None:
            status = _get(each, "status")
        if isinstance(status, int) and 100 <= status <= 599 and _get(each, "headers") is not None:
            return int(status)
    return None


def why_not_repeated(answer: object, *, idempotent: bool) -> str:
    """Return why a call that ended with this error or response must not be repeated; "" when it may be.

    POST and PATCH may be repeated after an error of the connection, a status 429, or when the dependency recognizes a
    repeated request: idempotent=True, or an Idempotency-Key on the request (RFC 9110, section 9.2.2).
    """
    status = status_of(answer)
    if isinstance(answer, BaseException):
        if was_stopped(answer):
            return "it was stopped"
        if isinstance(answer, GuardRefused):
            return "the guard refuses calls"
        if status is not None and status < 500 and status not in (408, 425, 429):
            return f"status {status} would be the same again"
        if isinstance(answer, GuardTimeout) and answer.running and not idempotent:
            return "its thread still runs: give idempotent=True if two at once do no harm"
    if idempotent or status == 429 or _was_not_sent(answer):
        return ""
    request = request_of(answer)
    if request is None or request.method not in _UNSAFE or request.keyed:
        return ""
    return f"{request.method} may have been done: give idempotent=True, or send an Idempotency-Key"


def request_of(answer: object) -> Request | None:
    """Return the HTTP request that an error or a response belongs to; None when there is none, or it is not known.

    Some errors of aiohttp, and a timeout of the guard, carry no request: then the frames of the traceback are searched,
    the innermost first, for a `request`, or a `method` with `headers`, as HTTP clients name them.
    """
    for holder in (answer, _get(answer, "response")):
        for name in ("request", "request_info"):
            if (found := _request(_get(holder, name))) is not None:
                return found
        if isinstance(holder, BaseException):
            continue
        if (found := _request(holder)) is not None:  # aiohttp's response has the method itself
            return found
    error = answer if isinstance(answer, BaseException) else None
    for _ in range(_CHAIN):
        if error is None:
            return None
        if (found := _request_in(error.__traceback__)) is not None:
            return found
        error = error.__cause__ or error.__context__
    return None


def header(headers: object, name: str) -> str | None:
    """Return one header as text, whatever the type of the headers and the case of their names; None for none."""
    get = _get(headers, "get")
    if not callable(get):
        return None
    for each in (name, name.lower()):
        try:
            value = get(each)
        except Exception:
            return None
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        if isinstance(value, str):
            return value
    return None


def _was_not_sent(answer: object) -> bool:
    if not isinstance(answer, BaseException):
        return False
    if _named(answer, _NOT_SENT):
        return True
    # URLError of urllib has the reason; requests.ConnectionError has it in the error of urllib3 inside it.
    inner = answer.args[0] if answer.args else None
    reasons = (_get(answer, "reason"), _get(inner, "reason"))
    return any(isinstance(reason, BaseException) and _named(reason, _NOT_SENT) for reason in reasons)


def _named(error: BaseException, names: frozenset[str]) -> bool:
    return any(each.__name__ in names for each in type(error).__mro__)


def _request(value: object) -> Request | None:
    if value is None:
        return None
    method = _get(value, "method")
    if isinstance(method, bytes):
        method = method.decode("latin-1")
    headers = _get(value, "headers")
    if not isinstance(method, str) or method.upper() not in _METHODS or headers is None:
        return None
    return Request(method.upper(), header(headers, "Idempotency-Key") is not None)


def _request_in(trace: TracebackType | None) -> Request | None:
    frames: list[FrameType] = []
    while trace is not None and len(frames) < _FRAMES:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    for frame in reversed(frames):
        names: Mapping[str, object] = frame.f_locals
        if (found := _request(names.get("request"))) is not None:
            return found
        method = names.get("method")
        if isinstance(method, str) and method.upper() in _METHODS and "headers" in names:
            return Request(method.upper(), header(names["headers"], "Idempotency-Key") is not None)
    return None


def _get(value: object, name: str) -> Any:
    """Return an attribute, None when there is none: `error.request` of httpx raises where no request is set."""
    try:
        return getattr(value, name, None)
    except Exception:
        return None
