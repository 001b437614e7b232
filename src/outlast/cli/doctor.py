"""`outlast doctor`: examines the machine, the store, the queues and the app; each finding names its fix."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

import typer

from outlast.cli.common_options import CommonOptions, command
from outlast.cli.output import show
from outlast.cli.store_access import find_store
from outlast.core.exitcodes import FAILED

__all__ = ["register"]

_STYLES: Final = {"ok": "green", "warning": "bold yellow", "error": "bold red"}


def register(root: typer.Typer) -> None:
    """Add the command."""
    command(root, "doctor", short_help="Find problems and show how to fix them.")(doctor)


def doctor(
    options: CommonOptions,
    *,
    integrity: Annotated[
        bool, typer.Option("--integrity/--no-integrity", help="Let SQLite check every page (reads the whole file).")
    ] = True,
) -> None:
    """Find problems and show how to fix them; exit 1 if something must be fixed."""
    from outlast.admin.doctor import examine

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
        verdict = f"{errors} to fix, {warnings} to check" if errors or warnings else "all is well"
        show.line(f"{access.shown}: {verdict}")
    if errors:
        raise typer.Exit(FAILED)
