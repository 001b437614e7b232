"""The pieces of the toolkit as a customer of the shop finds them, for the page and the terminal."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Literal

import httpx2
import msgspec

__all__ = ["PieceSeen", "ToolkitWatch", "ask_best_sellers", "ask_pieces"]

Change = tuple[Literal["info", "down", "up"], str]
"""An incident to show: its kind and its text."""


class PieceSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the toolkit. side: what it does now, in words. whole: whether it does all that it does."""

    name: str
    whole: bool
    side: str


async def ask_pieces(shop: httpx2.AsyncClient) -> list[PieceSeen]:
    """Return what each piece does now. Raise TransportError."""
    basket = await shop.put("/basket", json={"product": 1})
    once = await shop.post("/pieces", headers={"Idempotency-Key": f'"{uuid.uuid4()}"'})
    found = msgspec.json.decode((await shop.get("/pieces")).content, type=list[PieceSeen])
    return [
        _seen("sessions", basket, f"reads anonymous, writes get {basket.status_code}"),
        _seen("idempotency keys", once, f"closed: orders get {once.status_code}"),
        *found,
    ]


def _seen(name: str, answer: httpx2.Response, side: str) -> PieceSeen:
    return PieceSeen(name=name, whole=answer.is_success, side="whole" if answer.is_success else side)


async def ask_best_sellers(shop: httpx2.AsyncClient) -> dict[str, int]:
    """Return what was sold most, empty if the shop cannot tell. Raise TransportError."""
    answer = await shop.get("/best-sellers")
    return dict(answer.json()) if answer.is_success else {}


class ToolkitWatch:
    """Follows the pieces from one look to the next.

    outages: seconds of the run at which the store was taken away and given back; the last is None while it is away.
    """

    def __init__(self) -> None:
        self.seen: Sequence[PieceSeen] = ()
        self.outages: list[tuple[float, float | None]] = []
        self.recovered: list[float] = []
        """Seconds from each return of the store until every piece was whole."""
        self.sides: dict[str, str] = {}
        """What each piece did that was not whole, by name."""

    @property
    def away(self) -> bool:
        """Whether the store is away."""
        return bool(self.outages) and self.outages[-1][1] is None

    def taken(self, at: float) -> None:
        """Begin an outage."""
        self.outages.append((at, None))

    def given_back(self, at: float) -> None:
        """End the outage."""
        self.outages[-1] = (self.outages[-1][0], at)

    def look(self, pieces: Sequence[PieceSeen], at: float) -> Iterator[Change]:
        """Take what the pieces do at `at` seconds of the run; yield what has changed since the last look."""
        before = {piece.name: piece.whole for piece in self.seen}
        self.seen = pieces
        for piece in pieces:
            if not piece.whole and before.get(piece.name, True):
                self.sides[piece.name] = piece.side
                yield "down", f"{piece.name}: {piece.side}"
        if before and not all(before.values()) and all(piece.whole for piece in pieces):
            yield "up", f"the toolkit is whole again{self._since_return(at)}"

    def _since_return(self, at: float) -> str:
        """Note and tell how long it took; "" if it was a slow answer that looked like an outage."""
        back = self.outages[-1][1] if self.outages else None
        if back is None or len(self.recovered) == len(self.outages):
            return ""
        self.recovered.append(round(max(at - back, 0.0), 1))
        return f", {self.recovered[-1]} s after its store is back"
