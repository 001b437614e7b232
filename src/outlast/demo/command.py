"""`python -m outlast.demo` and `outlast demo`: run the demo, print the ledger, and exit 0 only if it balances."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import signal
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from outlast.core.errors import ConfigurationError, OutlastError
from outlast.demo.ledger import Ledger
from outlast.demo.orchestrator import Demo, DemoPlan
from outlast.demo.processes import NotReady
from outlast.demo.store import amqp_url, checked
from outlast.demo.terminal import Terminal

__all__ = ["DemoReport", "main", "run"]

BALANCED, UNBALANCED, INTERRUPTED = 0, 1, 130


class DemoReport(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a run, which `--json` writes. Times in seconds, those of the answers in milliseconds."""

    balances: bool
    ledger: Ledger
    outage_seconds: float
    workers_killed: int
    toolkit_away_seconds: float
    toolkit_whole_after: float | None
    """The longest time from a return of the toolkit's store until all pieces were whole; None without an outage."""
    sides: dict[str, str]
    """What each piece of the toolkit did while it was not whole."""
    retries: int
    """Runs that failed and were retried."""
    events: int
    """Orders whose event was published."""
    copies: int
    """Copies of these events whose job has done its work."""
    routed_by: str
    """What gave the queues their copies: "the store" or "RabbitMQ"."""
    in_outage: int
    """Of these while the provider was down, or the breaker not closed again."""
    postponed: int
    """Runs that met an open breaker and were put off, without an attempt."""
    probes: int
    seconds: float
    answered_ms_median: float
    answered_ms_p99: float
    directory: str | None
    """The directory with the files of the run, None if they were removed."""


def run(
    *,
    orders: int = 200,
    outage: float = 8.0,
    processes: int = 2,
    stay: bool = False,
    json: Path | None = None,
    url: str = "",
) -> int:
    """Run the demo, on the Redis server at `url` or on an SQLite file of the run; the environment may name a RabbitMQ.

    Return 0 if the ledger balances, 1 if not, 130 when interrupted before the ledger was complete.
    """
    terminal = Terminal(Console(highlight=False, soft_wrap=True))
    try:
        plan = DemoPlan(orders=orders, outage=outage, processes=processes, stay=stay, url=url, amqp_url=amqp_url())
        report = asyncio.run(_run(plan, terminal))
    except asyncio.CancelledError:
        terminal.print("Interrupted before the ledger was complete.")
        return INTERRUPTED
    except (NotReady, OutlastError) as error:
        terminal.print(str(error))
        return UNBALANCED
    if report.directory is not None:
        terminal.print(f"The files of this run: {report.directory}")
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return BALANCED if report.balances else UNBALANCED


async def _run(plan: DemoPlan, terminal: Terminal) -> DemoReport:
    stop = asyncio.Event()
    main_task = asyncio.current_task()
    staying = False

    def interrupt() -> None:
        stop.set()
        if not staying and main_task is not None:
            main_task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    async with Demo(plan, terminal.show, random.Random()) as demo:  # noqa: S311
        terminal.print(f"Watch it live: {demo.page}")
        async with _following(terminal, demo):
            ledger = await demo.run()
        report = _report(demo, ledger)
        _print(terminal, report)
        if plan.stay:
            staying = demo.board.staying = True
            terminal.print(f"The page stays open: {demo.page}  Press Ctrl-C to end the demo.")
            await stop.wait()
            if len(demo.board.accepted) != ledger.accepted or len(demo.board.outages) > 1:
                report = _report(demo, await demo.settle_up())
                _print(terminal, report)
    return report


@contextlib.asynccontextmanager
async def _following(terminal: Terminal, demo: Demo) -> AsyncIterator[None]:
    follower = asyncio.create_task(terminal.follow(demo.board))
    try:
        yield
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)


def _report(demo: Demo, ledger: Ledger) -> DemoReport:
    board = demo.board
    answers = sorted(board.answers) or [0.0]
    return DemoReport(
        balances=ledger.balances,
        ledger=ledger,
        outage_seconds=_seconds_of(board.outages),
        toolkit_away_seconds=_seconds_of(board.toolkit.outages),
        toolkit_whole_after=max(board.toolkit.recovered, default=None),
        sides=board.toolkit.sides,
        workers_killed=len(board.killed),
        retries=board.counts().retries,
        events=board.counts().events,
        copies=board.counts().copies,
        routed_by=board.routed_by,
        in_outage=board.counts().in_outage,
        postponed=board.counts().postponed,
        probes=len(board.breaker.probes),
        seconds=round(time.monotonic() - board.started, 1),
        answered_ms_median=round(statistics.median(answers) * 1000, 2),
        answered_ms_p99=round(answers[int(len(answers) * 0.99)] * 1000, 2),
        directory=str(demo.files.directory) if demo.keep else None,
    )


def _seconds_of(outages: Sequence[tuple[float, float | None]]) -> float:
    return round(sum((end or begin) - begin for begin, end in outages), 2)


def _print(terminal: Terminal, report: DemoReport) -> None:
    terminal.ledger(report.ledger, outage=report.outage_seconds, killed=report.workers_killed)
    terminal.print(
        f"{report.events} events were published and routed by {report.routed_by}, {report.copies} copies are done."
    )
    sides = "; ".join(f"{name} {side}" for name, side in report.sides.items())
    terminal.print(
        f"The toolkit's store was away for {report.toolkit_away_seconds:.1f} s ({sides}); all pieces were whole again "
        f"after {report.toolkit_whole_after} s."
    )
    terminal.print(
        f"{report.seconds:.1f} s in total; orders were answered after {report.answered_ms_median} ms (median), "
        f"{report.answered_ms_p99} ms (p99); {report.retries} failed runs were retried, {report.in_outage} of them in "
        f"the outage; {report.postponed} runs were put off, {report.probes} probes made."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run the demo; return the exit code of `run`."""
    parser = argparse.ArgumentParser(
        prog="outlast demo",
        description="An order shop survives an outage.",
        epilog="OUTLAST_AMQP_URL=amqp://HOST/VHOST lets RabbitMQ route the events, in a virtual host of their own.",
    )
    parser.add_argument("--orders", type=_count, default=200, metavar="N", help="orders to send (200)")
    parser.add_argument(
        "--outage", type=_seconds, default=8.0, metavar="SECONDS", help="how long the provider is down (8)"
    )
    parser.add_argument("--processes", type=_count, default=2, metavar="N", help="worker processes (2)")
    parser.add_argument("--stay", action="store_true", help="keep all processes and the page running until Ctrl-C")
    parser.add_argument("--url", type=_server, metavar="URL", help="keep the jobs on this server: redis://HOST")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="write the figures to this file")
    options = parser.parse_args(arguments)
    return run(
        orders=options.orders,
        outage=options.outage,
        processes=options.processes,
        stay=options.stay,
        json=options.json,
        url=options.url or "",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number from 1 to 100000")
    return int(text)


def _server(text: str) -> str:
    try:
        return checked(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.5 <= number <= 600:
        raise argparse.ArgumentTypeError(f"{text!r}: give seconds from 0.5 to 600")
    return number
