"""`outlast health`: ask the supervisors of this user, as an exec probe does; `outlast.cli.main` runs its plain form."""

from __future__ import annotations

from typing import Annotated

import typer

from outlast.core.errors import ConfigurationError
from outlast.observe.health import probe

__all__ = ["register"]


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("health", short_help="Tell whether the worker service works (for probes).")(health)


def health(
    *,
    ready: Annotated[bool, typer.Option("--ready", help="Ask whether it consumes.")] = False,
    started: Annotated[bool, typer.Option("--started", help="Ask whether its start is over.")] = False,
    socket: Annotated[
        str | None, typer.Option("--socket", metavar="PATH", help="Of one supervisor; else all of this user.")
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="How long to wait.")] = 5.0,
) -> None:
    """Exit with 0 if the service lives, else with 1: then a restart helps.

    It asks the supervisor over a local socket. A store that is away, an open breaker, a long job and a busy CPU are no
    reason to restart.
    """
    if ready and started:
        raise ConfigurationError("health: give --ready or --started, not both")
    if not 0 < timeout < 3600:
        raise ConfigurationError(f"health: --timeout {timeout:g}: give more than 0 and less than 3600 seconds")
    question = "ready" if ready else "started" if started else "live"
    raise typer.Exit(probe.main(probe.Asked(question, socket, timeout)))
