"""Cached functions: an async function reads through the cache on its loop, a plain one from its thread."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from outlast.core.calls import is_async
from outlast.core.errors import ConfigurationError
from outlast.core.text import shown
from outlast.toolkit.cache.call_keys import CallText, all_arguments
from outlast.toolkit.cache.callers_thread import CallersThread
from outlast.toolkit.cache.near import NO_COPY
from outlast.toolkit.cache.rule import CacheRule
from outlast.toolkit.metrics import CacheReads

if TYPE_CHECKING:
    from outlast.toolkit.cache.cache import Cache

__all__ = ["CachedAsync", "CachedCall", "CachedDecorator", "CachedPlain"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class CachedAsync(Protocol[P, R_co]):
    """An async function whose values are kept."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        """Return the value for these arguments, kept or computed."""

    def delete(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, int]:
        """Remove the value for these arguments, as `Cache.delete` does."""

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of these arguments."""


class CachedPlain(Protocol[P, R_co]):
    """A plain function whose values are kept. It is called in a thread, not on an event loop."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Return the value for these arguments, kept or computed."""

    def delete(self, *args: P.args, **kwargs: P.kwargs) -> int:
        """Remove the value for these arguments, as `Cache.delete_sync` does."""

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of these arguments."""


class CachedCall:
    """What was declared of one function. kind: the type of its values, None for what it says that it returns."""

    __slots__ = ("function", "kind", "name", "reads", "rule")

    def __init__(self, function: Callable[..., Any], rule: CacheRule, kind: Any) -> None:
        self.function = function
        self.name: str = getattr(function, "__qualname__", "cache.cached")
        self.reads = CacheReads(self.name)
        self.rule = rule
        self.kind = kind


class CachedDecorator:
    """What `Cache.cached` returns: it decorates one function. key: template, None for all arguments."""

    def __init__(self, cache: Cache, rule: CacheRule, key: str | None, tags: Sequence[str], kind: Any) -> None:
        self._cache = cache
        self._rule = rule
        self._key = key
        self._tags = tags
        self._kind = kind

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> CachedAsync[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, R], /) -> CachedPlain[P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> Any:
        """Return the function that reads through the cache. Raise ConfigurationError."""
        if not inspect.isroutine(function) and not isinstance(function, functools.partial):
            raise ConfigurationError(f"cache.cached on {shown(function)}: decorate a function")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError(
                f"cache.cached on {shown(function)}: a generator has no value: return a list instead of yielding"
            )
        key = all_arguments(function) if self._key is None else CallText(self._key, function, "key").of
        tags = [CallText(tag, function, "tags").of for tag in self._tags]
        declared = CachedCall(function, self._rule, self._kind)
        read = functools.partial(self._cache.read_call, declared)

        near, copied, reads = self._rule.near > 0, self._cache.copied, declared.reads

        def key_of(*args: Any, **kwargs: Any) -> str:
            return key(args, kwargs)

        if is_async(function):

            async def cached(*args: Any, **kwargs: Any) -> Any:
                name = key(args, kwargs)
                if near and (value := copied(name)) is not NO_COPY:
                    reads.copies += 1
                    return value
                return await read(name, [tag(args, kwargs) for tag in tags], lambda: function(*args, **kwargs))

            async def delete(*args: Any, **kwargs: Any) -> int:
                return await self._cache.delete(key(args, kwargs))

            return _dressed(cached, function, key_of, delete)

        def cached_plain(*args: Any, **kwargs: Any) -> Any:
            name = key(args, kwargs)
            if near and (value := copied(name)) is not NO_COPY:
                reads.copies += 1
                return value
            thread = CallersThread(functools.partial(function, *args, **kwargs))
            return self._cache.blocking(lambda: read(name, [tag(args, kwargs) for tag in tags], thread.compute), thread)

        def delete_plain(*args: Any, **kwargs: Any) -> int:
            return self._cache.delete_sync(key(args, kwargs))

        return _dressed(cached_plain, function, key_of, delete_plain)


def _dressed(wrapper: Any, function: Callable[..., Any], key: Any, delete: Any) -> Any:
    functools.update_wrapper(wrapper, function)
    wrapper.key, wrapper.delete = key, delete
    return wrapper
