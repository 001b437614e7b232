"""`outlast config show`: every setting, its value and its source."""

from __future__ import annotations

import typer
from msgspec.structs import asdict

from outlast.cli.common_options import CommonOptions, DefaultGroup, command
from outlast.cli.output import show
from outlast.cli.store_access import find_store
from outlast.core.urls import redact_url

__all__ = ["register"]

group = typer.Typer(cls=DefaultGroup, help="Show the settings in force.")


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(group, name="config")


@command(group, "show")
def show_(options: CommonOptions) -> None:
    """Show every setting, its value and its source, and the store in use. Secrets are masked."""
    from outlast.settings import ADDRESSES, Settings

    access = find_store(options)
    app = access.app
    origins = Settings.origins("") if app is None else Settings.origins(app.name, app.explicit_settings)
    if options.url:
        origins["url"] = "--url"
    values = {**asdict(access.settings), "url": access.url}
    values |= {field: redact_url(values[field]) for field in ADDRESSES}
    exists = access.file is not None and access.file.is_file()
    if options.json:
        settings = [{"name": name, "value": value, "from": origins[name]} for name, value in values.items()]
        name = None if app is None else app.name
        show.json({"app": name, "store": access.shown, "exists": exists, "why": access.why, "settings": settings})
        return
    missing = "" if exists or access.file is None else ", not created yet"
    show.facts((("store", f"{access.shown} ({access.why}{missing})"), ("app", "" if app is None else app.name)))
    show.say()
    rows = (
        (name, str(value), (origins[name], "dim" if origins[name] == "default" else ""))
        for name, value in values.items()
    )
    show.table(("setting", "value", "from"), rows, empty="")
