"""`outlast dev`: API and worker in one child process, started anew when the code changes."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from outlast.cli.common_options import common_options
from outlast.core.errors import ConfigurationError

__all__ = ["register"]


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("dev", short_help="Run the API and a worker, with reload.")(dev)


def dev(
    ctx: typer.Context,
    *,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="MODULE:NAME", help="The FastAPI (ASGI) app, such as main:app; or an Outlast(...) alone."
        ),
    ] = None,
    jobs: Annotated[
        str | None, typer.Option("--jobs", metavar="MODULE:NAME", help="The Outlast(...), when it is not installed.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0: any that is free.")] = 8000,
    reload: Annotated[bool, typer.Option("--reload/--no-reload", help="Start anew when a .py file changes.")] = True,
    folders: Annotated[
        list[Path] | None,
        typer.Option("--reload-dir", metavar="FOLDER", help="Watch this folder and not the working directory."),
    ] = None,
) -> None:
    """Run the API and a worker together, with reload: everything that development needs, in one command.

    Ctrl-C drains and ends; a second one does not wait for running jobs, a third kills.
    """
    options = common_options(ctx)
    target = target or options.app
    if not target or ":" not in target:
        raise ConfigurationError("dev: name the app, such as: outlast dev main:app")
    if options.url:
        raise ConfigurationError("dev: --url is for looking; the app's own store is used: set OUTLAST_URL for it")
    for folder in folders or ():
        if not folder.is_dir():
            raise ConfigurationError(f"--reload-dir {folder}: no such folder")
    from outlast.cli.dev.parent import DevParent

    watched = list(folders or [Path.cwd()]) if reload else []
    with _listen(host, port) as listener:
        raise typer.Exit(DevParent(target, jobs, listener, watched).serve())


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that the parent keeps, so that a request made during a reload waits and is not refused."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(
            f"dev: cannot listen on {host}:{port} ({error.strerror}): give another --port or --host"
        ) from None
