"""A declared schedule, ready to fire: its entry for the store, its ticks, and the message of each run."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final, Protocol

import msgspec

from outlast.core.codec import scrub
from outlast.core.errors import ConfigurationError, OutlastError
from outlast.core.message import Message
from outlast.core.registry import Declaration, Registry
from outlast.core.schedule import Scheduled, ScheduleEntry, ScheduleRecord, Spec
from outlast.core.spread import tick_id
from outlast.declare.options import Options
from outlast.declare.redaction import is_redacted, texts
from outlast.declare.signature import hints_of, read
from outlast.scheduler.ticks import Ticks

__all__ = ["Compose", "Planned"]


class Compose(Protocol):
    """A function that makes the message of a call, as a Composer does."""

    def __call__(
        self, declaration: Declaration, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
    ) -> Message:
        """Return the message; raise InvalidArguments, BodyTooLarge or ConfigurationError."""
        ...


_PROBE: Final = 0.0


class Planned:
    """A schedule that this process declares. fault: why its message cannot be made, "" when it can."""

    def __init__(self, scheduled: Scheduled, registry: Registry, compose: Compose) -> None:
        self._scheduled = scheduled
        self._declaration = registry.declarations.get(scheduled.kind)
        self._compose = compose
        self._ticks: tuple[Spec, Ticks] | None = None
        self._next: tuple[Spec, float, float | None] | None = None
        self.fault = ""
        body = b""
        try:
            body = bytes(self.message(_PROBE).args)
        except Exception as error:  # user code runs here: the callables of key= and unique=
            self.fault = str(error)
        queue = "" if self._declaration is None else self._declaration.queue
        declared = (scheduled.kind, queue, scheduled.spec, body.decode() or self.fault)
        self.entry: Final = ScheduleEntry(
            name=scheduled.name,
            app=registry.app,
            kind=scheduled.kind,
            queue=queue,
            spec=scheduled.spec,
            version=sha256(msgspec.json.encode(declared)).hexdigest()[:16],
        )

    def message(self, tick: float, *, asked: bool = False) -> Message:
        """Return the message of one run; raise ConfigurationError, or any error of `compose`."""
        if self._declaration is None:
            raise ConfigurationError(
                f"kind {self._scheduled.kind!r} is not declared by this app: include its JobRouter, or remove it"
            )
        name, queue = self._scheduled.name, self._declaration.queue
        options = Options(id=tick_id(queue, name, tick, asked=asked), run_at=tick)
        return self._compose(self._declaration, self._scheduled.args, dict(self._scheduled.kwargs), options)

    def explain(self, error: Exception) -> str:
        """Return the text of an error of `message`, without redacted values: it is stored and logged."""
        if isinstance(error, OutlastError):
            return str(error)
        return scrub(f"{type(error).__name__}: {error}", self._secrets())

    def _secrets(self) -> tuple[str, ...]:
        """Return the texts of all arguments, if one is redacted: an error of a key function may quote any of them."""
        if self._declaration is None:
            return ()
        handler, kind = self._declaration.handler, self._declaration.kind
        hints = hints_of(handler, read(handler), kind)  # cannot fail: the arguments were checked before user code ran
        if not any(is_redacted(hint, inside=True) for hint in hints.values()):
            return ()
        return tuple(texts((*self._scheduled.args, *self._scheduled.kwargs.values()), marked=True))

    def ticks(self, spec: Spec) -> Ticks:
        """Return the ticks of `spec`; raise ConfigurationError when this machine cannot compute them."""
        if self._ticks is None or self._ticks[0] != spec:
            self._ticks = (spec, Ticks(spec, self._scheduled.name))
        return self._ticks[1]

    def next_tick(self, record: ScheduleRecord, begin: float) -> float | None:
        """Return the first tick after `begin`, None when there is none; raise ConfigurationError as `ticks` does."""
        if self._next is None or self._next[:2] != (record.spec, begin):
            self._next = (record.spec, begin, self.ticks(record.spec).after(begin))
        return self._next[2]
