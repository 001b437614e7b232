"""`outlast call`: enqueue one job from a terminal, and wait for what comes of it."""

from __future__ import annotations

import asyncio
from difflib import get_close_matches
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
"""Seconds of one wait at the store; a longer wait is several of them."""


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
        str | None, typer.Option("--timeout", help="With --wait: no longer than this, such as 5m.")
    ] = None,
    delay: Annotated[str | None, typer.Option("--delay", help="Due in so long from now: 5m.")] = None,
    run_at: Annotated[
        str | None, typer.Option("--run-at", help="When it is due: 2026-05-01T09:00+02:00, or seconds since 1970.")
    ] = None,
    priority: Annotated[str | None, typer.Option("--priority", help="high, normal or low.")] = None,
    id: Annotated[str | None, typer.Option("--id", help="The job's own id: the same id is the same job.")] = None,  # noqa: A002
    key: Annotated[str | None, typer.Option("--key", help="What limits, fairness and erasure go by.")] = None,
    unique: Annotated[str | None, typer.Option("--unique", help="A key that only one unfinished job holds.")] = None,
    json: JsonOption = False,
) -> None:
    """Enqueue a job, checked as the app's own code would, and print its id.

    With --wait it exits 0 when the job succeeded, and 1 when it did not, or had not ended in time.
    """
    if timeout is not None and not wait:
        raise ConfigurationError("call: --timeout goes with --wait")
    if priority is not None:
        check_priority(priority)
    limit = None if timeout is None else seconds(timeout, "--timeout")
    job_options = {
        "run_at": moment_of(run_at, delay),
        "priority": priority,
        "id": id,
        "key": key,
        "unique": unique,
    }
    app = load_outlast(target)
    declaration = _declared(app, target, kind)
    values = values_of(arg or [], app.composer.arguments[declaration.wire])
    common = common_options(ctx, json=json)
    output = _CallOutput(common.json)
    raise typer.Exit(asyncio.run(_call(app, declaration, values, job_options, wait=wait, limit=limit, output=output)))


def _declared(app: Outlast, target: str, kind: str) -> Declaration:
    known = app.registry.declarations
    if kind in known:
        return known[kind]
    near = get_close_matches(kind, known, 1)
    hint = f", did you mean {near[0]!r}?" if near else ";"
    raise ConfigurationError(
        f"call: {target} declares no {kind!r}{hint} there are {', '.join(sorted(known)) or 'none'}"
    )


class _CallOutput:
    """What was printed: an id as soon as there is one, and one JSON document at the end."""

    def __init__(self, json: bool) -> None:
        self._json = json

    def accepted(self, handle: Handle[Any]) -> None:
        """Say that the job is kept."""
        if not handle.created:
            show.note(f"outlast: {handle.id} was there before and stands for this call ({handle.conflict})")
        if not self._json:
            show.say(handle.id)

    def ended(self, handle: Handle[Any], record: JobRecord | None) -> None:
        """Say what came of it; None: nobody waited."""
        if self._json:
            kept = {"id": handle.id, "durability": handle.durability, "created": handle.created}
            show.json(kept if record is None else {**kept, "state": record.state, "job": record})
        elif record is not None and record.state == "succeeded":
            show.say("null" if record.result is None else bytes(record.result).decode())


async def _call(
    app: Outlast,
    declaration: Declaration,
    values: dict[str, Any],
    job_options: dict[str, Any],
    *,
    wait: bool,
    limit: float | None,
    output: _CallOutput,
) -> int:
    from outlast.enqueue.job import AppLink, Job

    async with app:
        job: Job[Any, Any] = Job(declaration, AppLink(app))
        handle = await job.with_options(**job_options).enqueue(**values)
        output.accepted(handle)
        if not wait:
            output.ended(handle, None)
            return CLEAN
        await _warn(app, handle)
        try:
            record = await _end(app, handle, limit)
        except asyncio.CancelledError:
            show.note(f"outlast: {handle.id} goes on: outlast jobs show {handle.id}")
            return INTERRUPTED
        output.ended(handle, record)
        if record.state == "succeeded":
            return CLEAN
        last = record.failures[-1] if record.failures else None
        why = f" ({record.reason})" if record.reason and record.reason != record.state else ""
        error = f": {last.type}: {short(last.message, 200)}" if last is not None else ""
        goes_on = "" if record.state in TERMINAL else "; it goes on"
        show.note(f"outlast: {handle.id} is {record.state}{why}{error}{goes_on}")
        return FAILED


async def _warn(app: Outlast, handle: Handle[Any]) -> None:
    runtime = await app.runtime()
    stats = (await runtime.store.broker.stats([handle.queue])).get(handle.queue)
    if stats is not None and (stats.paused or not stats.consumers):
        why = "it is paused" if stats.paused else "nobody works on it"
        show.note(f"outlast: queue {handle.queue}: {why}; waiting")


async def _end(app: Outlast, handle: Handle[Any], limit: float | None) -> JobRecord:
    """Return the record once the job has ended, or as it is after `limit` seconds."""
    store = (await app.runtime()).store
    loop = asyncio.get_running_loop()
    deadline = None if limit is None else loop.time() + limit
    while True:
        left = _STEP if deadline is None else min(_STEP, max(0.0, deadline - loop.time()))
        await store.records.wait([handle.id], left)
        record = await handle.record()
        if record.state in TERMINAL or (deadline is not None and loop.time() >= deadline):
            return record
