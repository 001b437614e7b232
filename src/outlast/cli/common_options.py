"""The options of every command: the store or the app, JSON or tables."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

__all__ = ["AppOption", "CommonOptions", "DefaultGroup", "JsonOption", "UrlOption", "command", "common_options"]

UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The store, such as sqlite:outlast.db; else OUTLAST_URL, else --app's."),
]
AppOption = Annotated[
    str | None,
    typer.Option("--app", metavar="MODULE:NAME", help="Use the settings and declarations of this Outlast(...)."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]


@dataclass(frozen=True, slots=True)
class CommonOptions:
    """The common options from before and after the command; those after it win."""

    url: str | None = None
    app: str | None = None
    json: bool = False


def common_options(
    ctx: typer.Context, url: UrlOption = None, app: AppOption = None, json: JsonOption = False
) -> CommonOptions:
    """Return the common options of this command."""
    before = ctx.obj if isinstance(ctx.obj, CommonOptions) else CommonOptions()
    return replace(before, url=url or before.url, app=app or before.app, json=json or before.json)


def command(group: typer.Typer, name: str, **settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds a function to the group, with --url, --app and --json after its own options.

    They become the function's first argument, a CommonOptions. settings: as `Typer.command` takes them.
    """

    def add(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def run(ctx: typer.Context, url: str | None, app: str | None, json: bool, **values: Any) -> None:
            function(common_options(ctx, url, app, json), **values)

        _, *own = inspect.signature(function, eval_str=True).parameters.values()
        ctx, *common = inspect.signature(common_options, eval_str=True).parameters.values()
        parameters = [each.replace(kind=each.KEYWORD_ONLY) for each in (ctx, *own, *common)]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return group.command(name, **settings)(run)

    return add


class DefaultGroup(TyperGroup):
    """A group that runs its first command if none is named: `outlast dead -q a` and `outlast dead queue:a`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the first command's name in front if the arguments do not begin with a command."""
        first = args[0] if args else "-"
        unnamed = first.startswith("-") or (":" in first and first not in self.commands)
        if unnamed and not ctx.resilient_parsing and first not in ("--help", "-h"):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)
