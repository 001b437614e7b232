"""Effects of a job that must not be repeated: each is done once over all runs of the job, and its result kept."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Final, Protocol

from msgspec import Raw, json

from outlast.core.codec import encode_value
from outlast.core.control_flow import GiveUp
from outlast.core.errors import BodyTooLarge, ConfigurationError, InvalidArguments, WrongThread
from outlast.core.text import shown

__all__ = ["LONGEST_KEY", "NOTE", "Effects", "EffectsPort"]

NOTE: Final = "once"
"""The name of the note with the results of a job: a JSON object, key to [result], or [] when it could not be kept."""
LONGEST_KEY: Final = 200
"""Characters of a key."""
_Results = dict[str, list[Any]]


class EffectsPort(Protocol):
    """The note of one job. Both may be called from any thread and return at once."""

    def read(self) -> Future[Raw | None]:
        """Return the note of all runs before, None without one."""
        ...

    def keep(self, note: Raw) -> Future[None]:
        """Store the note; at the latest with the settlement of the run. Raise BodyTooLarge at once."""
        ...


class Effects:
    """The effects of one run. An effect that is done twice at the same time, or within itself, is refused."""

    def __init__(self, port: EffectsPort) -> None:
        self._port = port
        self._results: _Results | None = None
        self._running: set[str] = set()

    async def once(
        self, key: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """Return the result of the effect, as plain data; call the function if the effect is not done yet."""
        with self._alone(key, function):
            if self._results is None:
                self._read(await asyncio.wrap_future(self._port.read()))
            if (found := self._found(key)) is not None:
                return found[0]
            value = function(*args, **kwargs)
            if inspect.isawaitable(value):
                value = await value
            await asyncio.wrap_future(self._keep(key, value))
            return self._given(key)

    def once_sync(
        self, key: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """Do the same in the thread of a plain function."""
        if asyncio._get_running_loop() is not None:
            raise WrongThread("ctx.once_sync would block the event loop: use 'await ctx.once(...)' in an async handler")
        with self._alone(key, function):
            if inspect.iscoroutinefunction(function):
                raise InvalidArguments(
                    f"ctx.once_sync({key!r}): give a plain function, or declare the handler with async def and use "
                    "await ctx.once(...)"
                )
            if self._results is None:
                self._read(self._port.read().result())
            if (found := self._found(key)) is not None:
                return found[0]
            self._keep(key, function(*args, **kwargs)).result()
            return self._given(key)

    @contextmanager
    def _alone(self, key: object, function: object) -> Iterator[None]:
        if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY:
            raise InvalidArguments(f"ctx.once({shown(key)}): give a key of 1 to {LONGEST_KEY} characters")
        if not callable(function):
            raise InvalidArguments(
                f"ctx.once({key!r}, {shown(function)}): give the function and its arguments, without calling it"
            )
        if key in self._running:
            raise ConfigurationError(f"ctx.once({key!r}): it is running in this job already: give each effect a key")
        self._running.add(key)
        try:
            yield
        finally:
            self._running.discard(key)

    def _read(self, note: Raw | None) -> None:
        if self._results is None:  # another effect may have read and changed them meanwhile
            self._results = {} if note is None else json.decode(note, type=dict[str, list[Any]])

    def _found(self, key: str) -> list[Any] | None:
        assert self._results is not None
        found = self._results.get(key)
        if found is not None and not found:
            raise GiveUp(f"ctx.once({key!r}): it was done in a run before, and its result could not be kept")
        return found

    def _keep(self, key: str, value: Any) -> Future[None]:
        """Store that the effect is done. A result that cannot be kept is left out: the work must not be repeated."""
        assert self._results is not None
        try:
            self._results[key] = [json.decode(encode_value(value))]
            return self._port.keep(encode_value(self._results))
        except Exception as error:
            self._results[key] = []
            self._port.keep(encode_value(self._results))
            size = f"has {error.size} bytes: return its address" if isinstance(error, BodyTooLarge) else str(error)
            raise GiveUp(f"ctx.once({key!r}): it was done, but its result cannot be kept: {size}") from error

    def _given(self, key: str) -> Any:
        """Return the result as a later run gets it."""
        assert self._results is not None
        return json.decode(json.encode(self._results[key][0]))
