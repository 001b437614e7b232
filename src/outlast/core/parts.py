"""The parts of an app, each with its metrics and its health as data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Literal

from msgspec import Struct

from outlast.core.errors import ConfigurationError

__all__ = ["Metric", "Part", "Parts"]


class Metric(Struct, frozen=True):
    """A number that a part measures. name: lower case, with its unit at the end, such as "wait_seconds"."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for each in (self.name, *self.labels):
            if not (each.isidentifier() and each.isascii() and each == each.lower()):
                raise ConfigurationError(f"metric {each!r}: use lower case letters, digits and '_'")


class Part(Struct, frozen=True):
    """One part of an app. health: returns when the part can work, raises an error otherwise."""

    name: str
    metrics: tuple[Metric, ...] = ()
    health: Callable[[], Awaitable[object]] | None = None


class Parts:
    """The parts that an app has, in the order of their registration."""

    def __init__(self, *parts: Part) -> None:
        self._parts: dict[str, Part] = {}
        for part in parts:
            self.add(part)

    def add(self, part: Part) -> None:
        """Register a part; raise ConfigurationError when its name or the name of a metric is registered already."""
        if part.name in self._parts:
            raise ConfigurationError(f"part {part.name!r} is registered twice")
        names = [metric.name for each in (*self, part) for metric in each.metrics]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigurationError(f"part {part.name!r}: metric {twice[0]!r} is registered twice")
        self._parts[part.name] = part

    def __iter__(self) -> Iterator[Part]:
        return iter(self._parts.values())

    async def check(self) -> None:
        """Return when every part is healthy; raise the error of the first one that is not. There is no time limit."""
        for part in self:
            if part.health is not None:
                await part.health()
