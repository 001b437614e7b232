"""`outlast worker`: a supervisor with its worker processes, for production."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from outlast.cli.common_options import common_options
from outlast.core.errors import ConfigurationError
from outlast.core.policy import seconds
from outlast.core.text import counted

__all__ = ["register"]


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("worker", short_help="Run jobs: a supervisor and its workers.")(worker)


def worker(
    ctx: typer.Context,
    *,
    target: Annotated[
        str | None, typer.Argument(metavar="MODULE:NAME", help="The Outlast(...), such as main:shop; else --app.")
    ] = None,
    processes: Annotated[int, typer.Option("--processes", "-p", min=1, help="Worker processes.")] = 1,
    queues: Annotated[
        list[str] | None, typer.Option("--queues", "-q", help="Only these queues: a,b; by default all declared queues.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", "-c", min=1, help="Jobs that one process runs at a time.")
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Plain functions among these jobs.")] = None,
    isolated: Annotated[
        int | None, typer.Option("--isolated", min=1, help="isolate='process' handlers among these jobs.")
    ] = None,
    max_jobs: Annotated[
        int | None, typer.Option("--max-jobs", min=1, help="Replace a process after this many jobs.")
    ] = None,
    max_age: Annotated[
        str | None, typer.Option("--max-age", metavar="DURATION", help="Replace a process at this age, such as 12h.")
    ] = None,
    max_memory: Annotated[
        int | None, typer.Option("--max-memory", metavar="MIB", min=16, help="Replace a process above this memory.")
    ] = None,
    log: Annotated[
        str | None, typer.Option("--log", metavar="FORM", help="text, or json: one line of JSON a record, and events.")
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            envvar="OUTLAST_LISTEN",
            metavar="HOST:PORT",
            help="Serve probes and metrics over HTTP; a port alone is of 127.0.0.1.",
        ),
    ] = None,
    health_socket: Annotated[
        str | None,
        typer.Option("--health-socket", metavar="PATH", help="The socket of `outlast health --socket PATH`."),
    ] = None,
) -> None:
    """Run jobs until SIGTERM or Ctrl-C; a supervisor restarts worker processes that die.

    The first signal drains, a second one ends the grace, a third kills. SIGHUP replaces the worker processes one by one
    with new ones, which import the target again (the supervisor never imports it): a new process consumes before an
    old one drains, and if a new process does not start, the old ones stay.
    """
    from outlast.observe.log_form import log_as_asked, set_log_form
    from outlast.supervisor.supervisor import Supervisor

    options = common_options(ctx)
    target = target or options.app
    if not target:
        raise ConfigurationError("worker: name the Outlast(...), such as: outlast worker main:shop")
    if options.url:
        raise ConfigurationError("worker: the app names the store: set OUTLAST_URL in place of --url")
    set_log_form(log)
    log_as_asked()
    names = _split(queues)
    logging.getLogger("outlast.supervisor").info(
        "starting %s of %s for %s",
        counted(processes, "worker process"),
        target,
        ", ".join(names) if names else "all its queues",
    )
    supervisor = Supervisor(
        target,
        processes=processes,
        queues=names,
        concurrency=concurrency,
        threads=threads,
        isolated=isolated,
        max_jobs=max_jobs,
        max_age=None if max_age is None else seconds(max_age, "--max-age"),
        max_resident=None if max_memory is None else max_memory << 20,
        listen=listen,
        health_socket=health_socket,
    )
    raise typer.Exit(supervisor.serve())


def _split(options: list[str] | None) -> list[str] | None:
    """Return the queues of `--queues a,b --queues c`, None if there are none."""
    return [name.strip() for option in options or () for name in option.split(",") if name.strip()] or None
