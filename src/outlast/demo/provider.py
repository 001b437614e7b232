"""The payment provider of the demo: a process with an API of its own, which charges once for each idempotency key."""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path
from typing import Literal

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from outlast.demo.ledger import Charge
from outlast.demo.run_files import here

__all__ = ["Book", "BookEntry", "KeyReused", "Statement", "make_app"]

DROP_EVERY, LATE_EVERY, LATE_SECONDS = 12, 20, 3.0


class KeyReused(ValueError):
    """An idempotency key came back with another order or amount."""


class BookEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the record: money taken, or a request that was recognised and took none."""

    what: Literal["charge", "repeat"]
    key: str
    order: str
    cents: int
    at: float


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What `GET /ledger` answers."""

    charges: list[Charge]
    repeats: int


class Book:
    """The record of charges: synced to disk before anything is answered, and read again after a kill."""

    def __init__(self, path: Path) -> None:
        path.touch()
        kept = path.read_bytes()
        # What a kill left of a line was never answered. Cut it off, or the next line would be glued to it.
        whole = kept[: kept.rfind(b"\n") + 1]
        entries = [msgspec.json.decode(line, type=BookEntry) for line in whole.splitlines()]
        self.charges = {entry.key: entry for entry in entries if entry.what == "charge"}
        self.repeats = sum(entry.what == "repeat" for entry in entries)
        self._file = path.open("r+b", buffering=0)
        self._file.truncate(len(whole))
        self._file.seek(len(whole))

    def charge(self, key: str, order: str, cents: int, *, now: float) -> tuple[BookEntry, bool]:
        """Return the charge for `key`, and whether it is new. Raise KeyReused when `key` stands for something else."""
        known = self.charges.get(key)
        if known is not None:
            if (known.order, known.cents) != (order, cents):
                raise KeyReused(f"key {key!r} was used for order {known.order!r} and {known.cents} cents")
            self._append(BookEntry(what="repeat", key=key, order=order, cents=cents, at=now))
            self.repeats += 1
            return known, False
        entry = BookEntry(what="charge", key=key, order=order, cents=cents, at=now)
        self._append(entry)
        self.charges[key] = entry
        return entry, True

    def statement(self) -> Statement:
        """Return all charges, in their order."""
        return Statement(charges=[Charge(e.order, e.cents) for e in self.charges.values()], repeats=self.repeats)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _append(self, entry: BookEntry) -> None:
        self._file.write(msgspec.json.encode(entry) + b"\n")
        os.fsync(self._file.fileno())


class _ChargeRequest(msgspec.Struct, frozen=True, kw_only=True):
    order: str
    cents: int


class _ConnectionDropped(Response):
    """An answer that breaks off in the middle, as when a network fails after the money was taken."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})


def make_app(book: Book, rng: random.Random) -> Starlette:
    """Return the API over `book`: POST /charges, GET /ledger.

    Every 12th charge has its answer broken off and every 20th comes 3 s late, both after the money was taken: the
    caller cannot know, and has to ask again with the same key.
    """

    async def charges(request: Request) -> Response:
        key = request.headers.get("idempotency-key")
        if not key:
            return JSONResponse({"error": "send an Idempotency-Key header"}, 400)
        try:
            wish = msgspec.json.decode(await request.body(), type=_ChargeRequest)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            return JSONResponse({"error": str(error)}, 422)
        await asyncio.sleep(rng.uniform(0.03, 0.12))  # the bank is asked
        try:
            entry, new = book.charge(key, wish.order, wish.cents, now=time.time())
        except KeyReused as error:
            return JSONResponse({"error": str(error)}, 409)
        number = len(book.charges)
        if new and number % DROP_EVERY == 5:
            return _ConnectionDropped()
        if new and number % LATE_EVERY == 11:
            await asyncio.sleep(LATE_SECONDS)
        return JSONResponse({"charge": entry.key, "order": entry.order, "cents": entry.cents}, 201 if new else 200)

    async def ledger(_: Request) -> Response:
        return Response(msgspec.json.encode(book.statement()), media_type="application/json")

    return Starlette(routes=[Route("/charges", charges, methods=["POST"]), Route("/ledger", ledger)])


def main() -> None:
    """Serve the record of the run in the working directory until the process is told to stop."""
    places = here()
    app = make_app(Book(places.charges), random.Random())  # noqa: S311
    uvicorn.run(app, host="127.0.0.1", port=places.provider, log_level=100, access_log=False, lifespan="off")


if __name__ == "__main__":
    main()
