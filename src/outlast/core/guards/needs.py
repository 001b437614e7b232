"""Which guards a queue needs: the names that are given, and the checks that need all declarations of an app."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from outlast.core.bounds import plain_text
from outlast.core.errors import ConfigurationError
from outlast.core.ids import fits
from outlast.core.kinds import KIND_NAME
from outlast.core.text import shown

if TYPE_CHECKING:
    from outlast.core.guards.permits import PermitsInUse
    from outlast.core.guards.policies import Breaker

__all__ = ["DeclaredGuard", "Named", "NeedsOf", "guard_names", "settled_needs"]


class Named(Protocol):
    """Something with a name, such as a guard."""

    @property
    def name(self) -> str:
        """The name."""
        ...


class DeclaredGuard(Named, Protocol):
    """What the declarations of an app need to know of a guard."""

    @property
    def breaker(self) -> Breaker | None:
        """The policy of its breaker, None if it never opens."""
        ...

    @property
    def keyed(self) -> bool:
        """Whether it has a breaker for each key."""
        ...

    def permits_in_use(self, process: str) -> PermitsInUse | None:
        """Return the permits of its bulkhead that are in use in this process, None if it has none, or one for each key.

        process: how this process is called.
        """
        ...


class NeedsOf(Protocol):
    """A kind of job, as far as its guards go."""

    @property
    def kind(self) -> str:
        """The name of the kind."""
        ...

    @property
    def queue(self) -> str:
        """The queue of its jobs."""
        ...

    @property
    def guards(self) -> tuple[str, ...] | None:
        """The guards that it declares to need; None if it says nothing."""
        ...


def guard_names(needs: object, owner: str) -> tuple[str, ...]:
    """Return the names of guards that are given as guards or as names, each once; raise ConfigurationError."""
    if isinstance(needs, str) or not isinstance(needs, Iterable):
        raise ConfigurationError(f"{owner}: needs={shown(needs)}: give a list of guards, such as needs=[payments]")
    names: dict[str, None] = {}
    for each in needs:
        name = each if isinstance(each, str) else getattr(each, "name", None)
        if not isinstance(name, str) or not fits(KIND_NAME, name):
            raise ConfigurationError(
                f"{owner}: needs={shown(each)}: give guards of the app (payments = shop.guard('payments', ...)), or "
                "their names"
            )
        names[plain_text(name)] = None
    return tuple(names)


def settled_needs(
    queues: Mapping[str, Sequence[str]], kinds: Iterable[NeedsOf], guards: Mapping[str, DeclaredGuard]
) -> dict[str, tuple[str, ...]]:
    """Return the guards that each queue needs, by its name, for those that need any.

    queues: what each queue declares itself; where it is nothing, it is what its kinds declare, if all declare the same.
    Raise ConfigurationError where they differ, and for a guard that cannot hold a queue.
    """
    settled = {name: tuple(needs) for name, needs in queues.items() if needs}
    of_queue: dict[str, list[NeedsOf]] = {}
    for kind in kinds:
        of_queue.setdefault(kind.queue, []).append(kind)
    for queue, members in of_queue.items():
        declaring = [kind for kind in members if kind.guards is not None]
        if not declaring:
            continue
        if queue in settled:
            _check_same(queue, settled[queue], declaring)
            continue
        first = max(declaring, key=lambda kind: len(kind.guards or ()))
        for other in members:
            if set(other.guards or ()) != set(first.guards or ()):
                raise _different(queue, first, other)
        if first.guards:
            settled[queue] = first.guards
    for queue, needs in settled.items():
        for name in needs:
            _check_guard(queue, name, guards)
    return settled


def _check_same(queue: str, needs: tuple[str, ...], kinds: Iterable[NeedsOf]) -> None:
    for kind in kinds:
        if set(kind.guards or ()) != set(needs):
            raise ConfigurationError(
                f"job {kind.kind!r} needs {_listed(kind.guards)}, and its queue {queue!r} needs {_listed(needs)}: a "
                "queue waits as a whole: give the job a queue of its own with queue=..., or leave out its needs="
            )


def _different(queue: str, one: NeedsOf, other: NeedsOf) -> ConfigurationError:
    return ConfigurationError(
        f"job {one.kind!r} needs {_listed(one.guards)}, and job {other.kind!r} of the same queue {queue!r} needs "
        f"{_listed(other.guards)}: a queue waits as a whole: give one of them a queue of its own with queue=..."
    )


def _check_guard(queue: str, name: str, guards: Mapping[str, DeclaredGuard]) -> None:
    guard = guards.get(name)
    where = f"queue {queue!r} needs guard {name!r}"
    if guard is None:
        known = ", ".join(sorted(guards)) or "none"
        raise ConfigurationError(
            f"{where}, which this app does not declare (declared: {known}): correct the name, or declare it with "
            f"shop.guard({name!r}, breaker=True)"
        )
    if guard.breaker is None:
        raise ConfigurationError(f"{where}, which has no breaker and never opens: declare it with breaker=True")
    if guard.keyed:
        raise ConfigurationError(
            f"{where}, which has a breaker for each key: a queue waits as a whole: declare another guard without key="
        )


def _listed(names: Sequence[str] | None) -> str:
    return ", ".join(map(repr, names)) if names else "none"
