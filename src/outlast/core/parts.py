"""The parts of an app, each with its health as data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from msgspec import Struct

from outlast.core.errors import ConfigurationError

__all__ = ["Part", "Parts"]


class Part(Struct, frozen=True):
    """One part of an app. health: returns when the part can work, raises an error otherwise."""

    name: str
    health: Callable[[], Awaitable[object]] | None = None


class Parts:
    """The parts that an app has, in the order of their registration."""

    def __init__(self, *parts: Part) -> None:
        self._parts: dict[str, Part] = {}
        for part in parts:
            self.add(part)

    def add(self, part: Part) -> None:
        """Register a part; raise ConfigurationError when its name is registered already."""
        if part.name in self._parts:
            raise ConfigurationError(f"part {part.name!r} is registered twice")
        self._parts[part.name] = part

    def __iter__(self) -> Iterator[Part]:
        return iter(self._parts.values())

    async def check(self) -> None:
        """Return when every part is healthy; raise the error of the first one that is not. There is no time limit."""
        for part in self:
            if part.health is not None:
                await part.health()
