"""`outlast config show`: every setting, its value and where it came from."""

from __future__ import annotations

import typer

from outlast.cli.common_options import AppOption, DefaultGroup, JsonOption, UrlOption, common_options
from outlast.cli.output import show
from outlast.cli.store_access import find_store
from outlast.core.text import redact_url

__all__ = ["register"]

group = typer.Typer(cls=DefaultGroup, help="Show the settings that hold.")


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(group, name="config")


@group.command("show")
def show_(ctx: typer.Context, *, url: UrlOption = None, app: AppOption = None, json: JsonOption = False) -> None:
    """Show every setting, its value and where it came from, and the file really used. Secrets are masked."""
    from outlast.settings import Settings

    options = common_options(ctx, url, app, json)
    access = find_store(options)
    origins = (
        Settings.origins("", None)
        if access.app is None
        else Settings.origins(access.app.name, access.app.explicit_settings)
    )
    if options.url:
        origins["url"] = "--url"
    values = {name: getattr(access.settings, name) for name in Settings.__struct_fields__}
    values["url"] = redact_url(values["url"])
    exists = access.file is not None and access.file.is_file()
    if options.json:
        settings = [{"name": name, "value": value, "from": origins[name]} for name, value in values.items()]
        app_name = None if access.app is None else access.app.name
        show.json({"app": app_name, "store": access.shown, "exists": exists, "why": access.why, "settings": settings})
        return
    missing = "" if exists or access.file is None else ", not there yet"
    show.facts((("store", f"{access.shown} ({access.why}{missing})"), ("app", access.app.name if access.app else "")))
    show.say()
    rows = (
        (name, str(value), (origins[name], "dim" if origins[name] == "default" else ""))
        for name, value in values.items()
    )
    show.table(("setting", "value", "from"), rows, empty="")
