"""Outlast: the app object. Declarations fill a registry and do no I/O; the first use connects to the store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal

from outlast.aio.clock import SystemClock
from outlast.brokers.registry import connect
from outlast.core.bounds import plain_text
from outlast.core.durations import Duration
from outlast.core.errors import ConfigurationError
from outlast.core.events import Observers
from outlast.core.guards.needs import Named
from outlast.core.limits import NO_LIMIT, Limit, Rate
from outlast.core.message import Message
from outlast.core.parts import Part, Parts
from outlast.core.policy import DEFAULTS, Retention
from outlast.core.registry import Declaration, Registry
from outlast.core.schedule import Scheduled
from outlast.core.topology import Queue
from outlast.core.unique import OnConflict
from outlast.declare.arguments import Arguments
from outlast.declare.hooks import EventsMixin, LifecycleMixin
from outlast.declare.options import Options
from outlast.enqueue.handle import Handle
from outlast.enqueue.job import AppLink
from outlast.enqueue.publishing import PublishingMixin
from outlast.job import Declarer
from outlast.resilience.declare import GuardsMixin
from outlast.router import JobRouter
from outlast.settings import Settings
from outlast.toolkit.declare import ToolkitMixin

if TYPE_CHECKING:
    from outlast.core.clock import Clock
    from outlast.core.store.store import Store
    from outlast.enqueue.composer import Composer
    from outlast.enqueue.runtime import Runtime
    from outlast.enqueue.wiring import Wiring
    from outlast.testing import Testing

__all__ = ["Outlast"]


class Outlast(PublishingMixin, Declarer, EventsMixin, LifecycleMixin, GuardsMixin, ToolkitMixin):
    """The jobs of one application. name: selects the environment variables: OUTLAST_<NAME>_URL, then OUTLAST_URL.

    Connections open on first use, one per event loop; in a script, `async with shop:` opens and closes them.
    """

    def __init__(self, name: str, *, settings: Settings | None = None) -> None:
        if not str(name).replace("-", "_").isidentifier():
            raise ConfigurationError(f"Outlast({name!r}): name it with letters, digits, '_' or '-', such as 'shop'")
        Settings.check_name(str(name))
        if settings is not None and not isinstance(settings, Settings):
            raise ConfigurationError(f"Outlast({name!r}, settings={settings!r}): give Settings(url=...)")
        self.name: Final = plain_text(name)
        self.registry: Final = Registry(app=self.name)
        self._default_queue, self._told_variables = "default", False
        self._app_link = AppLink(self)
        self.explicit_settings = settings
        """The `settings` argument; None when every setting is read from the environment."""
        self._arguments: dict[str, Arguments] = {}
        self._middleware, self._overrides = self.registry.middleware, self.registry.overrides
        self._on_start, self._on_stop = self.registry.on_start, self.registry.on_stop
        self._observers = Observers()
        self._wiring: Wiring | None = None
        self._wiring_locks: dict[int, Lock] = {}  # by process: a fork copies one that another thread holds
        self.parts: Final = Parts(Part("store", health=self._check_store))

    # Declaring

    def _declare(self, declaration: Declaration, arguments: Arguments) -> None:
        self.registry.add(declaration)
        for kind, version in declaration.kinds.items():
            self._arguments[kind] = arguments.of_version(version, declaration)

    def _schedule(self, scheduled: Scheduled) -> None:
        self.registry.add_schedule(scheduled)

    def include(self, router: JobRouter) -> None:
        """Declare the jobs of a router; raise DuplicateKind, or ConfigurationError if an app includes it already."""
        if not isinstance(router, JobRouter):
            raise ConfigurationError(f"include({router!r}): give a JobRouter(...)")
        router._attach(self)

    def queue(
        self,
        name: str,
        *,
        max_depth: int | None = None,
        max_bytes: int | None = None,
        max_age: Duration | None = None,
        on_full: Literal["reject", "shed"] = "reject",
        concurrency: int | None = None,
        rate: str | Rate | None = None,
        burst: int | None = None,
        per_key: Limit = NO_LIMIT,
        weights: Mapping[str, int] | None = None,
        retention: Retention | None = None,
        needs: Sequence[str | Named] = (),
        max_wait: Duration | None = None,
        objective: Duration = DEFAULTS.objective,
    ) -> Queue:
        """Set the bounds, limits, objective and needed guards of a queue: see `Queue`. Raise ConfigurationError."""
        queue = Queue(
            name=name,
            max_depth=max_depth,
            max_bytes=max_bytes,
            max_age=max_age,
            on_full=on_full,
            concurrency=concurrency,
            rate=rate,
            burst=burst,
            per_key=per_key,
            weights=weights or {},
            retention=retention or Retention(),
            needs=needs,
            max_wait=max_wait,
            objective=objective,
        )
        self.registry.add_queue(queue)
        return queue

    @property
    def settings(self) -> Settings:
        """The settings in use, with the url of the store; raise ConfigurationError for a wrong variable."""
        return self._wired().composer.settings

    @property
    def composer(self) -> Composer:
        """The app without a store: its declarations, settings and clock. A child process needs no more."""
        return self._wired().composer

    def _wired(self) -> Wiring:
        wiring = self._wiring
        if wiring is None:
            settings = Settings.load(self.name, self.explicit_settings)
            with self._wiring_locks.setdefault(os.getpid(), Lock()):  # of the first uses in two threads
                wiring = self._wiring = self._wiring or self._wire(settings, SystemClock(), self._connect)
        return wiring

    def _wire(self, settings: Settings, clock: Clock, connect: Callable[[Settings, Clock], Store]) -> Wiring:
        from outlast.enqueue.composer import Composer
        from outlast.enqueue.wiring import Wiring  # imports asyncio, which declarations do not need
        from outlast.observe.tracing.app_tracing import tracing_of

        name, registry, arguments = self.name, self.registry, self._arguments
        traces = tracing_of(name, settings.traces)
        composer = Composer(
            app_name=name, settings=settings, registry=registry, clock=clock, arguments=arguments, tracing=traces
        )
        return Wiring(composer, self._observers, connect)

    def _connect(self, settings: Settings, clock: Clock) -> Store:
        if not self._told_variables:
            import logging  # not to declare jobs

            self._told_variables = True
            for name, why in Settings.mistaken_variables(self.name, self.explicit_settings).items():
                logging.getLogger("outlast").warning("%s has no effect: %s", name, why)
        return connect(settings.url, clock=clock, max_body=settings.max_body, amqp_url=settings.amqp_url)

    async def runtime(self) -> Runtime:
        """Return the Runtime of the running loop, with the store open and the queues declared; raise StoreError."""
        return await self._wired().connections.get()

    async def _check_store(self) -> None:
        """Raise StoreError when the store does not answer."""
        await (await self.runtime()).store.check()

    async def close(self) -> None:
        """Close the connections of the running loop, unless a worker uses it, and of `enqueue_sync`; uses reopen."""
        if self._wiring is None:
            return
        from outlast.aio.portal import portal

        await self._wiring.close()
        await portal().visit(self._wiring.close_unless_shared)

    async def __aenter__(self) -> Outlast:
        try:
            await self.runtime()
        except BaseException:
            await self.close()  # the store may be open and have refused a declaration
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Enqueueing

    def compose(
        self, declaration: Declaration, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
    ) -> Message:
        """Return the message of a call; see `job.message`."""
        return self._wired().composer.message(declaration, args, kwargs, options)

    async def send(self, messages: Sequence[Message], on_conflict: OnConflict = "existing") -> list[Handle[Any]]:
        """Publish messages in one step; return their handles in order. Raise as `enqueue` does."""
        answers, durability = await self._wired().publish(messages)
        if on_conflict == "raise":
            from outlast.enqueue.answers import raise_conflict

            raise_conflict(messages, answers)
        handles: list[Handle[Any]] = []  # a comprehension costs a single enqueue 2% more
        for message, answer in zip(messages, answers, strict=True):
            handles.append(Handle.of(message, answer, self.runtime, durability))
        return handles

    def send_sync(self, messages: Sequence[Message], on_conflict: OnConflict = "existing") -> list[Handle[Any]]:
        """Publish from blocking code; raise WrongThread on a thread that runs an event loop."""
        return self._from_blocking_code(lambda: self.send(messages, on_conflict))

    async def enqueue_many(
        self, messages: Iterable[Message], *, on_conflict: Literal["existing", "raise"] = "existing"
    ) -> list[Handle[Any]]:
        """Store messages (`job.message(...)`) in batches of 1,000, each in one step; return their handles in order.

        Raise as `enqueue` does. on_conflict="raise" raises for a held unique key, regardless of the declaration
        ("replace" is an option of each message). Messages stored before an error stay: any error, of the iterable too,
        has `stored`, the ids of the stored jobs in order, and `unstored`, the messages that were taken from the
        iterable and are not known to be stored. A message keeps its id, so the same messages may be sent again after an
        error, EnqueueUnknown included: those already stored return handles with `created=False`.
        """
        if on_conflict not in ("existing", "raise"):
            raise ConfigurationError(
                f"enqueue_many: on_conflict={on_conflict!r}: give 'existing' or 'raise'; to replace, make the "
                "messages with job.with_options(on_conflict='replace')"
            )
        from outlast.enqueue.bulk import send_all

        return await send_all(messages, lambda batch: self.send(batch, on_conflict), self._wired().composer.latest)

    def handle(self, job_id: str) -> Handle[Any]:
        """Return the handle of any job in this app's store; raise InvalidArguments when `job_id` is not an id."""
        return Handle(job_id, self.runtime)

    def testing(self) -> Testing:
        """Keep jobs in memory, with a clock that the test moves: `with shop.testing() as t:` or `async with`."""
        from outlast.testing import Testing

        return Testing(self)

    def __repr__(self) -> str:
        return f"Outlast({self.name!r})"
