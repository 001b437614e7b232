"""Which store a command works on, and why that one; calls on the opened store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from outlast.cli.common_options import CommonOptions

if TYPE_CHECKING:
    from outlast.admin.access import StoreAccess
    from outlast.app import Outlast
    from outlast.core.store.store import Store
    from outlast.settings import Settings

__all__ = ["on_store", "find_store"]

T = TypeVar("T")


def find_store(options: CommonOptions, option: str = "--url") -> StoreAccess:
    """Return the store that is meant: --url, the app's own, OUTLAST_URL, or the default file. No I/O on it.

    option: what the URL is called on this command line.
    """
    import msgspec

    from outlast.admin.access import StoreAccess
    from outlast.settings import Settings

    app: Outlast | None = None
    if options.app:
        from outlast.cli.target import load_outlast

        app = load_outlast(options.app)
        settings, origin = app.settings, Settings.origins(app.name, app.explicit_settings)["url"]
    else:
        settings, origin = Settings.load(""), Settings.origins("")["url"]
    if options.url:
        settings, why = msgspec.structs.replace(settings, url=options.url), option
    else:
        why = {"argument": f"Settings(url=...) of {options.app}", "default": "the default"}.get(origin, origin)
    access = StoreAccess(settings, why, app=app)
    file = access.file
    if file is not None and why == "the default":
        beside = "beside pyproject.toml" if (file.parent / "pyproject.toml").is_file() else "in this folder"
        why = f"the default, {beside}"
    named = option if options.url else "--url"
    hint = f"give {named} {access.kind.example} or --app module:name, or set OUTLAST_URL"
    if app is None and not options.url:
        hint += _variables_of_apps(settings)
    return StoreAccess(settings, why, hint, app)


def _variables_of_apps(settings: Settings) -> str:
    """Return the apps' own variables, which name other stores and are only read with --app."""
    names = [name for name in type(settings).idle_variables("") if name.endswith("_URL")]
    return f" (note: {', '.join(names)} is only read with --app)" if names else ""


def on_store(access: StoreAccess, call: Callable[[Store], Awaitable[T]]) -> T:
    """Open the store, which must be there already, call, close it, and return the answer."""
    from outlast.admin.access import open_existing

    async def run() -> T:
        async with open_existing(access) as store:
            return await call(store)

    return asyncio.run(run())
