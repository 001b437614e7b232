"""The store of one URL: a broker, and the parts that it has beside the broker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn, Protocol

from outlast.core.registry import Registry
from outlast.core.store.broker import Broker
from outlast.core.store.control import Control
from outlast.core.store.exchanges import Exchanges
from outlast.core.store.features import check_declared, refusal
from outlast.core.store.guards import Guards
from outlast.core.store.history import History
from outlast.core.store.inbox import Inbox
from outlast.core.store.records import Records
from outlast.core.store.schedules import Schedules
from outlast.core.store.totals import Totals

__all__ = ["CompleteStore", "Store"]


class CompleteStore(Broker, Records, Control, Schedules, Guards, Exchanges, Totals, History, Protocol):
    """One object that is a broker and all the parts."""


class Store:
    """A broker, which may be only a transport, and the parts beside it; access to a missing part raises.

    ask: asks for something small, raises StoreError without an answer; None: a record or a count is asked for.
    url: shown in errors, without a password. `open` and `close` of the broker open and close the parts too.
    """

    __slots__ = (
        "_ask",
        "_control",
        "_exchanges",
        "_guards",
        "_history",
        "_records",
        "_schedules",
        "_totals",
        "broker",
        "inbox",
        "url",
    )

    def __init__(
        self,
        broker: Broker,
        *,
        records: Records | None = None,
        control: Control | None = None,
        schedules: Schedules | None = None,
        guards: Guards | None = None,
        exchanges: Exchanges | None = None,
        totals: Totals | None = None,
        history: History | None = None,
        inbox: Inbox | None = None,
        ask: Callable[[], Awaitable[None]] | None = None,
        url: str,
    ) -> None:
        self.broker: Final = broker
        self.url: Final = url
        self._records: Final = records
        self._control: Final = control
        self._schedules: Final = schedules
        self._guards: Final = guards
        self._exchanges: Final = exchanges
        self._ask: Final = ask
        self._totals: Final = totals
        self._history: Final = history
        self.inbox: Final = inbox
        """What a worker moves into the store; None where no server routes events to queues of the app."""

    @classmethod
    def of(cls, store: CompleteStore, url: str) -> Store:
        """Return the store whose broker and parts are one object."""
        return cls(
            store,
            records=store,
            control=store,
            schedules=store,
            guards=store,
            exchanges=store,
            totals=store,
            history=store,
            url=url,
        )

    def bridged(self, broker: Broker, exchanges: Exchanges, inbox: Inbox) -> Store:
        """Return this store with exchanges that a server routes, and the broker that declares both."""
        return self.having(broker=broker, exchanges=exchanges, inbox=inbox)

    def having(self, **parts: Any) -> Store:
        """Return this store with other parts, by the names of the arguments of Store."""
        own = {
            "broker": self.broker,
            "records": self._records,
            "control": self._control,
            "schedules": self._schedules,
            "guards": self._guards,
            "exchanges": self._exchanges,
            "totals": self._totals,
            "history": self._history,
            "inbox": self.inbox,
            "ask": self._ask,
            "url": self.url,
        }
        return Store(**{**own, **parts})

    @property
    def records(self) -> Records:
        """The part that reads records; raise ConfigurationError where the store has none."""
        return self._records or self._refuse("keeps no records of jobs (status, result, lists)")

    def keeps_records(self) -> bool:
        """Tell whether it keeps records of jobs; one that does not knows only the queues that it is told of."""
        return self._records is not None

    @property
    def control(self) -> Control:
        """The part that applies commands; raise ConfigurationError where the store has none."""
        return self._control or self._refuse("takes no commands (cancel, redrive, pause)")

    @property
    def schedules(self) -> Schedules:
        """The part that keeps schedules; raise ConfigurationError where the store has none."""
        return self._schedules or self._refuse("keeps no schedules")

    def keeps_schedules(self) -> bool:
        """Tell whether schedules can be declared."""
        return self._schedules is not None

    @property
    def guards(self) -> Guards:
        """The part that keeps the state of guards; raise ConfigurationError where the store has none."""
        return self._guards or self._refuse("shares no guards between processes")

    def shares_guards(self) -> bool:
        """Tell whether processes can share the state of guards; where not, each has its own."""
        return self._guards is not None and self.broker.capabilities.shared

    @property
    def exchanges(self) -> Exchanges:
        """The part that publishes events through exchanges; raise ConfigurationError where the store has none."""
        return self._exchanges or self._refuse("has no exchanges")

    def keeps_exchanges(self) -> bool:
        """Tell whether exchanges can be declared."""
        return self._exchanges is not None

    @property
    def totals(self) -> Totals:
        """The part that counts ended jobs; raise ConfigurationError where the store has none."""
        return self._totals or self._refuse("counts no ended jobs (totals)")

    def keeps_totals(self) -> bool:
        """Tell whether it counts ended jobs; a transport does not."""
        return self._totals is not None

    @property
    def history(self) -> History:
        """The part that keeps samples, journal and costs; raise ConfigurationError where the store has none."""
        return self._history or self._refuse("keeps no history")

    def keeps_history(self) -> bool:
        """Tell whether samples, journal and costs are kept."""
        return self._history is not None

    async def declare(self, registry: Registry) -> None:
        """Declare an app's queues and exchanges; raise ConfigurationError for a declaration that the store can't keep.

        A store without the part `exchanges` refuses a declared exchange.
        """
        if registry.schedules and self._schedules is None:
            self._refuse("keeps no schedules", f"schedule {min(registry.schedules)!r}")
        if registry.exchanges and self._exchanges is None:
            self._refuse("has no exchanges", f"exchange {min(registry.exchanges)!r}")
        offered = self.broker.capabilities
        check_declared(registry, offered.features, self.url, offered.longest_run)
        await self.broker.declare(registry.topology())

    async def check(self) -> None:
        """Ask the store for something small; raise StoreError when it does not answer."""
        if self._ask is not None:
            await self._ask()
        elif self._records is not None:
            await self._records.get(["health.none"])
        else:
            await self.broker.stats(["health"])

    def _refuse(self, lack: str, subject: str = "") -> NoReturn:
        raise refusal(subject, lack, self.url)
