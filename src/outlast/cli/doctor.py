"""`outlast doctor`: looks at the machine, the file, the queues and the app; each finding comes with its fix."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

import typer

from outlast.cli.common_options import AppOption, JsonOption, UrlOption, common_options
from outlast.cli.output import show
from outlast.cli.store_access import find_store
from outlast.core.exitcodes import FAILED

__all__ = ["register"]

_STYLES: Final = {"ok": "green", "warning": "bold yellow", "error": "bold red"}


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("doctor", short_help="Look for what is wrong, and how to fix it.")(doctor)


def doctor(
    ctx: typer.Context,
    *,
    integrity: Annotated[
        bool, typer.Option("--integrity/--no-integrity", help="Have SQLite check every page (reads the whole file).")
    ] = True,
    url: UrlOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Look for what is wrong and say how to fix it; exit 1 when something must be fixed."""
    from outlast.admin.doctor import examine

    options = common_options(ctx, url, app, json)
    access = find_store(options)
    findings = asyncio.run(examine(access, pages=integrity, app_name=options.app or ""))
    errors = sum(each.severity == "error" for each in findings)
    warnings = sum(each.severity == "warning" for each in findings)
    if options.json:
        show.json({"store": access.shown, "errors": errors, "warnings": warnings, "findings": findings})
    else:
        for each in findings:
            show.line((f"{each.severity:<9}", _STYLES[each.severity]), f"{each.check}: {each.text}")
            if each.fix:
                show.line(" " * 9, ("fix: ", "dim"), (each.fix, "bold"))
        verdict = f"{errors} to fix, {warnings} to look at" if errors or warnings else "all is well"
        show.line(f"{access.shown}: {verdict}")
    if errors:
        raise typer.Exit(FAILED)
