"""`outlast call`: enqueue one job from a terminal, and wait for its result."""

from __future__ import annotations

import asyncio
from difflib import get_close_matches
from math import inf
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from outlast.cli.common_options import JsonOption, common_options
from outlast.cli.completion import kinds
from outlast.cli.job_values import ArgOption, moment_of, values_of
from outlast.cli.output import show
from outlast.cli.target import load_outlast
from outlast.core.durations import seconds
from outlast.core.errors import ConfigurationError
from outlast.core.exitcodes import CLEAN, FAILED, INTERRUPTED
from outlast.core.message import TERMINAL
from outlast.core.text import short
from outlast.declare.options import check_priority

if TYPE_CHECKING:
    from outlast.app import Outlast
    from outlast.core.registry import Declaration
    from outlast.core.store.records import JobRecord
    from outlast.enqueue.handle import Handle

__all__ = ["register"]

_STEP: Final = 60.0
"""Seconds of one wait call to the store; a longer wait repeats it."""


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("call")(call)


def call(
    ctx: typer.Context,
    *,
    target: Annotated[str, typer.Argument(metavar="MODULE:NAME", help="The Outlast(...), such as main:shop.")],
    kind: Annotated[str, typer.Argument(metavar="KIND", help="The handler's name.", autocompletion=kinds)],
    arg: ArgOption = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the end, and print the result as JSON.")] = False,
    timeout: Annotated[
        str | None, typer.Option("--timeout", help="With --wait: at most this long, such as 5m.")
    ] = None,
    delay: Annotated[str | None, typer.Option("--delay", help="Due this long from now: 5m.")] = None,
    run_at: Annotated[
        str | None, typer.Option("--run-at", help="The due time: 2026-05-01T09:00+02:00, or seconds since 1970.")
    ] = None,
    priority: Annotated[str | None, typer.Option("--priority", help="high, normal or low.")] = None,
    id: Annotated[str | None, typer.Option("--id", help="The job's id; the same id is the same job.")] = None,  # noqa: A002
    key: Annotated[str | None, typer.Option("--key", help="The key for limits, fairness and erasure.")] = None,
    unique: Annotated[str | None, typer.Option("--unique", help="A key that only one unfinished job can hold.")] = None,
    json: JsonOption = False,
) -> None:
    """Enqueue a job with the same checks as in the app's code, and print its id.

    With --wait, exits 0 if the job succeeded, and 1 if it failed or did not end in time.
    """
    if timeout is not None and not wait:
        raise ConfigurationError("call: --timeout needs --wait")
    if priority is not None:
        check_priority(priority)
    limit = None if timeout is None else seconds(timeout, "--timeout")
    moment = moment_of(run_at, delay)
    job_options = {
        "run_at": moment if delay is None else None,  # a store may keep some delays, and no moments
        "delay": None if delay is None else seconds(delay, "--delay"),
        "priority": priority,
        "id": id,
        "key": key,
        "unique": unique,
    }
    app = load_outlast(target)
    declaration = _declared(app, target, kind)
    values = values_of(arg or [], app.composer.arguments[declaration.wire])
    as_json = common_options(ctx, json=json).json
    raise typer.Exit(asyncio.run(_call(app, declaration, values, job_options, wait=wait, limit=limit, as_json=as_json)))


def _declared(app: Outlast, target: str, kind: str) -> Declaration:
    known = app.registry.declarations
    if kind in known:
        return known[kind]
    near = get_close_matches(kind, known, 1)
    hint = f", did you mean {near[0]!r}?" if near else ";"
    raise ConfigurationError(
        f"call: {target} declares no {kind!r}{hint} it declares {', '.join(sorted(known)) or 'none'}"
    )


async def _call(
    app: Outlast,
    declaration: Declaration,
    values: dict[str, Any],
    job_options: dict[str, Any],
    *,
    wait: bool,
    limit: float | None,
    as_json: bool,
) -> int:
    from outlast.enqueue.job import AppLink, Job

    async with app:
        job: Job[Any, Any] = Job(declaration, AppLink(app))
        handle = await job.with_options(**job_options).enqueue(**values)
        if not handle.created:
            show.note(f"outlast: {handle.id} existed before and is returned for this call ({handle.conflict})")
        if not as_json:
            show.say(handle.id)  # at once, before the job has ended
        document = {"id": handle.id, "durability": handle.durability, "created": handle.created}
        if not wait:
            if as_json:
                show.json(document)
            return CLEAN
        await _warn(app, handle)
        try:
            record = await _wait_for_end(app, handle, limit)
        except asyncio.CancelledError:
            show.note(f"outlast: {handle.id} is not cancelled: outlast jobs show {handle.id}")
            return INTERRUPTED
        if as_json:
            show.json({**document, "state": record.state, "job": record})
        if record.state == "succeeded":
            if not as_json:
                show.say("null" if record.raw_result is None else bytes(record.raw_result).decode())
            return CLEAN
        last = record.failures[-1] if record.failures else None
        why = f" ({record.reason})" if record.reason and record.reason != record.state else ""
        error = f": {last.type}: {short(last.message, 200)}" if last is not None else ""
        unfinished = "" if record.state in TERMINAL else "; it has not ended"
        show.note(f"outlast: {handle.id} is {record.state}{why}{error}{unfinished}")
        return FAILED


async def _warn(app: Outlast, handle: Handle[Any]) -> None:
    runtime = await app.runtime()
    stats = (await runtime.store.broker.stats([handle.queue])).get(handle.queue)
    if stats is not None and (stats.paused or not stats.consumers):
        why = "it is paused" if stats.paused else "no worker consumes it"
        show.note(f"outlast: queue {handle.queue}: {why}; waiting")


async def _wait_for_end(app: Outlast, handle: Handle[Any], limit: float | None) -> JobRecord:
    """Return the record once the job has ended, or its current record after `limit` seconds."""
    store, clock = (await app.runtime()).store, asyncio.get_running_loop().time
    deadline = inf if limit is None else clock() + limit
    while True:
        await store.records.wait([handle.id], min(_STEP, max(0.0, deadline - clock())))
        record = await handle.record()
        if record.state in TERMINAL or clock() >= deadline:
            return record
