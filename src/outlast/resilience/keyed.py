"""The breakers and bulkheads of a keyed guard: one of each for every key, and a bounded number of keys."""

from __future__ import annotations

import inspect
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final
from weakref import WeakKeyDictionary

from outlast.core.errors import ConfigurationError
from outlast.core.text import shown
from outlast.resilience.lane import Lane
from outlast.resilience.settings import Key

__all__ = ["KeyOf", "Lanes"]

LOOKS: Final = 16
"""The oldest keys that are looked at to make room for a new one."""

_logger = logging.getLogger("outlast.guards")


class Lanes:
    """Finds or makes the lane of a key, and drops the one that was used longest ago beyond `most` keys.

    Only a lane that is closed and idle is dropped, or the next call to a dependency that is down would be made. A new
    key that finds no room shares one lane, without a breaker, with the others of this kind: what is kept is bounded.
    """

    def __init__(self, name: str, most: int, make: Callable[..., Lane], make_rest: Callable[[], Lane]) -> None:
        self._name = name
        self._most = most
        self._make = make
        self._lanes: OrderedDict[Hashable, Lane] = OrderedDict()
        self._rest = make_rest()
        self._lock = threading.RLock()
        self._told = False

    def __len__(self) -> int:
        return len(self._lanes)

    def take(self, key: Hashable) -> Lane:
        """Return the lane of a key, which is kept until `give_back`. Raise ConfigurationError if it cannot be kept."""
        refused = False
        with self._lock:
            try:
                lane = self._lanes.get(key)
            except TypeError as error:
                raise ConfigurationError(
                    f"guard {self._name!r}: the key {shown(key)} cannot be kept ({error}): give text, a number or a "
                    "tuple of these"
                ) from None
            if lane is not None:
                self._lanes.move_to_end(key)
            elif len(self._lanes) < self._most or self._made_room():
                lane = self._lanes[key] = self._make(key=key)
            else:
                lane = self._rest
                refused, self._told = not self._told, True
            lane.users += 1
        if refused:  # without the lock: a handler of the log has one too
            self._tell()
        return lane

    def give_back(self, lane: Lane) -> None:
        """Allow the lane to be dropped again."""
        with self._lock:
            lane.users -= 1

    def peek(self, key: Hashable) -> Lane | None:
        """Return the lane of a key if it has one; it does not count as used."""
        return self._lanes.get(key)

    def _made_room(self) -> bool:
        for _ in range(min(LOOKS, len(self._lanes))):
            key, lane = next(iter(self._lanes.items()))
            if not lane.users and lane.idle():
                del self._lanes[key]
                return True
            self._lanes.move_to_end(key)
        return False

    def _tell(self) -> None:
        _logger.warning(
            "guard %r has max_keys=%d keys that are open or in use: further keys have no breaker until one is closed "
            "and idle (raise max_keys)",
            self._name,
            self._most,
        )


class KeyOf:
    """Returns the key of a call, by the `key` setting of a guard."""

    def __init__(self, name: str, key: Key) -> None:
        self._name = name
        self._key = key
        # Where the parameter is, in known functions. Of a method `self` is not counted, of the same function it is.
        self._places: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._places_in_methods: WeakKeyDictionary[Any, int] = WeakKeyDictionary()

    def __call__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        """Return the key; raise ConfigurationError if there is no such parameter, TypeError as a call does."""
        if not isinstance(self._key, str):
            return self._key(*args, **kwargs)
        if self._key in kwargs:
            named: Hashable = kwargs[self._key]
            return named
        place = self._place(function)
        if 0 <= place < len(args):
            found: Hashable = args[place]
            return found
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        value: Hashable = bound.arguments[self._key]
        return value

    def check(self, function: Callable[..., Any]) -> None:
        """Raise ConfigurationError when the key is the name of a parameter that the function does not have."""
        if isinstance(self._key, str):
            self._place(function)

    def _place(self, function: Callable[..., Any]) -> int:
        """Return the position of the parameter among the arguments; -1 if it is only given by name."""
        method = getattr(function, "__func__", None)
        places, plain = (self._places, function) if method is None else (self._places_in_methods, method)
        try:
            known = places.get(plain)
            if known is None:
                known = places[plain] = self._place_in(function)
        except TypeError:  # it cannot be referred to weakly
            return self._place_in(function)
        return known

    def _place_in(self, function: Callable[..., Any]) -> int:
        parameters = inspect.signature(function).parameters
        if self._key not in parameters:
            names = ", ".join(parameters) or "none"
            raise ConfigurationError(
                f"guard {self._name!r}: key={self._key!r} names no parameter of the call; there are {names}: give one "
                "of them, or a function that gets the arguments"
            )
        named = parameters[str(self._key)]
        if named.kind not in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD):
            return -1
        return list(parameters).index(str(self._key))
