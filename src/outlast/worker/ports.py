"""What the worker needs from the app around it, in words of its own: the parts below never import the app."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any, Protocol

from msgspec import Raw

from outlast.core.clock import Clock
from outlast.core.events import Event, Observers
from outlast.core.message import Message
from outlast.core.registry import Declaration, Registry
from outlast.core.store.store import Store
from outlast.declare.options import Options
from outlast.settings import Settings

__all__ = ["ArgumentsPort", "ComposerPort", "RuntimePort"]


class ArgumentsPort(Protocol):
    """One kind's arguments: checked on the way in, decoded on the way to the handler."""

    @property
    def redacted(self) -> tuple[str, ...]:
        """Names of the arguments that nothing may show."""
        ...

    def load(self, raw: Raw) -> dict[str, Any]:
        """Return the arguments by name; raise InvalidArguments."""
        ...

    def secrets(self, values: dict[str, Any]) -> tuple[str, ...]:
        """Return the texts that must not be shown."""
        ...

    def dump_result(self, value: Any) -> Raw | None:
        """Return a handler's value as JSON, None for none; raise when it has no JSON form."""
        ...


class ComposerPort(Protocol):
    """One app without its store."""

    @property
    def settings(self) -> Settings:
        """What was set from outside."""
        ...

    @property
    def registry(self) -> Registry:
        """What the app declared."""
        ...

    @property
    def clock(self) -> Clock:
        """Its two clocks."""
        ...

    @property
    def rng(self) -> Random:
        """Its dice, for jitter."""
        ...

    @property
    def arguments(self) -> Mapping[str, ArgumentsPort]:
        """By kind."""
        ...


class RuntimePort(ComposerPort, Protocol):
    """One wired app."""

    @property
    def app_name(self) -> str:
        """The app's name."""
        ...

    @property
    def store(self) -> Store:
        """Where its jobs are."""
        ...

    @property
    def observers(self) -> Observers:
        """Who is told what happened."""
        ...

    def message(
        self, declaration: Declaration, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
    ) -> Message:
        """Return the checked message of a call; nothing is stored."""
        ...

    def emit(self, event: Event) -> None:
        """Tell every observer; never raises."""
        ...
