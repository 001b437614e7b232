"""The picture of `outlast top`: queues with their last half hour, guards that are not closed, the newest entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from outlast.core.text import clean, counted, duration, short

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from outlast.admin.guards import GuardStatus
    from outlast.admin.overview import Overview
    from outlast.core.history import QueueSample
    from outlast.core.store.broker import QueueStats

__all__ = ["HEADS", "Frame", "busiest", "cells", "remark", "sparkline", "view"]

HEADS: Final = ("queue", "depth", "ready", "running", "due later", "dead", "oldest", "ended", "empty", "workers")
_BARS_HEAD: Final = "depth, last 30 min"
_LEFT_OUT: Final = (_BARS_HEAD, "due later", "empty", "ready", "workers", "running")
_GAP: Final = 2
_REMARK: Final = 10
"""Columns that are left for a remark."""
_BARS: Final = " ▁▂▃▄▅▆▇█"
_BARS_WIDTH: Final = 20
_SPAN: Final = 1800.0
"""Seconds that the bars show."""
_BESIDE: Final = 6
"""Lines beside the rows of queues: title, heads, and what stands between the parts."""


class Frame:
    """One reading, with what is told beside it. shown: the store; error: why there is no newer reading, "" if none."""

    __slots__ = ("at", "error", "every", "found", "shown")

    def __init__(self, found: Overview, *, at: float, shown: str, every: float = 0.0, error: str = "") -> None:
        self.found = found
        self.at = at
        self.shown = shown
        self.every = every
        self.error = error


def sparkline(samples: Sequence[QueueSample], now: float, width: int = _BARS_WIDTH) -> str:
    """Return the depth of the last half hour as bars; "" without a sample; a gap is a blank.

    The highest bar is full, but for one of fewer jobs than there are steps: a job more or less is no mountain.
    """
    slot = _SPAN / width
    most: list[int | None] = [None] * width
    for each in samples:
        place = width - 1 - int((now - each.at) // slot)
        if 0 <= place < width:
            most[place] = max(most[place] or 0, each.depth)
    highest = max((each for each in most if each is not None), default=0)
    highest = max(highest, len(_BARS) - 1)
    if all(each is None for each in most):
        return ""
    return "".join(" " if each is None else _BARS[_level(each, highest)] for each in most)


def _level(depth: int, highest: int) -> int:
    return 1 + round(depth / highest * (len(_BARS) - 2))


def busiest(queues: dict[str, QueueStats], most: int) -> list[str]:
    """Return the names of the queues to show: all by name if they fit, else those with the most jobs."""
    names = sorted(queues)
    if len(names) <= most:
        return names
    return sorted(names, key=lambda name: (-queues[name].depth, -queues[name].dead, name))[:most]


def cells(name: str, stats: QueueStats) -> list[tuple[str, str]]:
    """Return the cells of a queue under HEADS, each a text and its style."""
    later = stats.scheduled + stats.parked + stats.successors
    rate = f"{stats.drain_rate:.1f}/s" if stats.drain_rate >= 0.05 else "-"
    empty = "-" if stats.paused or not stats.consumers else stats.forecast.told().partition(":")[0]
    return [
        (clean(name), "bold"),
        (f"{stats.depth:,}", ""),
        (f"{stats.ready:,}", ""),
        (f"{stats.running:,}", "cyan" if stats.running else ""),
        (f"{later:,}", ""),
        (f"{stats.dead:,}", "bold red" if stats.dead else ""),
        (duration(stats.oldest) if stats.ready else "-", ""),
        (rate, "green" if stats.drain_rate >= 0.05 else ""),
        (empty, ""),
        (str(stats.consumers), ""),
    ]


def remark(stats: QueueStats, waits_for: str) -> str:
    """Return what is the matter with a queue, "" for nothing."""
    if stats.paused:
        return "paused"
    if waits_for:
        return waits_for
    if stats.depth > stats.running and not stats.consumers:
        return "no worker"
    if stats.max_depth is not None and stats.depth >= stats.max_depth:
        return "full"
    return stats.forecast.told().partition(": ")[2] if stats.depth > stats.running else ""


def view(frame: Frame, *, height: int, width: int = 120, bars: bool = True) -> RenderableType:
    """Return the picture, at most `height` lines high; columns that do not fit into `width` are left out.

    bars: whether the terminal has the characters for them.
    """
    from rich.console import Group
    from rich.text import Text

    found = frame.found
    below = [*_guards(found), *_entries(found, frame.at)]
    names = busiest(found.queues, max(1, height - _BESIDE - len(below)))
    left_out = len(found.queues) - len(names)
    lines: list[RenderableType] = [_title(frame), Text(""), _table(frame, names, width, bars=bars)]
    if not names:
        lines.append(Text("no queues yet", style="dim"))
    if left_out:
        lines.append(Text(f"... and {counted(left_out, 'queue')} with fewer jobs", style="dim"))
    return Group(*lines, Text(""), *below) if below else Group(*lines)


def _title(frame: Frame) -> Text:
    from rich.text import Text

    stats = frame.found.queues.values()
    depth, running, dead = (sum(getattr(each, field) for each in stats) for field in ("depth", "running", "dead"))
    title = Text.assemble(("outlast", "bold"), f"  {clean(frame.shown)}  ", (f"{_clock(frame.at)}", "dim"))
    title.append(f"  {depth:,} unfinished, {running:,} running, {dead:,} dead")
    if frame.every:
        title.append(f"  every {frame.every:g} s, q ends", style="dim")
    if frame.error:
        title.append(f"\nthe figures are old: {short(clean(frame.error), 200)}", style="bold red")
    return title


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at).astimezone():%H:%M:%S}"


def _table(frame: Frame, names: Sequence[str], width: int, *, bars: bool) -> RenderableType:
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    rows = [[*cells(name, frame.found.queues[name])] for name in names]
    heads = list(HEADS)
    if bars:
        heads.append(_BARS_HEAD)
        for name, row in zip(names, rows, strict=True):
            row.append((sparkline(frame.found.samples.get(name, ()), frame.at), "blue"))
    widths = [
        max(cell_len(head), *(cell_len(row[at][0]) for row in rows)) if rows else cell_len(head)
        for at, head in enumerate(heads)
    ]
    shown = _fitting(heads, widths, width)
    left = max(4, width - sum(widths[at] + _GAP for at in shown))
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, _GAP, 0, 0))
    for at in shown:
        table.add_column(heads[at], justify=_justified(heads[at]), no_wrap=True, width=min(widths[at], width))
    table.add_column("", no_wrap=True)
    for name, row in zip(names, rows, strict=True):
        # Cut here: the table would cut figures to make room for it.
        told = short(remark(frame.found.queues[name], frame.found.waits.get(name, "")), left)
        table.add_row(*(Text(*row[at]) for at in shown), Text(told, "bold yellow"))
    return table


def _justified(head: str) -> Literal["left", "right"]:
    return "left" if head in (HEADS[0], _BARS_HEAD) else "right"


def _fitting(heads: Sequence[str], widths: Sequence[int], width: int) -> list[int]:
    """Return the columns that fit beside a short remark: the least telling ones are left out first."""
    shown = list(range(len(heads)))
    for head in _LEFT_OUT:
        if sum(widths[at] + _GAP for at in shown) + _REMARK <= width:
            break
        shown = [at for at in shown if heads[at] != head]
    return shown


def _guards(found: Overview) -> Iterator[Text]:
    from rich.text import Text

    for each in found.guards:
        yield Text.assemble(("guard ", "dim"), (clean(each.name), "bold"), " ", *_guard(each))


def _guard(each: GuardStatus) -> Iterator[str | tuple[str, str]]:
    yield each.state, "bold red" if each.state == "open" else "bold yellow"
    if each.seconds is not None:
        yield f" for {duration(each.seconds)}"
    if each.held:
        yield ", held by an operator"
    elif each.next_probe is not None:
        yield f", next probe in {duration(each.next_probe)}" if each.next_probe else ", a probe is due"
    if waiting := sum(each.queues.values()):
        yield f", {counted(waiting, 'job')} waiting"


def _entries(found: Overview, now: float) -> Iterator[Text]:
    from rich.text import Text

    for each in found.entries:
        told = " ".join(filter(None, (each.what, each.subject)))
        detail = f" ({each.detail})" if each.detail else ""
        text = short(f"{each.who}: {told}{detail}", 110)
        style = "bold red" if each.what == "worker died" else ""
        yield Text.assemble((f"{duration(max(0.0, now - each.at)):>7} ago  ", "dim"), (text, style))
