"""`outlast version`: the versions of Outlast, Python and SQLite."""

from __future__ import annotations

import sys

import typer

from outlast import __version__
from outlast.cli.common_options import JsonOption, common_options
from outlast.cli.output import show

__all__ = ["register"]


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("version", short_help="Print the versions.")(version)


def version(ctx: typer.Context, *, json: JsonOption = False) -> None:
    """Print the versions of Outlast, Python and SQLite."""
    from outlast.brokers.sqlite.inspection import sqlite_version

    python = ".".join(map(str, sys.version_info[:3]))
    if common_options(ctx, json=json).json:
        show.json({"outlast": __version__, "python": python, "sqlite": sqlite_version()})
    else:
        show.say(f"outlast {__version__} (Python {python}, SQLite {sqlite_version()})")
