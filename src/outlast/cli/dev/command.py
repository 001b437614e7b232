"""`outlast dev`: API and worker in one child process, restarted when the code changes."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from outlast.cli.common_options import common_options
from outlast.core.errors import ConfigurationError
from outlast.settings import current_folder

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
        str | None,
        typer.Option("--jobs", metavar="MODULE:NAME", help="The Outlast(...), if not installed in the app."),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0: any free port.")] = 8000,
    reload: Annotated[bool, typer.Option("--reload/--no-reload", help="Restart when a .py file changes.")] = True,
    folders: Annotated[
        list[Path] | None,
        typer.Option("--reload-dir", metavar="FOLDER", help="Watch this folder in place of the working directory."),
    ] = None,
) -> None:
    """Run the API and a worker together for development, with reload.

    Ctrl-C drains and stops; a second one does not wait for running jobs, a third kills.
    """
    options = common_options(ctx)
    target = target or options.app
    if not target or ":" not in target:
        raise ConfigurationError("dev: name the app, such as: outlast dev main:app")
    if options.url:
        raise ConfigurationError("dev: the app names the store: set OUTLAST_URL in place of --url")
    for folder in folders or ():
        if not folder.is_dir():
            raise ConfigurationError(f"--reload-dir {folder}: no such folder")
    from outlast.cli.dev.parent import DevParent

    watched = list(folders or [current_folder()]) if reload else []
    with _listen(host, port) as listener:
        raise typer.Exit(DevParent(target, jobs, listener, watched).serve())


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; the parent keeps it open, so that requests during a reload wait."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(
            f"dev: cannot listen on {host}:{port} ({error.strerror}): give another --port or --host"
        ) from None
