"""What a guarded call returns instead of its error."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakSet

from outlast.core.calls import is_async, unawaited
from outlast.core.errors import ConfigurationError
from outlast.core.guards.classify import was_stopped
from outlast.core.guards.policies import Fallback
from outlast.core.guards.signatures import why_not_in_place_of

__all__ = ["Answers"]


class Answers:
    """The fallback of one guard. name: of the guard."""

    def __init__(self, name: str, fallback: Fallback) -> None:
        self._name: Final = name
        self._answer = fallback.answer
        self._on = fallback.on
        self._is_call = callable(fallback.answer)
        self._fitting: WeakSet[Any] = WeakSet()

    def check(self, function: Callable[..., Any], *, blocking: bool) -> None:
        """Raise ConfigurationError when it cannot be called in place of the function. Cheap for one checked before."""
        if not self._is_call:
            return
        plain = getattr(function, "__func__", function)
        try:
            if plain in self._fitting:
                return
        except TypeError:  # it cannot be referred to weakly
            plain = None
        where = f"guard {self._name!r}: the fallback {getattr(self._answer, '__qualname__', self._answer)!r}"
        called = getattr(function, "__qualname__", function)
        if why := why_not_in_place_of(self._answer, function):
            raise ConfigurationError(
                f"{where} does not fit {called!r}: {why}: give it the same parameters, or (*args, **kwargs)"
            )
        if blocking and is_async(self._answer):
            raise ConfigurationError(f"{where} is async, and {called!r} is not awaited: give a plain function")
        if plain is not None:
            self._fitting.add(plain)

    def covers(self, error: Exception) -> bool:
        """Whether the error is answered."""
        return isinstance(error, self._on) and not was_stopped(error)

    async def instead_of(self, error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the answer; raise what the fallback raises, with `error` as its cause."""
        if not self._is_call:
            return self._answer
        try:
            value = self._answer(*args, **kwargs)
            return await value if inspect.isawaitable(value) else value
        except Exception as own:
            raise own from error

    def instead_of_blocking(self, error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the answer as `instead_of` does, to code that awaits nothing."""
        if not self._is_call:
            return self._answer
        try:
            value = self._answer(*args, **kwargs)
            if unawaited(value):
                raise ConfigurationError(f"guard {self._name!r}: the fallback is async: give a plain function")
        except Exception as own:
            raise own from error
        return value
