"""Plans how to call the handler of a kind, with dependencies and middleware: once per kind, not per run."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Sequence
from time import thread_time
from typing import Any, NamedTuple

from outlast.aio.threads import Threads
from outlast.core.registry import Declaration, Registry
from outlast.declare.context import CallNext, Context, Middleware
from outlast.declare.injection import supplied
from outlast.worker.usage import Meter

__all__ = ["Around", "CallPlan", "ThreadCall", "call_plan", "measuring"]

Around = Callable[[Context, CallNext], Coroutine[Any, Any, Any]]
"""All middleware of a kind, combined."""


class CallPlan(NamedTuple):
    """How to call a handler. handler: called with the arguments. around: middleware to run around it on the loop."""

    handler: Callable[..., Any]
    takes_context: bool
    around: Around | None = None


def call_plan(declaration: Declaration, registry: Registry, *, in_child: bool) -> CallPlan:
    """Return how to call a kind's handler: the handler itself when it has no dependencies and no middleware.

    in_child: whether the run has a process of its own, where the middleware of a plain function is part of the call.
    Raise ConfigurationError for a dependency that cannot be made.
    """
    handler, takes_context = declaration.handler, declaration.takes_context
    if declaration.needs:
        handler, takes_context = supplied(declaration, registry.overrides), True
    middleware = (*registry.middleware, *declaration.middleware)
    if not middleware:
        return CallPlan(handler, takes_context)
    around = functools.partial(_through, middleware)
    if declaration.on_loop:
        return CallPlan(_wrapped(handler, takes_context, around), takes_context=True)
    if in_child:
        return CallPlan(_wrapped(_in_thread(handler), takes_context, around), takes_context=True)
    return CallPlan(handler, takes_context, around)


def measuring(plan: CallPlan, *, on_loop: bool) -> CallPlan:
    """Return the plan with the CPU time of the handler reported to its run: for a plain function that of its thread."""
    handler, takes_context = plan.handler, plan.takes_context

    async def stepped(context: Context, /, **values: Any) -> Any:
        meter: Meter[Any] = Meter(handler(context, **values) if takes_context else handler(**values))
        try:
            return await meter
        finally:
            context._run.used(meter.used)

    def called(context: Context, /, **values: Any) -> Any:
        began = thread_time()
        try:
            return handler(context, **values) if takes_context else handler(**values)
        finally:
            context._run.used(thread_time() - began)

    return CallPlan(stepped if on_loop else called, takes_context=True, around=plan.around)


async def _through(middleware: Sequence[Middleware], context: Context, innermost: CallNext) -> Any:
    call = innermost
    for each in reversed(middleware):
        call = functools.partial(each, context, call)
    return await call()


def _wrapped(handler: Callable[..., Any], takes_context: bool, around: Around) -> Callable[..., Any]:
    async def run(context: Context, /, **values: Any) -> Any:
        first = (context,) if takes_context else ()
        return await around(context, functools.partial(handler, *first, **values))

    return run


def _in_thread(handler: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **values: Any) -> Any:
        try:
            return handler(*args, **values)
        except StopIteration as error:  # a future refuses a StopIteration and would never be done
            raise RuntimeError("the handler raised StopIteration") from error

    return functools.partial(asyncio.to_thread, call)


class ThreadCall:
    """A plain function that middleware awaits. `late` is called when it returns after the middleware is `over`.

    working: number of calls that have not returned yet.
    """

    __slots__ = ("_call", "_late", "_threads", "over", "working")

    def __init__(self, threads: Threads, call: Callable[[], Any], late: Callable[[], None]) -> None:
        self.working = 0
        self.over = False
        self._threads = threads
        self._call = call
        self._late = late

    async def __call__(self) -> Any:
        """Run the function in a thread. A cancellation ends this call at once; the function continues.

        Raise RuntimeError when the middleware is over: the slot then belongs to another run.
        """
        if self.over:
            raise RuntimeError("call_next() after the middleware had returned")
        answer: asyncio.Future[tuple[Any, BaseException | None]] = asyncio.get_running_loop().create_future()
        self.working += 1
        self._threads.submit(self._call, functools.partial(self._back, answer))
        value, error = await answer
        if error is not None:
            raise error
        return value

    def _back(self, answer: asyncio.Future[tuple[Any, BaseException | None]], value: Any, error: Any) -> None:
        self.working -= 1
        if not answer.done():  # done: the awaiting task was cancelled
            answer.set_result((value, error))
        if self.over and not self.working:
            self._late()
