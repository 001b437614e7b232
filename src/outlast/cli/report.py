"""`outlast report`: the last night in some lines, to be pasted into a chat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from time import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from msgspec import to_builtins
from msgspec.structs import asdict

from outlast.cli.common_options import CommonOptions, command
from outlast.cli.cost import day_text
from outlast.cli.output import show
from outlast.cli.store_access import declared_queues, find_store, on_store
from outlast.core.durations import seconds
from outlast.core.errors import ConfigurationError
from outlast.core.history import DAY, STEPS, Entry, day_of
from outlast.core.prices import Prices
from outlast.core.text import clean, counted, duration, short

if TYPE_CHECKING:
    from outlast.admin.report import QueueReport, Report

__all__ = ["entry_text", "lines_of", "register"]

_WIDTH: Final = 100
"""The most characters of a line: a chat wraps longer ones."""
_NAME: Final = 9
_FEW: Final = 5
"""The most lines of one part."""


def register(root: typer.Typer) -> None:
    """Add the command."""
    command(root, "report")(report)


def report(
    options: CommonOptions,
    *,
    since: Annotated[str, typer.Option("--since", metavar="DURATION", help="How far back, such as 8h or 1d.")] = "12h",
) -> None:
    """Tell of the last hours: what ended, failures in groups, slowest kinds, cost, queues, guards and operators."""
    from outlast.admin.report import report as read

    span = seconds(float(since) if since.isdecimal() else since, "--since")
    if not 60 <= span <= 30 * DAY:
        raise ConfigurationError(f"--since {since}: give 1m to 30d")
    access = find_store(options)
    now, prices = time(), Prices.of(access.settings.prices)
    declared = declared_queues(access)
    found = on_store(access, lambda store: read(store, since=now - span, until=now, prices=prices, declared=declared))
    if options.json:
        show.json(_document(found, prices))
        return
    show.say(short(f"outlast: the last {duration(span)} until {_minute(now, now - DAY)}, {access.shown}", _WIDTH))
    for line in lines_of(found, prices):
        show.say(line)


def lines_of(found: Report, prices: Prices) -> Iterator[str]:
    """Return the report line by line, without its title."""
    parts = (
        ("ended", _ended(found)),
        ("failures", _failures(found)),
        ("slowest", _slowest(found)),
        ("cost", _cost(found, prices)),
        ("queues", _queues(found)),
        ("guards", _guards(found)),
        ("workers", _workers(found)),
        ("operators", _operators(found)),
    )
    for name, lines in parts:
        for number, line in enumerate(_few(lines)):
            yield f"{name if number == 0 else '':<{_NAME}}  {short(line, _WIDTH - _NAME - 2)}"


def _few(lines: Iterable[str]) -> Iterator[str]:
    listed = list(lines)
    yield from listed[:_FEW]
    if len(listed) > _FEW:
        yield f"... and {len(listed) - _FEW} more"


def _minute(at: float, since: float) -> str:
    """Return a local time: hours and minutes, with the day where that is not plain."""
    local = datetime.fromtimestamp(at).astimezone()
    return f"{local:%H:%M}" if at - since < DAY else f"{local:%d %b %H:%M}"


def _ended(found: Report) -> Iterator[str]:
    if found.ended:
        first = sorted(found.ended.items(), key=lambda each: (each[0] != "succeeded", -each[1]))
        told = ", ".join(f"{number:,} {outcome}" for outcome, number in first)
        late = found.ended_since > found.since + STEPS[1].seconds
        yield f"{told} since {_minute(found.ended_since, found.since)}" if late else told


def _failures(found: Report) -> Iterator[str]:
    for each in found.failures:
        yield f"{each.count:,} {each.kind}: {each.what} (last {_minute(each.last, found.since)})"
    if not found.failures:
        yield "none died" if found.complete else "none of the last dead letters"
    elif not found.complete:
        yield "of the last 5,000 dead letters only"


def _slowest(found: Report) -> Iterator[str]:
    if found.kinds:
        yield ", ".join(f"{each.kind} {_mean(each.wall / each.runs)}" for each in found.kinds[:_FEW]) + " a run"


def _mean(seconds: float) -> str:
    return duration(seconds) if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _cost(found: Report, prices: Prices) -> Iterator[str]:
    if not found.costs:
        return
    since = f"since {day_text(day_of(found.since))}"
    if prices:
        total = prices.shown(sum(each.price for each in found.costs))
        of_kinds = [
            f"{each.cost.kind} {prices.shown(each.price, bare=True)}" for each in found.costs[:_FEW] if each.price
        ]
    else:
        total = f"{duration(sum(each.cost.wall for each in found.costs))} of runs"
        total += f", {duration(sum(each.cost.cpu for each in found.costs))} of CPU"
        ranked = sorted(found.costs, key=lambda each: -each.cost.wall)
        of_kinds = [f"{each.cost.kind} {duration(each.cost.wall)}" for each in ranked[:_FEW]]
    yield f"{total} {since}: {', '.join(of_kinds)}" if of_kinds else f"{total} {since}"


def _queues(found: Report) -> Iterator[str]:
    telling = [each for each in found.queues if each.now.depth or each.most_depth or each.now.paused]
    ranked = sorted(telling, key=lambda each: (-each.now.depth, -each.most_depth, each.name))
    yield from (_queue(each, found.since) for each in ranked)


def _queue(each: QueueReport, since: float) -> str:
    now = each.now
    told = [f"{each.name}: {counted(now.depth, 'job')}" if now.depth else f"{each.name}: empty"]
    if now.paused:
        told.append("paused")
    elif now.depth and not now.consumers:
        told.append("no worker")
    elif now.depth:
        when, _, why = now.forecast.told().partition(": ")
        told.append({"unknown": why, "never": f"never empty: {why}"}.get(when, f"empty {when}"))
    if each.most_depth > now.depth:
        told.append(f"up to {each.most_depth:,} at {_minute(each.most_depth_at, since)}")
    if each.oldest >= 1:
        told.append(f"oldest {duration(each.oldest)} at {_minute(each.oldest_at, since)}")
    return ", ".join(told)


def _guards(found: Report) -> Iterator[str]:
    for each in found.guards:
        since = f" for {duration(each.seconds)}" if each.seconds is not None else ""
        held = ", held by an operator" if each.held else ""
        waiting = sum(each.queues.values())
        yield f"{each.name} {each.state}{since}{held}" + (f", {counted(waiting, 'job')} waiting" if waiting else "")


def _workers(found: Report) -> Iterator[str]:
    marks = [each for each in found.entries if each.sort == "mark"]
    counts: dict[str, int] = {}
    for each in reversed(marks):
        counts[each.what] = counts.get(each.what, 0) + 1
    if counts:
        last = marks[0]
        told = ", ".join(f"{what} {number}x" if number > 1 else what for what, number in counts.items())
        yield f"{told} (last {_minute(last.at, found.since)}: {last.what})"


def _operators(found: Report) -> Iterator[str]:
    for each in found.entries:
        if each.sort == "audit":
            yield f"{_minute(each.at, found.since)} {entry_text(each)}"


def entry_text(each: Entry) -> str:
    """Return an entry of the journal in one line, without its time."""
    told = " ".join(filter(None, (each.what, each.subject)))
    return clean(f"{each.who}: {told}" + (f" ({each.detail})" if each.detail else ""))


def _document(found: Report, prices: Prices) -> dict[str, Any]:
    document: dict[str, Any] = to_builtins(
        {name: value for name, value in asdict(found).items() if name not in ("costs", "guards")}
    )
    document["currency"] = prices.currency
    document["costs"] = [{**to_builtins(each.cost), "price": each.price} for each in found.costs]
    document["guards"] = [{"name": each.name, "state": each.state, "held": each.held} for each in found.guards]
    return document
