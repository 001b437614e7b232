"""Declare the two extension points: middleware, which can fail a run, and observers, which cannot."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from outlast.core.calls import is_async
from outlast.core.errors import ConfigurationError
from outlast.core.events import EVENTS, Event, Observers

if TYPE_CHECKING:
    from outlast.declare.context import Middleware

__all__ = ["EventsMixin", "LifecycleMixin", "MiddlewareMixin"]

H = TypeVar("H", bound=Callable[[], object])
M = TypeVar("M", bound="Middleware")
O = TypeVar("O", bound=Callable[[Event], object])  # noqa: E741
E1 = TypeVar("E1", bound=Event)
E2 = TypeVar("E2", bound=Event)


class MiddlewareMixin:
    """The base of app and router that has the `middleware` decorator."""

    _middleware: list[Middleware]

    def middleware(self, function: M, /) -> M:
        """Wrap every run in `async def mw(ctx, call_next)`, inside the middleware added before; a decorator.

        `await call_next()` runs the rest and returns the value of the handler; the value that `mw` returns is the
        result of the job. An error in `mw` fails the run like an error of the handler, with retries, GiveUp and Snooze.
        A timeout, a cancel or a stop cancels `mw` with the handler. `mw` runs on the event loop, also for a plain
        function, and for an isolated job in the child process. A router's middleware is inside the app's. Declare it
        before the worker starts. Raise ConfigurationError when it is not async.
        """
        if not is_async(function):
            raise ConfigurationError(f"middleware({function!r}): give an 'async def' that takes (ctx, call_next)")
        self._middleware.append(function)
        return function


class LifecycleMixin:
    """The base of an app that has hooks for the start and the stop of each worker process."""

    _on_start: list[Callable[[], Any]]
    _on_stop: list[Callable[[], Any]]

    def on_start(self, hook: H, /) -> H:
        """Call `hook()`, async or plain, in each worker process before it claims its first job; a decorator.

        Hooks run in the order of their declaration, on the worker's event loop, which a plain one must not block for
        long. An error ends the process, which is not ready then; its supervisor starts another one. They do not run in
        the child processes of `isolate="process"`: use a dependency there. Raise ConfigurationError.
        """
        self._on_start.append(_hook(hook, "on_start"))
        return hook

    def on_stop(self, hook: H, /) -> H:
        """Call `hook()`, async or plain, when a worker stops and its jobs have ended or are released; a decorator.

        Hooks run in reverse order, within what is left of the grace period (`drain_grace`) and at least a second. Their
        errors are logged. They run only if all start hooks have succeeded, and not when the process is killed. Raise
        ConfigurationError.
        """
        self._on_stop.append(_hook(hook, "on_stop"))
        return hook


def _hook(hook: Any, name: str) -> Callable[[], Any]:
    if not callable(hook) or inspect.isgeneratorfunction(hook) or inspect.isasyncgenfunction(hook):
        raise ConfigurationError(
            f"{name}({hook!r}): give a function, 'def' or 'async def', without a yield; on_start has what comes before "
            "it, on_stop what comes after"
        )
    try:
        inspect.signature(hook).bind()
    except TypeError:
        raise ConfigurationError(
            f"{name}({hook!r}): it is called without arguments: give a function that needs none"
        ) from None
    except ValueError:
        pass  # a callable of C without a signature
    made: Callable[[], Any] = hook
    return made


class EventsMixin:
    """The base of an app that has observers of events and overrides of dependencies."""

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
    def observe(self, *arguments: Any) -> Any:
        """Call a function with each event (core.events) of this process, or with some types of event; a decorator.

        `@shop.observe` receives all events, `@shop.observe(JobEnded, JobRetried)` these types. The call comes after the
        fact, on the event loop where it happened, and must not block. It cannot fail a job: its first error is logged.
        Declare it before the worker starts: events without an observer are not made.
        """
        if arguments and all(each in EVENTS for each in arguments):
            return partial(self._observe, kinds=arguments)
        if len(arguments) != 1:
            raise ConfigurationError(f"observe{arguments!r}: give one callable, or types of events such as JobEnded")
        return self._observe(arguments[0], ())

    def _observe(self, observer: Any, kinds: tuple[type[Event], ...]) -> Any:
        if not callable(observer) or is_async(observer):
            raise ConfigurationError(f"observe({observer!r}): give a callable that takes an event, not async")
        self._observers.add(observer, kinds)
        return observer

    @property
    def dependency_overrides(self) -> dict[Any, Callable[..., Any]]:
        """Replacements of dependencies for tests: `shop.dependency_overrides[get_db] = lambda: fake`.

        A worker reads them when it starts, `drain` and a direct call each time. The end of a `shop.testing()` block
        restores them.
        """
        return self._overrides
