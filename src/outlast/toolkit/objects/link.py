"""The way of a process to its objects: each call through a guard with a deadline of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from outlast.core.clock import Clock
from outlast.core.errors import DeadlinePassed, GuardOpen, GuardTimeout, StoreFull, StoreUnavailable
from outlast.core.toolkit_errors import ToolkitAway
from outlast.toolkit.away import OPEN_FOR, guard_of, is_away, refused
from outlast.toolkit.metrics import OBJECT_CALLS, degraded, series_of
from outlast.toolkit.objects.place import ObjectPlace
from outlast.toolkit.objects.places import connect_objects

__all__ = ["ObjectLink"]

T = TypeVar("T")

_AWAY: Final = (StoreUnavailable, StoreFull, GuardTimeout)
_CALLS: Final = {
    each: series_of(OBJECT_CALLS, each, results=("ok", "failed", "away"))
    for each in ("put", "get", "delete", "exists", "url", "sweep")
}
_RAISED: Final = degraded("objects", "raised")["raised"]


class ObjectLink:
    """The objects of an app, for all event loops and threads of a process.

    url: see `connect_objects`. timeout: seconds of one call, or of one part of a stream. After a call that failed or
    took too long, the place counts as away for OPEN_FOR seconds, and calls raise ToolkitAway at once.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        timeout: float,
        connect: Callable[[str, Clock, float], ObjectPlace] = connect_objects,
    ) -> None:
        self.url: Final = url
        self.clock: Final = clock
        self.timeout: Final = timeout
        self._connect = connect
        self._places: dict[int, ObjectPlace] = {}
        """By the id of the process: a fork must not use the threads and connections of its parent."""
        self._guard = guard_of("outlast-objects", timeout=timeout, failures=_AWAY)

    @property
    def place(self) -> ObjectPlace:
        """The place in this process; raise ConfigurationError if the URL is wrong."""
        process = os.getpid()
        place = self._places.get(process)
        if place is not None:
            return place
        # Two threads may both make one, of which one is kept: no lock is held, which a fork would copy.
        return self._places.setdefault(process, self._connect(self.url, self.clock, self.timeout))

    @property
    def is_away(self) -> bool:
        """Whether calls are refused now: a call has failed in the last OPEN_FOR seconds, or one tries the place."""
        return is_away(self._guard)

    async def use(self, operation: str, call: Callable[[ObjectPlace], Coroutine[Any, Any, T]]) -> T:
        """Return `await call(place)`; raise ToolkitAway when the place does not answer, other errors of the call.

        operation: as which it is counted: put, get, delete, exists, url, sweep.
        """
        with _counted(operation):
            return await self._use(call)

    async def _use(self, call: Callable[[ObjectPlace], Coroutine[Any, Any, T]]) -> T:
        place = self.place
        if place.in_process:
            return await call(place)
        try:
            return await self._guard.call(_called, place, call)
        except (GuardOpen, DeadlinePassed) as error:
            raise refused(place.shown, error, str(error)) from error
        except _AWAY as error:
            late = isinstance(error, GuardTimeout) and error.timeout < self.timeout
            why = str(error).removeprefix(f"{place.shown}: ")
            if isinstance(error, GuardTimeout):
                why = f"no answer within {error.timeout:g} s" + ("" if late else " (objects_timeout)")
            raise ToolkitAway(place.shown, why, uncertain=True, retry_after=OPEN_FOR, by_deadline=late) from error

    async def parts(
        self, make: Callable[[ObjectPlace], AsyncIterator[T]], *, operation: str = "get"
    ) -> AsyncIterator[T]:
        """Yield what `make(place)` yields, each within the timeout; raise as `use` does. It is counted once."""
        made: list[AsyncIterator[T]] = []

        async def following(place: ObjectPlace) -> tuple[T] | None:
            if not made:
                made.append(make(place))
            try:
                return (await anext(made[0]),)
            except StopAsyncIteration:
                return None

        with _counted(operation):
            try:
                while (part := await self._use(following)) is not None:
                    yield part[0]
            finally:
                for each in made:
                    await each.aclose()  # type: ignore[attr-defined]


@contextmanager
def _counted(operation: str) -> Iterator[None]:
    result = "failed"
    try:
        yield
        result = "ok"
    except GeneratorExit:  # of a stream that is not read to its end
        result = "ok"
        raise
    except ToolkitAway:
        result = "away"
        _RAISED.add()
        raise
    finally:
        _CALLS[operation][result].add()


async def _called(place: ObjectPlace, call: Callable[[ObjectPlace], Coroutine[Any, Any, T]]) -> T:
    """Await the call: a plain function would run in a thread of the guard."""
    return await call(place)
