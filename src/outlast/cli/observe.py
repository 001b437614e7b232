"""`outlast observe write`: the files for the tools that watch a running system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from outlast.cli.common_options import JsonOption, common_options
from outlast.cli.output import show

__all__ = ["register"]

group = typer.Typer(
    help="Write rules for Prometheus, dashboards for Grafana, and files for log shippers.", no_args_is_help=True
)


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(group, name="observe")


@group.callback()
def _observe() -> None:
    """Write rules for Prometheus, dashboards for Grafana, and files for log shippers."""


@group.command("write")
def write(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write into; it is made if missing.")],
    *,
    grafana: Annotated[
        str,
        typer.Option("--grafana", metavar="URL", help="The Grafana that gets the dashboards: the alerts link to it."),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that were changed.")] = False,
    json: JsonOption = False,
) -> None:
    """Write rules for Prometheus, dashboards for Grafana, and files for Alloy, Filebeat and Logstash into a folder.

    A file that was changed since is not overwritten without --force: then nothing is written.
    """
    from outlast.observe.writing import texts
    from outlast.observe.writing import write as write_files

    done = write_files(folder, texts(grafana), force=force)
    if common_options(ctx, json=json).json:
        show.json({"folder": str(folder.absolute()), "written": done.written, "unchanged": done.unchanged})
        return
    for name in done.written:
        show.say(f"written    {folder / name}")
    for name in done.unchanged:
        show.say(f"unchanged  {folder / name}")
