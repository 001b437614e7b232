"""The payment provider of the demo: a process with an HTTP API that charges once per idempotency key."""

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
from outlast.demo.run_files import run_files

__all__ = ["Book", "BookEntry", "KeyReused", "Statement", "make_app"]

DROP_EVERY, LATE_EVERY, LATE_SECONDS = 12, 20, 3.0


class KeyReused(ValueError):
    """An idempotency key was sent again with another order or amount."""


class BookEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the book: a charge, or a repeated request that charged nothing."""

    what: Literal["charge", "repeat"]
    key: str
    order: str
    cents: int
    at: float


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `GET /ledger`."""

    charges: list[Charge]
    repeats: int


class Book:
    """The file of all charges: synced to disk before each answer, and read again after a kill."""

    def __init__(self, path: Path) -> None:
        path.touch()
        kept = path.read_bytes()
        # An incomplete last line was never answered. Remove it, or the next line would be appended to it.
        complete = kept[: kept.rfind(b"\n") + 1]
        entries = [msgspec.json.decode(line, type=BookEntry) for line in complete.splitlines()]
        self.charges = {entry.key: entry for entry in entries if entry.what == "charge"}
        self.repeats = sum(entry.what == "repeat" for entry in entries)
        self._file = path.open("r+b", buffering=0)
        self._file.truncate(len(complete))
        self._file.seek(len(complete))

    def charge(self, key: str, order: str, cents: int, *, now: float) -> tuple[BookEntry, bool]:
        """Return the charge for `key`, and whether it is new. Raise KeyReused for a key with other order or amount."""
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
        """Return all charges in order, and the number of repeats."""
        return Statement(charges=[Charge(e.order, e.cents) for e in self.charges.values()], repeats=self.repeats)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, entry: BookEntry) -> None:
        self._file.write(msgspec.json.encode(entry) + b"\n")
        os.fsync(self._file.fileno())


class _ChargeRequest(msgspec.Struct, frozen=True, kw_only=True):
    order: str
    cents: int


class _ConnectionDropped(Response):
    """An answer that breaks off, as when the network fails after the charge."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})


def make_app(book: Book, rng: random.Random) -> Starlette:
    """Return the API over `book`: POST /charges, GET /ledger.

    The answer of every 12th charge breaks off, and that of every 20th is 3 s late, both after the charge was recorded:
    the caller cannot tell, and has to send the request again with the same key.
    """

    async def charges(request: Request) -> Response:
        key = request.headers.get("idempotency-key")
        if not key:
            return JSONResponse({"error": "send an Idempotency-Key header"}, 400)
        try:
            charge = msgspec.json.decode(await request.body(), type=_ChargeRequest)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            return JSONResponse({"error": str(error)}, 422)
        await asyncio.sleep(rng.uniform(0.03, 0.12))  # the time that a bank would take
        try:
            entry, new = book.charge(key, charge.order, charge.cents, now=time.time())
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
    """Serve the book of the run in the working directory until the process is stopped."""
    files = run_files()
    app = make_app(Book(files.charges), random.Random())  # noqa: S311
    uvicorn.run(app, host="127.0.0.1", port=files.provider, log_level=100, access_log=False, lifespan="off")


if __name__ == "__main__":
    main()
