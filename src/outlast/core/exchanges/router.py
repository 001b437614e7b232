"""The router: which queues get a copy of an event, by the rules of RabbitMQ 3.10."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from outlast.core.errors import ConfigurationError
from outlast.core.exchanges.explain import Explanation, explained
from outlast.core.exchanges.header_pairs import HeaderIndex
from outlast.core.exchanges.topics import TopicTrie
from outlast.core.exchanges.values import Binding, Exchange, ExchangeType, HeaderValue
from outlast.core.text import shown

__all__ = ["STEP", "Router"]

NO_HEADERS: Final[Mapping[str, HeaderValue]] = {}
MOST_NAMED: Final = 10
"""The most exchanges that an error names."""
STEP: Final = 200
"""Entries that one step of a compilation makes: two or three milliseconds."""


class Router:
    """Exchanges with their bindings, compiled once. Pure; `tests/stores/rabbitmq` compares it with the server.

    A binding to an exchange that is not given is left out: the store may know it before it knows the exchange.
    """

    __slots__ = ("_declared", "_exchanges", "_matchers")

    def __init__(self, exchanges: Iterable[Exchange], bindings: Iterable[Binding]) -> None:
        self._exchanges = {each.name: each for each in exchanges}
        self._declared: dict[str, list[Binding]] = defaultdict(list)
        self._matchers: dict[str, _Matcher] = {}
        for _ in self._compile(bindings):
            pass

    @classmethod
    def in_steps(cls, exchanges: Iterable[Exchange], bindings: Iterable[Binding]) -> Generator[None, None, Router]:
        """Make a router, and yield after each STEP entries: 10,000 bindings at once would stop a loop for 0.2 s."""
        router = cls(exchanges, ())
        for number, _ in enumerate(router._compile(bindings), start=1):
            if number % STEP == 0:
                yield
        return router

    def _compile(self, bindings: Iterable[Binding]) -> Iterator[None]:
        """Take all bindings, and yield after each entry."""
        for binding in bindings:
            self._declared[binding.exchange].append(binding)
        for name, exchange in self._exchanges.items():
            matcher = self._matchers[name] = _MATCHERS[exchange.type]()
            yield from matcher.fill(_by_queue(self._declared.get(name, ())))

    def exchange(self, name: str) -> Exchange:
        """Return the exchange of this name; raise ConfigurationError if it is not known."""
        if (found := self._exchanges.get(name)) is None:
            raise self._unknown(name)
        return found

    def route(self, exchange: str, key: str, headers: Mapping[str, HeaderValue] = NO_HEADERS) -> tuple[Binding, ...]:
        """Return the bindings that take an event, one for each queue, by the name of the queue.

        Of several bindings of a queue that match, it is the one that was given first. Raise ConfigurationError for an
        exchange that is not known.
        """
        if (matcher := self._matchers.get(exchange)) is None:
            raise self._unknown(exchange)
        return matcher.match(key, headers)

    def explain(
        self, exchange: str, key: str, headers: Mapping[str, HeaderValue] = NO_HEADERS
    ) -> tuple[Explanation, ...]:
        """Return for each binding of the exchange, by the name of its queue, whether it takes an event and why.

        Raise ConfigurationError for an exchange that is not known.
        """
        found = self.exchange(exchange)
        return explained(found.type, _by_queue(self._declared.get(exchange, ())), key, headers)

    def _unknown(self, name: str) -> ConfigurationError:
        known = ", ".join(map(repr, sorted(self._exchanges)[:MOST_NAMED])) or "none"
        return ConfigurationError(
            f"exchange {shown(name)} is not declared (known: {known}): declare it with app.exchange(...), and let a "
            "process of that app open the store once"
        )


class _Matcher(Protocol):
    def fill(self, bindings: Sequence[Binding]) -> Iterator[None]:
        """Add bindings, as `_by_queue` returns them, once; yield after each entry."""

    def match(self, key: str, headers: Mapping[str, HeaderValue]) -> tuple[Binding, ...]: ...


def _by_queue(bindings: Iterable[Binding]) -> list[Binding]:
    """Return bindings by the name of their queue, those of one queue in the order in which they were given."""
    return sorted(bindings, key=lambda each: each.queue)


def _first_of_each_queue(bindings: Sequence[Binding], matching: Iterable[int]) -> tuple[Binding, ...]:
    """Return one binding for each queue. bindings: as `_by_queue` returns them; matching: places in them."""
    chosen: list[Binding] = []
    for place in sorted(matching):
        _add_first(chosen, bindings[place])
    return tuple(chosen)


def _add_first(chosen: list[Binding], binding: Binding) -> None:
    """Add a binding unless one of its queue, which would be the last, is there."""
    if not chosen or chosen[-1].queue != binding.queue:
        chosen.append(binding)


class _Fanout:
    __slots__ = ("_all",)

    def __init__(self) -> None:
        self._all: list[Binding] = []

    def fill(self, bindings: Sequence[Binding]) -> Iterator[None]:
        for binding in bindings:
            _add_first(self._all, binding)
            yield

    def match(self, key: str, headers: Mapping[str, HeaderValue]) -> tuple[Binding, ...]:
        return tuple(self._all)


class _Direct:
    __slots__ = ("_by_key",)

    def __init__(self) -> None:
        self._by_key: dict[str, list[Binding]] = {}

    def fill(self, bindings: Sequence[Binding]) -> Iterator[None]:
        for binding in bindings:
            _add_first(self._by_key.setdefault(binding.key, []), binding)
            yield

    def match(self, key: str, headers: Mapping[str, HeaderValue]) -> tuple[Binding, ...]:
        return tuple(self._by_key.get(key, ()))


class _Topic:
    __slots__ = ("_bindings", "_trie")

    def __init__(self) -> None:
        self._bindings: Sequence[Binding] = ()
        self._trie = TopicTrie()

    def fill(self, bindings: Sequence[Binding]) -> Iterator[None]:
        self._bindings = bindings
        for place, binding in enumerate(bindings):
            self._trie.add(place, binding.key)
            yield

    def match(self, key: str, headers: Mapping[str, HeaderValue]) -> tuple[Binding, ...]:
        return _first_of_each_queue(self._bindings, self._trie.match(key))


class _Headers:
    __slots__ = ("_bindings", "_index")

    def __init__(self) -> None:
        self._bindings: Sequence[Binding] = ()
        self._index = HeaderIndex()

    def fill(self, bindings: Sequence[Binding]) -> Iterator[None]:
        self._bindings = bindings
        yield from self._index.fill(binding.arguments for binding in bindings)

    def match(self, key: str, headers: Mapping[str, HeaderValue]) -> tuple[Binding, ...]:
        return _first_of_each_queue(self._bindings, self._index.match(headers))


_MATCHERS: Mapping[ExchangeType, Callable[[], _Matcher]] = {
    "direct": _Direct,
    "topic": _Topic,
    "fanout": _Fanout,
    "headers": _Headers,
}
