"""`outlast top`: the queues, guards and journal of a store, drawn again and again until q or Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from time import time
from typing import TYPE_CHECKING, Annotated, Final

import typer
from msgspec import to_builtins

from outlast.cli.common_options import CommonOptions, command
from outlast.cli.output import show
from outlast.cli.output.top_view import HEADS, Frame, cells, remark, view
from outlast.cli.report import entry_text
from outlast.cli.store_access import declared_queues, find_store, on_store, stop_on_interrupt
from outlast.core.durations import seconds
from outlast.core.errors import ConfigurationError, StoreError
from outlast.core.text import clean, when

if TYPE_CHECKING:
    from outlast.admin.access import StoreAccess
    from outlast.admin.overview import Overview
    from outlast.core.store.store import Store

__all__ = ["register"]

_SOONEST: Final = 0.5
_LATEST: Final = 3600.0
_PATIENCE: Final = 5.0
"""Seconds that a reading may take before the picture says that it is old."""

Names = Annotated[list[str] | None, typer.Argument(metavar="[QUEUE]...", help="Only these queues.")]


def register(root: typer.Typer) -> None:
    """Add the command."""
    command(root, "top")(top)


def top(
    options: CommonOptions,
    *,
    names: Names = None,
    every: Annotated[str, typer.Option("--every", metavar="DURATION", help="Time between two readings.")] = "2s",
    once: Annotated[bool, typer.Option("--once", help="Print one reading and end; as into a pipe.")] = False,
) -> None:
    """Watch the queues: jobs by state, speed, the last half hour; open guards; what operators and workers did."""
    from outlast.admin.overview import overview

    pause = seconds(float(every) if every.replace(".", "", 1).isdecimal() else every, "--every")
    if not _SOONEST <= pause <= _LATEST:
        raise ConfigurationError(f"--every {every}: give {_SOONEST:g}s to 1h")
    access = find_store(options)

    def read(store: Store) -> Awaitable[Overview]:
        return overview(store, names or [], declared=declared_queues(access))

    if options.json or once or not show.on_terminal():
        _print(on_store(access, read), access, json=options.json)
    else:
        on_store(access, lambda store: _follow(lambda: read(store), access, pause))


def _print(found: Overview, access: StoreAccess, *, json: bool) -> None:
    if json:
        document = to_builtins(found)
        document["guards"] = [{"name": each.name, "state": each.state, "held": each.held} for each in found.guards]
        show.json(document)
        return
    rows = (
        [
            *(int(text) if text.isdecimal() else (text, style) for text, style in cells(name, stats)),
            remark(stats, found.waits.get(name, "")),
        ]
        for name, stats in sorted(found.queues.items())
    )
    show.table((*HEADS, ""), rows, empty=f"no queues in {access.shown}")
    for guard in found.guards:
        show.say(f"guard {clean(guard.name)} {guard.state}")
    for each in found.entries:
        show.say(f"{when(each.at, time())}  {entry_text(each)}")


async def _follow(read: Callable[[], Awaitable[Overview]], access: StoreAccess, every: float) -> None:
    """Draw until q or Ctrl-C; a store that is away leaves the last picture, with a line that says so."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    bars = (console.encoding or "").lower().startswith("utf")
    frame = Frame(await read(), at=time(), shown=access.shown, every=every)
    with stop_on_interrupt() as stop, _key_ends(stop), Live(console=console, screen=True, auto_refresh=False) as live:
        while not stop.is_set():
            live.update(view(frame, height=console.height, width=console.width, bars=bars), refresh=True)
            try:
                await asyncio.wait_for(stop.wait(), every)
            except TimeoutError:
                try:
                    async with asyncio.timeout(_PATIENCE):
                        frame = Frame(await read(), at=time(), shown=access.shown, every=every)
                except (StoreError, TimeoutError) as error:
                    frame.error = str(error) or "no answer"


@contextmanager
def _key_ends(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` at the key q, where stdin is a terminal; keys are not echoed meanwhile."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    loop, fd = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(fd)

    def read() -> None:
        if os.read(fd, 64).lower().startswith((b"q", b"\x03")) or not sys.stdin.isatty():
            stop.set()

    tty.setcbreak(fd)
    loop.add_reader(fd, read)
    try:
        yield
    finally:
        loop.remove_reader(fd)
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
