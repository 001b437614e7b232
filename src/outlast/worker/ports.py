"""Protocols of the app that the worker uses, so that the worker and its parts never import the app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from random import Random
from typing import Any, Protocol

from msgspec import Raw

from outlast.core.clock import Clock
from outlast.core.events import Event, Observers
from outlast.core.message import Message
from outlast.core.registry import Declaration, Registry
from outlast.core.settlement import Published
from outlast.core.store.store import Store
from outlast.core.tracing import Tracing
from outlast.declare.options import Options
from outlast.settings import Settings
from outlast.toolkit.objects.claims import Claims

__all__ = ["ArgumentsPort", "ComposerPort", "RuntimePort"]


class ArgumentsPort(Protocol):
    """The arguments of one kind: checked at enqueue, decoded for the handler."""

    @property
    def redacted(self) -> tuple[str, ...]:
        """Names of the arguments that must not be shown."""
        ...

    def load(self, raw: Raw) -> dict[str, Any]:
        """Return the arguments by name; raise InvalidArguments."""
        ...

    def stored_secrets(self, raw: Raw, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the texts of stored arguments that must not be shown, also of those in `names`; never raises."""
        ...

    def dump_result(self, value: Any) -> Raw | None:
        """Return a handler's value as JSON, None for no result; raise when it would be read changed, or not at all."""
        ...


class ComposerPort(Protocol):
    """One app without its store."""

    @property
    def settings(self) -> Settings:
        """The settings."""
        ...

    @property
    def registry(self) -> Registry:
        """The app's declarations."""
        ...

    @property
    def clock(self) -> Clock:
        """The wall clock and the monotonic clock."""
        ...

    @property
    def rng(self) -> Random:
        """The random numbers for jitter."""
        ...

    @property
    def arguments(self) -> Mapping[str, ArgumentsPort]:
        """The arguments of each kind."""
        ...

    @property
    def claims(self) -> Claims:
        """Where large arguments and results go."""
        ...

    @property
    def tracing(self) -> Tracing | None:
        """What makes the spans of its jobs, None if it is turned off."""
        ...

    def check_progress(self) -> None:
        """Raise ConfigurationError where the store keeps no progress of jobs."""
        ...

    def check_once(self) -> None:
        """Raise ConfigurationError where the store keeps no results of effects."""
        ...


class RuntimePort(ComposerPort, Protocol):
    """One app with its store."""

    @property
    def app_name(self) -> str:
        """The app's name."""
        ...

    @property
    def store(self) -> Store:
        """The store of its jobs."""
        ...

    def in_use(self) -> AbstractContextManager[None]:
        """Keep the store open within the block, also when the code of a job closes the app."""
        ...

    @property
    def observers(self) -> Observers:
        """The receivers of events."""
        ...

    def message(
        self, declaration: Declaration, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
    ) -> Message:
        """Return the checked message of a call. Nothing is stored."""
        ...

    def emit(self, event: Event) -> None:
        """Send the event to every observer; never raises."""
        ...

    def emit_published(self, messages: Sequence[Message], answers: Sequence[Published]) -> None:
        """Tell every observer of the store's answers to a publish; never raises."""
        ...
