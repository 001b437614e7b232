"""Which deliveries of a channel are not settled, and the fewest acknowledgements that settle some of them."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

__all__ = ["Settling", "UnsettledTags"]


class Settling(Struct, frozen=True):
    """What to write for one call. cumulative: the tag up to which all that is open is settled at once, 0 for none.

    single: the tags that are settled one by one. lost: the tags that were never delivered here.
    """

    cumulative: int = 0
    single: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()


class UnsettledTags:
    """The delivery tags of one channel, which the server counts from 1."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._lowest = 1  # all below it are settled
        self._highest = 0

    def __len__(self) -> int:
        return len(self._open)

    def delivered(self, tag: int) -> None:
        """Note a delivery."""
        self._open.add(tag)
        self._highest = tag

    def settle(self, tags: Iterable[int]) -> Settling:
        """Settle these tags; one that was settled before is left out, so settling again changes nothing.

        A cumulative acknowledgement settles all that is open up to its tag: it is used only as far as nothing else is.
        """
        wanted = set(tags)
        lost = tuple(sorted(tag for tag in wanted if not 0 < tag <= self._highest))
        now = wanted & self._open
        self._open -= now
        while self._lowest <= self._highest and self._lowest not in self._open:
            self._lowest += 1
        below = [tag for tag in now if tag < self._lowest]
        if len(below) > 1:
            return Settling(max(below), tuple(sorted(now.difference(below))), lost)
        return Settling(0, tuple(sorted(now)), lost)
