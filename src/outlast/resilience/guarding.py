"""The ways to make a guarded call: `call`, `call_sync`, a decorator, `async with` and `with`."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

from outlast.core.calls import is_async
from outlast.core.errors import ConfigurationError
from outlast.core.text import shown
from outlast.resilience.blocks import Block, Blocks, owner_of_block
from outlast.resilience.calls import Calls
from outlast.resilience.first_read import waited_blocking, waited_for
from outlast.resilience.lane import Lane
from outlast.resilience.ports import FIRST_READ

__all__ = ["Guarding"]

P = ParamSpec("P")
R = TypeVar("R")


class Guarding(ABC):
    """The ways to make a guarded call."""

    name: str
    _calls: Calls
    _blocks: Blocks[Block]

    @abstractmethod
    def _take(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Lane:
        """Return the lane of a call."""

    @abstractmethod
    def _take_for_block(self) -> Lane:
        """Return the lane of a block."""

    @abstractmethod
    def _put(self, lane: Lane) -> None:
        """Take the lane of a call back."""

    @abstractmethod
    def _begin(self) -> Future[None] | None:
        """Begin to share the state; return what the first call waits for, None for nothing."""

    _begun = False

    # Calls

    @overload
    async def call(self, function: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function under all policies, and return its value.

        An `async def` is awaited in this task. A plain function runs in a thread of the guard, which cannot be
        stopped: past the timeout it keeps its permit of the bulkhead until it returns. Raise GuardOpen, BulkheadFull
        or DeadlinePassed when the call is not made, GuardTimeout when it takes too long, and what the function raises;
        a note says why it was not repeated.
        """
        if not callable(function):
            raise _not_a_function(function, "call")
        if not self._begun:
            await self._wait_for_begin()
        lane = self._take(function, args, kwargs)
        try:
            return await self._calls.make(lane, function, args, kwargs)
        finally:
            self._put(lane)

    def call_sync(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a plain function in this thread, under all policies; raise as `call` does, but for GuardTimeout.

        The timeout does not interrupt it: it bounds the guarded calls in it, and a call that took longer counts as
        slow. Waits and retries block the thread; on the thread of an event loop there are none.
        """
        if not callable(function):
            raise _not_a_function(function, "call_sync")
        if is_async(function):
            raise TypeError(f"guard.call_sync({shown(function)}): it is async: use 'await guard.call(...)'")
        value: R = self._call_plain(function, args, kwargs)
        return value

    def _call_plain(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._begun:
            self._wait_for_begin_blocking()
        lane = self._take(function, args, kwargs)
        try:
            return self._calls.make_blocking(lane, function, args, kwargs)
        finally:
            self._put(lane)

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> Callable[..., Any]:
        """Decorate a function: each call of it is guarded, an `async def` as by `call`, another as by `call_sync`.

        Raise ConfigurationError for a generator, for a fallback with other parameters, and for a `key` that names none.
        """
        if not callable(function):
            raise _not_a_function(function, "")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError(
                f"guard {self.name!r}: {function.__qualname__!r} is a generator: write 'with guard:' inside it"
            )
        on_loop = is_async(function)
        self._check(function, blocking=not on_loop)
        if on_loop:

            async def guarded(*args: Any, **kwargs: Any) -> Any:
                return await self.call(function, *args, **kwargs)

            return functools.update_wrapper(guarded, function)

        def guarded_sync(*args: Any, **kwargs: Any) -> Any:
            return self._call_plain(function, args, kwargs)

        return functools.update_wrapper(guarded_sync, function)

    def _check(self, function: Callable[..., Any], *, blocking: bool) -> None:
        if self._calls.answers is not None:
            self._calls.answers.check(function, blocking=blocking)

    # Blocks: one attempt, without retry and fallback

    async def __aenter__(self) -> None:
        """Enter a guarded block: one attempt, which ends past the timeout. Retry and Fallback do not apply.

        Raise as `call` does.
        """
        frame = sys._getframe(1)
        if not self._begun:
            await self._wait_for_begin()
        lane = self._take_for_block()
        try:
            admission, within, limit = await self._calls.enter(lane)
        except BaseException:
            self._put(lane)
            raise
        if within is not None:
            within.__enter__()
        self._blocks.opened(Block(lane, admission, owner_of_block(), limit, within), frame)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        block = self._blocks.ended(owner_of_block(), sys._getframe(1))
        if block is None:
            return
        within = block.within
        try:
            if within is not None:
                within.__exit__(kind, error, trace)
        except TimeoutError as cut:
            instead = self._calls.failed(block.lane, block.admission, cut, within, block.timeout)
            raise (instead or cut) from cut.__cause__
        else:
            self._block_ended(block, error)
        finally:
            self._put(block.lane)

    def __enter__(self) -> None:
        """Enter a guarded block of a thread: as `async with`, but that nothing interrupts it."""
        frame = sys._getframe(1)
        if not self._begun:
            self._wait_for_begin_blocking()
        lane = self._take_for_block()
        try:
            admission = self._calls.enter_blocking(lane)
        except BaseException:
            self._put(lane)
            raise
        self._blocks.opened(Block(lane, admission, owner_of_block(), None, None), frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        block = self._blocks.ended(owner_of_block(), sys._getframe(1))
        if block is not None:
            self._block_ended(block, error)
            self._put(block.lane)

    def _block_ended(self, block: Block, error: BaseException | None) -> None:
        if error is None:
            self._calls.succeeded(block.lane, block.admission, None)
        else:
            self._calls.failed(block.lane, block.admission, error)

    # The first call

    async def _wait_for_begin(self) -> None:
        begun = self._begin()
        self._begun = begun is None or await waited_for(begun, FIRST_READ)

    def _wait_for_begin_blocking(self) -> None:
        begun = self._begin()
        if asyncio._get_running_loop() is None:
            self._begun = begun is None or waited_blocking(begun, FIRST_READ)


def _not_a_function(function: object, use: str) -> TypeError:
    if inspect.iscoroutine(function):
        function.close()  # or Python warns that nothing awaits it
        return TypeError(f"guard.{use}: give the function and its arguments, guard.call(f, x), not guard.call(f(x))")
    return TypeError(f"guard.{use}({shown(function)}): give a function and its arguments")
