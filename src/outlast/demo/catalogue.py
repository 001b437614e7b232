"""The database of the order shop: products with their stock, and the orders that took from it. An SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from pydantic import BaseModel

from outlast import fence_condition

__all__ = ["PRODUCTS", "Account", "Catalogue", "OrderRow", "Product", "StockWrite"]

PRODUCTS = (
    ("Espresso machine", 24_900),
    ("Bicycle bell", 1_250),
    ("Desk lamp", 6_490),
    ("Crème brûlée torch", 3_900),
    ("Chess set", 4_500),
    ("Hiking boots", 15_900),
    ("Teapot", 2_800),
)
"""Name and price in cents; the id of the first is 1."""
STOCK, SCARCE = 1_000_000, 5
"""Items of each product at the start, and of the chess set, which is sold out soon."""

_SCHEMA = """
    create table if not exists products (id integer primary key, name text, cents integer, stock integer, fence bigint);
    create table if not exists invoices (id text primary key, sha256 text);
    create table if not exists orders (id text primary key, product integer, item text, cents integer, runs integer);
    -- The witness of the ledger: each write of a stock that was accepted, with the token of the lock it was made under.
    create table if not exists writes (number integer primary key, product integer, token bigint, stock integer);
    create trigger if not exists witness after update of stock on products begin
        insert into writes (product, token, stock) values (new.id, new.fence, new.stock);
    end;
"""
_ORDERS = "select id, product, item, cents, runs from orders"
_ENTER = f"update products set fence = :token where id = :id and {fence_condition()}"  # noqa: S608 - text of Outlast's
_STOCK = f"update products set stock = :left, fence = :token where id = :id and {fence_condition()}"  # noqa: S608


class Product(BaseModel):
    """A product. stock: items that are left."""

    id: int
    name: str
    cents: int
    stock: int


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """An order in the database. runs: how often the shop came as far as the database with it."""

    id: str
    product: int
    item: str
    cents: int
    runs: int


class StockWrite(msgspec.Struct, frozen=True, kw_only=True):
    """A write of a stock that the database accepted. token: of the lock; stock: what is left."""

    product: int
    token: int
    stock: int


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """All that the ledger compares. stocks: at the start, by product; writes: in their order."""

    orders: tuple[OrderRow, ...] = ()
    stocks: dict[int, int] = {}
    writes: tuple[StockWrite, ...] = ()


class Catalogue:
    """The database at `path`. Its methods block; each opens a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def make(self) -> None:
        """Make the tables and the products; a second call does nothing."""
        with self._transaction() as db:
            db.executescript(_SCHEMA)
            for number, (name, cents) in enumerate(PRODUCTS, 1):
                stock = SCARCE if name == "Chess set" else STOCK
                db.execute("insert or ignore into products values (?, ?, ?, ?, null)", (number, name, cents, stock))

    def product(self, number: int) -> Product | None:
        """Return a product, None if there is none of this number."""
        with self._transaction() as db:
            row = db.execute("select id, name, cents, stock from products where id = ?", (number,)).fetchone()
        return Product(id=row[0], name=row[1], cents=row[2], stock=row[3]) if row else None

    def order(self, name: str) -> OrderRow | None:
        """Return an order that has its item, and count that the shop came back with it."""
        with self._transaction() as db:
            db.execute("update orders set runs = runs + 1 where id = ?", (name,))
            row = db.execute(f"{_ORDERS} where id = ?", (name,)).fetchone()
        return _order(row) if row else None

    def enter(self, product: int, token: int) -> int:
        """Write the token of the lock before the stock is read: from then on an older holder can write nothing.

        Return the number of changed rows for `lease.confirm`.
        """
        with self._transaction() as db:
            return db.execute(_ENTER, {"token": token, "id": product}).rowcount

    def fence(self, product: int) -> int:
        """Return the token of the last holder who has been at the stock, 0 before the first."""
        with self._transaction() as db:
            (token,) = db.execute("select coalesce(max(fence), 0) from products where id = ?", (product,)).fetchone()
        return int(token)

    def count(self, product: Product, token: int) -> int:
        """Write the stock that was counted; return the number of changed rows, 0 if a newer holder has been here."""
        with self._transaction() as db:
            return db.execute(_STOCK, {"left": product.stock, "token": token, "id": product.id}).rowcount

    def sell(self, order: str, product: Product, token: int) -> int:
        """Write the order, and the stock that is left: the item and its price as they were read under this token.

        Return the number of changed rows: 0 if a newer holder of the lock has been here, and nothing is written.
        """
        with self._transaction() as db:
            changed = db.execute(_STOCK, {"left": product.stock - 1, "token": token, "id": product.id}).rowcount
            if changed:
                row = (order, product.id, product.name, product.cents)
                db.execute("insert into orders values (?, ?, ?, ?, 1)", row)
        return changed

    def has_invoice(self, order: str, sha256: str) -> None:
        """Write that the invoice of an order is in the object store. sha256: its digest."""
        with self._transaction() as db:
            db.execute("insert or replace into invoices values (?, ?)", (order, sha256))

    def invoices(self) -> dict[str, str]:
        """Return the digest of each invoice by its order."""
        with self._transaction() as db:
            return dict(db.execute("select id, sha256 from invoices order by rowid").fetchall())

    def invoice(self, order: str) -> str | None:
        """Return the digest of one invoice, None if it is not drawn yet."""
        with self._transaction() as db:
            row = db.execute("select sha256 from invoices where id = ?", (order,)).fetchone()
        return str(row[0]) if row else None

    def account(self) -> Account:
        """Return what the ledger compares."""
        with self._transaction() as db:
            orders = db.execute(_ORDERS).fetchall()
            writes = db.execute("select product, token, stock from writes order by number").fetchall()
        return Account(
            orders=tuple(map(_order, orders)),
            stocks={number: SCARCE if name == "Chess set" else STOCK for number, (name, _) in enumerate(PRODUCTS, 1)},
            writes=tuple(StockWrite(product=row[0], token=row[1], stock=row[2]) for row in writes),
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self._path, timeout=10)
        try:
            # The folder of a run is temporary. A shop leaves the sync on: without it a power cut may damage the file.
            db.execute("pragma synchronous = off")
            with db:
                yield db
        finally:
            db.close()


def _order(row: tuple[str, int, str, int, int]) -> OrderRow:
    return OrderRow(id=row[0], product=row[1], item=row[2], cents=row[3], runs=row[4])
