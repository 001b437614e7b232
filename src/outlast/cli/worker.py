"""`outlast worker`: the supervisor with its worker processes, for production."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from outlast.cli.common_options import common_options
from outlast.core.errors import ConfigurationError
from outlast.core.policy import seconds

__all__ = ["register"]


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("worker", short_help="Run jobs: the supervisor and its workers.")(worker)


def worker(
    ctx: typer.Context,
    *,
    target: Annotated[
        str | None, typer.Argument(metavar="MODULE:NAME", help="The Outlast(...), such as main:shop; else --app.")
    ] = None,
    processes: Annotated[int, typer.Option("--processes", "-p", min=1, help="Worker processes.")] = 1,
    queues: Annotated[
        list[str] | None, typer.Option("--queues", "-q", help="Only these queues: a,b; all declared ones if not given.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", "-c", min=1, help="Jobs that one process runs at a time.")
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Of these, plain functions.")] = None,
    isolated: Annotated[
        int | None, typer.Option("--isolated", min=1, help="Of these, isolate='process' handlers.")
    ] = None,
    max_jobs: Annotated[
        int | None, typer.Option("--max-jobs", min=1, help="Replace a process when it has run so many jobs.")
    ] = None,
    max_age: Annotated[
        str | None, typer.Option("--max-age", metavar="DURATION", help="Replace a process of this age, such as 12h.")
    ] = None,
    max_memory: Annotated[
        int | None, typer.Option("--max-memory", metavar="MIB", min=16, help="Replace a process that holds more MiB.")
    ] = None,
) -> None:
    """Run jobs until SIGTERM or Ctrl-C, with a supervisor that restarts what dies.

    The first signal drains, a second one cuts the grace, a third kills. SIGHUP replaces the workers one by one with
    fresh ones, which import the target anew (the workers alone import it): each consumes before an old one drains, and
    one that does not come up leaves the old ones in place.
    """
    from outlast.supervisor.child_main import log_plainly
    from outlast.supervisor.supervisor import Supervisor

    options = common_options(ctx)
    target = target or options.app
    if not target:
        raise ConfigurationError("worker: name the Outlast(...), such as: outlast worker main:shop")
    if options.url:
        raise ConfigurationError("worker: --url is for looking; the app's own store is used: set OUTLAST_URL for it")
    log_plainly()
    named = split(queues)
    logging.getLogger("outlast.supervisor").info(
        "%d worker processes of %s start, for %s", processes, target, ", ".join(named) if named else "all its queues"
    )
    supervisor = Supervisor(
        target,
        processes=processes,
        queues=named,
        concurrency=concurrency,
        threads=threads,
        isolated=isolated,
        max_jobs=max_jobs,
        max_age=None if max_age is None else seconds(max_age, "--max-age"),
        max_resident=None if max_memory is None else max_memory << 20,
    )
    raise typer.Exit(supervisor.serve())


def split(names: list[str] | None) -> list[str] | None:
    """Return the queues of `--queues a,b --queues c`, None when there are none."""
    found = [name.strip() for each in names or () for name in each.split(",") if name.strip()]
    return found or None
