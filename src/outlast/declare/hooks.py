"""The two extension points as they are declared: middleware, which may fail a run, and observers, which may not."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from outlast.core.errors import ConfigurationError
from outlast.core.events import EVENTS, Event, Observers

if TYPE_CHECKING:
    from outlast.declare.context import Middleware

__all__ = ["EventsMixin", "MiddlewareMixin"]

M = TypeVar("M", bound="Middleware")
O = TypeVar("O", bound=Callable[[Event], object])  # noqa: E741
E1 = TypeVar("E1", bound=Event)
E2 = TypeVar("E2", bound=Event)


class MiddlewareMixin:
    """What an app and a router have in common: middleware around the runs of their jobs."""

    _middleware: list[Middleware]

    def middleware(self, function: M, /) -> M:
        """Put `async def mw(ctx, call_next)` around every run, within those that were put before; a decorator.

        `await call_next()` goes on and returns what the handler returned; what is returned here is the job's result.
        What is raised here fails the run as an error of the handler's does: retries, GiveUp and Snooze alike. It is
        cancelled with the handler at a timeout, a cancel or a stop. A plain function runs in its thread meanwhile, an
        isolated job's middleware in the child. A router's is within the app's. Declare it before the worker starts.
        Raise ConfigurationError for what is not async.
        """
        method = None if inspect.isroutine(function) else getattr(function, "__call__", None)  # noqa: B004 - an object's own
        if not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(method)):
            raise ConfigurationError(f"middleware({function!r}): give an 'async def' that takes (ctx, call_next)")
        self._middleware.append(function)
        return function


class EventsMixin:
    """What an app alone has: those who are told what happened, and what tests put in the place of dependencies."""

    _observers: Observers
    _overrides: dict[Any, Callable[..., Any]]

    @overload
    def observe(self, observer: O, /) -> O: ...
    @overload
    def observe(self, event: type[E1], /) -> Callable[[Callable[[E1], object]], Callable[[E1], object]]: ...
    @overload
    def observe(
        self, event: type[E1], other: type[E2], /
    ) -> Callable[[Callable[[E1 | E2], object]], Callable[[E1 | E2], object]]: ...
    @overload
    def observe(self, *events: type[Event]) -> Callable[[Callable[[Any], object]], Callable[[Any], object]]: ...
    def observe(self, *what: Any) -> Any:
        """Tell a function each event (core.events) of this process, or those of some types; a decorator.

        `@shop.observe` is told all, `@shop.observe(JobEnded, JobRetried)` these. It is called after the fact, on the
        loop of whoever did it, and must not block; it can fail no job: what it raises is logged once. Declare it before
        the worker starts: events that nobody asked for are not made.
        """
        kinds = tuple(each for each in what if each in EVENTS)
        if kinds and len(kinds) == len(what):

            def decorate(observer: Any) -> Any:
                return self._observe(observer, kinds)

            return decorate
        if len(what) != 1:
            raise ConfigurationError(f"observe{what!r}: give one callable, or types of events such as JobEnded")
        return self._observe(what[0], ())

    def _observe(self, observer: Any, kinds: tuple[type[Event], ...]) -> Any:
        if not callable(observer) or inspect.iscoroutinefunction(observer):
            raise ConfigurationError(f"observe({observer!r}): give a callable that takes an event, not async")
        self._observers.add(observer, kinds)
        return observer

    @property
    def dependency_overrides(self) -> dict[Any, Callable[..., Any]]:
        """What is made instead of a dependency: `shop.dependency_overrides[get_db] = lambda: fake`, for tests.

        A worker looks at it when it starts, `drain` and a direct call each time; `shop.testing()` puts it back at the
        end of its block.
        """
        return self._overrides
