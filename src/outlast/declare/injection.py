"""Make the dependencies of one run before its handler, and end them after it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from types import CoroutineType
from typing import Any

from outlast.core.errors import ConfigurationError
from outlast.core.registry import Declaration
from outlast.declare.dependencies import Maker, graph

__all__ = ["supplied"]

Handler = Callable[..., Any]


def supplied(declaration: Declaration, overrides: Mapping[Any, Callable[..., Any]]) -> Handler:
    """Return the handler as a function of a context and the arguments, which makes the dependencies.

    Dependencies are made where the handler runs, once per run, in the order of the parameters. They end in reverse
    order before the run is settled, whether it succeeded, failed or was cancelled. An error of the handler is raised at
    their `yield`: a dependency may replace it, but cannot suppress it. After a success, an error of a dependency fails
    the run. Raise ConfigurationError when an override cannot be made.
    """
    where = f"job {declaration.kind!r}"
    on_loop = declaration.on_loop
    needs = graph(declaration.needs, where=where, on_loop=on_loop, overrides=overrides)
    handler, takes_context = declaration.handler, declaration.takes_context
    return _on_loop(handler, takes_context, needs) if on_loop else _in_thread(handler, takes_context, needs)


def _on_loop(handler: Handler, takes_context: bool, needs: tuple[tuple[str, Maker], ...]) -> Handler:
    async def run(context: Any, /, *args: Any, **values: Any) -> Any:
        value, failed = None, None
        async with AsyncExitStack() as stack:
            try:
                made: dict[Hashable, Any] = {}
                for name, maker in needs:
                    if name not in values:
                        values[name] = await _make_async(maker, context, made, stack)
                value = await (handler(context, *args, **values) if takes_context else handler(*args, **values))
            except BaseException as error:
                failed = error
                raise
        if failed is not None:  # a dependency suppressed it
            raise failed
        return value

    return run


def _in_thread(handler: Handler, takes_context: bool, needs: tuple[tuple[str, Maker], ...]) -> Handler:
    def run(context: Any, /, *args: Any, **values: Any) -> Any:
        value, failed = None, None
        with ExitStack() as stack:
            try:
                made: dict[Hashable, Any] = {}
                for name, maker in needs:
                    if name not in values:
                        values[name] = _make(maker, context, made, stack)
                value = handler(context, *args, **values) if takes_context else handler(*args, **values)
            except BaseException as error:
                failed = error
                raise
        if failed is not None:  # a dependency suppressed it
            raise failed
        return value

    return run


async def _make_async(maker: Maker, context: Any, made: dict[Hashable, Any], stack: AsyncExitStack) -> Any:
    if maker.cached and maker.key in made:
        return made[maker.key]
    values = dict.fromkeys(maker.context, context)
    for name, need in maker.needs:
        values[name] = await _make_async(need, context, made, stack)
    match maker.way:
        case "returns":
            value = _plain(maker, maker.call(**values))
        case "awaits":
            value = await maker.call(**values)
        case "yields":
            value = stack.enter_context(contextmanager(maker.call)(**values))
        case "yields async":
            value = await stack.enter_async_context(asynccontextmanager(maker.call)(**values))
    made.setdefault(maker.key, value)
    return value


def _make(maker: Maker, context: Any, made: dict[Hashable, Any], stack: ExitStack) -> Any:
    if maker.cached and maker.key in made:
        return made[maker.key]
    values = dict.fromkeys(maker.context, context)
    for name, need in maker.needs:
        values[name] = _make(need, context, made, stack)
    if maker.way == "yields":
        value = stack.enter_context(contextmanager(maker.call)(**values))
    else:
        value = _plain(maker, maker.call(**values))
    made.setdefault(maker.key, value)
    return value


def _plain(maker: Maker, value: Any) -> Any:
    """Return the value of a plain dependency; raise ConfigurationError for a coroutine, which nothing would await."""
    if type(value) is CoroutineType:
        value.close()
        raise ConfigurationError(
            f"the dependency {maker.call!r} returned a coroutine, which is not awaited: make it an 'async def'"
        )
    return value
