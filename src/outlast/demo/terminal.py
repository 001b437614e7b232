"""Show a run in the terminal: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from outlast.demo.board import COPIES, Board, Incident
from outlast.demo.ledger import Ledger
from outlast.demo.shop_ledger import ShopLedger

__all__ = ["Terminal"]

_TONES = {
    "info": "",
    "down": "bold red",
    "killed": "red",
    "up": "bold green",
    "done": "bold green",
    "failed": "bold red",
}

_BREAKER = {"closed": "green", "open": "bold red", "half-open": "bold yellow", "ramp": "yellow"}


class Terminal:
    """Writes to one console; text of an order is printed as text, never as markup."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, incident: Incident) -> None:
        """Print one incident on its own line."""
        line = Text(f"{incident.at:6.1f} s  ")
        line.append(incident.text, style=_TONES[incident.kind])
        self._console.print(line)

    def print(self, text: str) -> None:
        """Print a line."""
        self._console.print(Text(text))

    async def follow(self, board: Board) -> None:
        """Show progress until cancelled: bars four times a second, or a line every two seconds without a terminal."""
        if not self._console.is_terminal:
            while True:
                await asyncio.sleep(2)
                self._console.print(self._line(board))
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                live.update(self._bars(board), refresh=True)
                await asyncio.sleep(0.25)

    def _line(self, board: Board) -> Text:
        counts, down = board.counts(), board.down
        return Text(
            f"{time.monotonic() - board.started:6.1f} s  accepted {counts.accepted}  paid {counts.paid}  "
            f"invoiced {counts.invoiced}  mailed {counts.mailed}  counted {counts.counted}  of {board.planned}"
            f"  retries {counts.retries}{'  provider DOWN' if down else ''}"
            f"{'  toolkit AWAY' if board.toolkit.away else ''}{_breaker(board)}"
        )

    def _bars(self, board: Board) -> RenderableType:
        counts, down = board.counts(), board.down
        grid = Table.grid(padding=(0, 2))
        for name in ("accepted", "paid", "invoiced", "mailed", "counted"):
            count: int = getattr(counts, name)
            bar = ProgressBar(total=max(board.planned, 1), completed=count, width=40)
            grid.add_row(Text(f"          {name}"), bar, Text(f"{count}/{board.planned}"))
        state = Text("payment provider DOWN", style="bold red") if down else Text("payment provider up", style="green")
        state.append(f"   {counts.retries} retries   {len(board.killed)} workers killed", style="default")
        seen = board.breaker.seen
        events = Text(
            f"          {counts.events} events published   {counts.copies} of {COPIES * counts.events} copies done"
        )
        events.append(f"   routed by {board.routed_by}")
        gate = Text(f"          breaker {seen.text}", style=_BREAKER[seen.state])
        if seen.state != "closed":
            gate.append(f"   {seen.queue}", style="default")
        return Group(grid, events, Text("          ").append_text(state), gate, _pieces(board))

    def ledger(self, ledger: Ledger, *, outage: float, killed: int) -> None:
        """Print the ledger and the ids of the orders that do not match."""
        table = Table(title="Ledger", title_justify="left", show_header=False, min_width=52)
        table.add_column()
        table.add_column(justify="right")
        rows: list[tuple[str, str, bool]] = [
            ("orders accepted (answered 202)", str(ledger.accepted), True),
            ("charges", str(ledger.charges), ledger.charges == ledger.accepted),
            ("requests repeated to the provider", str(ledger.repeats), True),
            ("invoices", str(ledger.invoices), ledger.invoices == ledger.accepted),
            ("e-mails", _mails(ledger), ledger.emails - ledger.extra_emails == ledger.accepted),
            ("sales in the analytics", _sales(ledger), ledger.sales == ledger.accepted),
            ("double charges", str(len(ledger.double_charges)), not ledger.double_charges),
            ("double sales", str(len(ledger.double_sales)), not ledger.double_sales),
            ("wrong amounts", str(len(ledger.wrong_amounts)), not ledger.wrong_amounts),
            ("done, but never accepted", str(len(ledger.strangers)), not ledger.strangers),
            ("lost", str(len(ledger.lost)), not ledger.lost),
            *_shop(ledger.shop),
            ("seconds of outage", f"{outage:.1f}", True),
            ("worker processes killed", str(killed), True),
        ]
        for name, value, correct in rows:
            table.add_row(Text(name), Text(value, style="" if correct else "bold red"))
        self._console.print(table)
        for title, orders in (
            ("lost", ledger.lost),
            ("charged twice", ledger.double_charges),
            ("told by two events", ledger.double_sales),
            ("wrong amount", ledger.wrong_amounts),
            ("never accepted", ledger.strangers),
            ("not one order", ledger.shop.split),
            ("wrong stock", ledger.shop.miscounted),
            ("wrong number of sales", ledger.shop.misranked),
            ("wrong invoice", ledger.shop.damaged),
        ):
            if orders:
                more = f" and {len(orders) - 20} more" if len(orders) > 20 else ""
                self.print(f"{title}: {', '.join(orders[:20])}{more}")
        verdict = "The ledger balances." if ledger.balances else "The ledger does not balance."
        self._console.print(Text(verdict, style="bold green" if ledger.balances else "bold red"))


def _pieces(board: Board) -> Text:
    """Return the pieces of the toolkit, each with its side while its store is away."""
    text = Text("          toolkit ")
    for piece in board.toolkit.seen:
        text.append(f" {piece.name} {piece.side} ", style="green" if piece.whole else "bold red")
    return text


def _shop(ledger: ShopLedger) -> Iterator[tuple[str, str, bool]]:
    yield "idempotency keys", str(ledger.keys), True
    yield "answers replayed", str(ledger.replays), True
    yield "keys that are not one order", str(len(ledger.split)), not ledger.split
    yield "orders of a script that the limiter refused", str(ledger.limited), True
    yield "orders admitted over the limit", str(ledger.over_limit), not ledger.over_limit
    yield "items taken from the stock", str(ledger.sold), ledger.sold == ledger.keys
    yield "products with a wrong stock", str(len(ledger.miscounted)), not ledger.miscounted
    yield "best sellers that differ", str(len(ledger.misranked)), not ledger.misranked
    yield "invoices without their digest", str(len(ledger.damaged)), not ledger.damaged
    yield "stale writes that were refused", str(ledger.stale_refused), True
    yield "stale writes that were accepted", str(ledger.stale_writes), not ledger.stale_writes


def _breaker(board: Board) -> str:
    """Return what a line tells of the breaker: nothing while it is closed."""
    seen = board.breaker.seen
    return "" if seen.state == "closed" else f"  breaker {seen.text}; {seen.queue}"


def _mails(ledger: Ledger) -> str:
    return f"{ledger.emails} ({ledger.extra_emails} second copies)" if ledger.extra_emails else str(ledger.emails)


def _sales(ledger: Ledger) -> str:
    return f"{ledger.sales} ({ledger.extra_sales} recorded again)" if ledger.extra_sales else str(ledger.sales)
