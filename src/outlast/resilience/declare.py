"""The `guard` method of an app: it makes a guard and keeps it by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outlast.core.durations import Duration
from outlast.core.guards.policies import Breaker, Bulkhead, Fallback, Timeout
from outlast.core.policy import Retry

if TYPE_CHECKING:
    from outlast.core.registry import Registry
    from outlast.resilience.guard import Guard
    from outlast.resilience.ports import GuardSharing
    from outlast.resilience.settings import BudgetSetting, Key

__all__ = ["GuardsMixin"]


class GuardsMixin:
    """The base of an app that has guards."""

    if TYPE_CHECKING:

        @property
        def registry(self) -> Registry:
            """The declarations of the app."""

        def _wired(self) -> Any:
            """Return the `Wiring` of the app, which is above this package."""

    def guard(
        self,
        name: str,
        *,
        timeout: Timeout | Duration | None = None,
        retry: Retry | int | None = None,
        budget: BudgetSetting = "default",
        breaker: Breaker | bool | None = None,
        bulkhead: Bulkhead | int | None = None,
        fallback: Fallback | None = None,
        key: Key | None = None,
        max_keys: int = 10_000,
        idempotent: bool = False,
    ) -> Guard:
        """Declare a guard: the policies around one dependency (see `outlast.Guard`). Does no I/O.

        Raise ConfigurationError for a setting that cannot work, and for a second guard of this name.
        """
        from outlast.resilience.guard import Guard  # imports asyncio, which declarations do not need

        guard = Guard(
            name,
            timeout=timeout,
            retry=retry,
            budget=budget,
            breaker=breaker,
            bulkhead=bulkhead,
            fallback=fallback,
            key=key,
            max_keys=max_keys,
            idempotent=idempotent,
            sharing=self._guard_sharing,
        )
        self.registry.add_guard(guard)
        return guard

    def _guard_sharing(self) -> GuardSharing | None:
        """Return the link to the other processes, None where they cannot reach the store of the app."""
        link: GuardSharing | None = self._wired().guard_link
        return link
