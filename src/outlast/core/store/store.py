"""The store that one URL names: a broker, and the parts beside it that it has."""

from __future__ import annotations

from typing import Final, NoReturn, Protocol

from outlast.core.errors import ConfigurationError
from outlast.core.registry import Registry
from outlast.core.store.broker import Broker
from outlast.core.store.control import Control
from outlast.core.store.records import Records
from outlast.core.store.schedules import Schedules

__all__ = ["CompleteStore", "Store"]


class CompleteStore(Broker, Records, Control, Schedules, Protocol):
    """One object that is a broker and all the parts."""


class Store:
    """A broker, which may be a transport alone, and the parts beside it; asking for a missing part raises.

    url: shown in errors, without a password. The broker's `open` and `close` open and close the parts too.
    """

    __slots__ = ("_control", "_records", "_schedules", "broker", "url")

    def __init__(
        self,
        broker: Broker,
        *,
        records: Records | None = None,
        control: Control | None = None,
        schedules: Schedules | None = None,
        url: str,
    ) -> None:
        self.broker: Final = broker
        self.url: Final = url
        self._records: Final = records
        self._control: Final = control
        self._schedules: Final = schedules

    @classmethod
    def of(cls, store: CompleteStore, url: str) -> Store:
        """Return the store whose broker and parts are one object."""
        return cls(store, records=store, control=store, schedules=store, url=url)

    @property
    def records(self) -> Records:
        """What looks at jobs; raise ConfigurationError where the store has none."""
        return self._records or self._refuse("keeps no records of jobs (status, result, lists)")

    @property
    def control(self) -> Control:
        """What changes jobs and queues; raise ConfigurationError where the store has none."""
        return self._control or self._refuse("takes no commands (cancel, redrive, pause)")

    @property
    def schedules(self) -> Schedules:
        """What keeps schedules; raise ConfigurationError where the store has none."""
        return self._schedules or self._refuse("keeps no schedules")

    def keeps_schedules(self) -> bool:
        """Tell whether schedules can be declared."""
        return self._schedules is not None

    async def declare(self, registry: Registry) -> None:
        """Declare an app's queues at the broker; raise ConfigurationError for what this store cannot keep."""
        if registry.schedules and self._schedules is None:
            self._refuse("keeps no schedules", f"schedule {min(registry.schedules)!r}: ")
        await self.broker.declare(registry.topology())

    def _refuse(self, lack: str, subject: str = "") -> NoReturn:
        raise ConfigurationError(f"{subject}the store of {self.url} {lack}: add store='redis://...'")
