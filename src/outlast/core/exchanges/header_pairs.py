"""Headers exchanges: which bindings match the headers of an event, found by an index on their pairs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

from msgspec import Struct

from outlast.core.exchanges.values import HeaderValue

__all__ = ["MATCH", "HeaderIndex", "Pairs", "equal", "pairs_of"]

MATCH: Final = "x-match"
"""The argument of a binding that says how many pairs must match: all, any, all-with-x or any-with-x."""


class Pairs(Struct, frozen=True):
    """What a binding asks of the headers. match: of all pairs, or of any. ignored: names that are not compared.

    No pairs: `all` matches each event, `any` matches none.
    """

    match: Literal["all", "any"]
    pairs: Mapping[str, HeaderValue]
    ignored: tuple[str, ...] = ()


def pairs_of(arguments: Mapping[str, HeaderValue]) -> Pairs:
    """Return what the arguments of a binding ask, as RabbitMQ 3.10 reads them.

    Without `x-match` all pairs must match. Names that begin with `x-` are compared by all-with-x and any-with-x only.
    """
    how = str(arguments.get(MATCH, "all"))
    with_x = how.endswith("-with-x")
    ignored = () if with_x else tuple(name for name in arguments if name.startswith("x-") and name != MATCH)
    pairs = {name: value for name, value in arguments.items() if name != MATCH and name not in ignored}
    return Pairs("any" if how.startswith("any") else "all", pairs, ignored)


def equal(wanted: HeaderValue, value: HeaderValue) -> bool:
    """Tell whether a header has the value that a binding wants: None wants only that the header is there.

    Numbers are compared by value (1 is 1.0, exactly, also beyond 2**53), text by its characters. A bool equals no
    number, and no text equals anything but text.
    """
    if wanted is None:
        return True
    return wanted == value and isinstance(wanted, bool) == isinstance(value, bool)


_Pair = tuple[object, ...]


def _pair(name: str, value: HeaderValue) -> _Pair:
    """Return a pair by which equal ones are found; a bool's is longer, because True and 1 are equal in Python."""
    return (name, value, bool) if isinstance(value, bool) else (name, value)


class HeaderIndex:
    """The arguments of bindings with a number each; `match` returns the numbers of those that match the headers.

    A binding that wants all of its pairs is found by the one that the fewest bindings share, and then compared; one
    that wants any of them is found by each.
    """

    __slots__ = ("_all", "_always", "_any")

    def __init__(self) -> None:
        self._always: list[int] = []
        self._any: dict[_Pair, list[int]] = defaultdict(list)
        self._all: dict[_Pair, list[tuple[int, Mapping[str, HeaderValue]]]] = defaultdict(list)

    def fill(self, arguments: Iterable[Mapping[str, HeaderValue]]) -> Iterator[None]:
        """Add all arguments, numbered from 0, once; each of the steps is as long as the others, two for a binding."""
        asked: list[tuple[Pairs, list[_Pair]]] = []
        shared = Counter[_Pair]()
        for each in arguments:
            pairs = pairs_of(each)
            found_by = [_pair(*pair) for pair in pairs.pairs.items()]
            asked.append((pairs, found_by))
            if pairs.match == "all":
                shared.update(found_by)
            yield
        for number, (pairs, found_by) in enumerate(asked):
            if pairs.match == "any":
                for pair in found_by:
                    self._any[pair].append(number)
            elif found_by:
                self._all[min(found_by, key=shared.__getitem__)].append((number, pairs.pairs))
            else:
                self._always.append(number)
            yield

    def match(self, headers: Mapping[str, HeaderValue]) -> list[int]:
        """Return the numbers of the bindings that match the headers, some perhaps more than once, in no order."""
        matching = list(self._always)
        for name, value in headers.items():
            for pair in {_pair(name, value), (name, None)}:
                matching += self._any.get(pair, ())
                matching += [
                    number
                    for number, pairs in self._all.get(pair, ())
                    if all(each in headers and equal(wanted, headers[each]) for each, wanted in pairs.items())
                ]
        return matching
