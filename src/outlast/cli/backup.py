"""`outlast backup`: a consistent copy of a store that is in use."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from outlast.cli.common_options import CommonOptions, command
from outlast.cli.output import show
from outlast.cli.store_access import find_store, on_store
from outlast.core.errors import ConfigurationError
from outlast.core.text import duration, size

__all__ = ["register"]


def register(root: typer.Typer) -> None:
    """Add the command."""
    command(root, "backup", short_help="Copy the store while it is in use.")(backup)


def backup(
    options: CommonOptions,
    *,
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The new file; it must not exist.")],
) -> None:
    """Write a consistent, compact copy of the store to a new file; producers and workers continue."""
    access = find_store(options)
    kind = access.kind
    if kind.no_backup:
        raise ConfigurationError(f"{access.shown} {kind.no_backup}")
    if target.is_dir():
        raise ConfigurationError(f"{target} is a folder: name the new file in it, such as {target / 'backup.db'}")
    if target.exists():
        raise ConfigurationError(f"{target} exists: name a new file, a backup never overwrites")
    started = monotonic()
    on_store(access, lambda store: kind.backup(store, target))
    took, length = monotonic() - started, target.stat().st_size
    if options.json:
        show.json({"file": access.shown, "target": str(target.absolute()), "bytes": length, "seconds": round(took, 3)})
    else:
        show.say(f"{access.shown} is copied to {target.absolute()}: {size(length)} in {duration(took)}")
