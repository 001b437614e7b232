"""`outlast restore`: put a backup in the place of the store, also while processes use it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from outlast.cli.common_options import CommonOptions, command
from outlast.cli.output import show
from outlast.cli.store_access import find_store
from outlast.core.errors import ConfigurationError

__all__ = ["register"]


def register(root: typer.Typer) -> None:
    """Add the command."""
    command(root, "restore", short_help="Put a backup in the place of the store.")(restore)


def restore(
    options: CommonOptions,
    *,
    backup: Annotated[Path, typer.Argument(metavar="BACKUP", help="A file that outlast backup has written.")],
) -> None:
    """Replace the store by a backup; the replaced file is kept beside it. Restart the processes that use the store."""
    access = find_store(options)
    kind = access.kind
    if kind.no_backup:
        raise ConfigurationError(f"{access.shown} {kind.no_backup}")
    kept = asyncio.run(kind.restore(access.url, backup))
    if options.json:
        replaced = None if kept is None else str(kept)
        show.json({"file": access.shown, "backup": str(backup.absolute()), "replaced": replaced})
        return
    show.say(f"{access.shown} is now a copy of {backup.absolute()}")
    if kept is not None:
        show.say(
            f"the replaced file is {kept}: jobs accepted since the backup are only there\n"
            "processes that have it open refuse every call from now on: supervised workers restart by themselves, "
            "restart the others"
        )
