"""`outlast config show`: every setting, its value and where it came from."""

from __future__ import annotations

import typer

from outlast.cli.output import show
from outlast.cli.session import AppOption, DefaultGroup, JsonOption, UrlOption, session
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

    given = session(ctx, url, app, json)
    place = find_store(given)
    origins = (
        Settings.origins("", None)
        if place.app is None
        else Settings.origins(place.app.name, place.app.explicit_settings)
    )
    if given.url:
        origins["url"] = "--url"
    values = {name: getattr(place.settings, name) for name in Settings.__struct_fields__}
    values["url"] = redact_url(values["url"])
    exists = place.file is not None and place.file.is_file()
    if given.json:
        settings = [{"name": name, "value": value, "from": origins[name]} for name, value in values.items()]
        app_name = None if place.app is None else place.app.name
        show.json({"app": app_name, "store": place.shown, "exists": exists, "why": place.why, "settings": settings})
        return
    missing = "" if exists or place.file is None else ", not there yet"
    show.facts((("store", f"{place.shown} ({place.why}{missing})"), ("app", place.app.name if place.app else "")))
    show.say()
    rows = (
        (name, str(value), (origins[name], "dim" if origins[name] == "default" else ""))
        for name, value in values.items()
    )
    show.table(("setting", "value", "from"), rows, empty="")
