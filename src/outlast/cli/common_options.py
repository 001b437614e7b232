"""What every command may be told: which store or app, JSON or tables, tracebacks or not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

__all__ = ["AppOption", "DefaultGroup", "JsonOption", "CommonOptions", "UrlOption", "common_options"]

UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The store, such as sqlite:outlast.db; else OUTLAST_URL, else --app's."),
]
AppOption = Annotated[
    str | None,
    typer.Option("--app", metavar="MODULE:NAME", help="The Outlast(...) whose settings and declarations are meant."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")]


@dataclass(frozen=True, slots=True)
class CommonOptions:
    """The options that stand before the command, joined with those behind it, which win."""

    url: str | None = None
    app: str | None = None
    json: bool = False


def common_options(
    ctx: typer.Context, url: str | None = None, app: str | None = None, json: bool = False
) -> CommonOptions:
    """Return what holds for this command."""
    before = ctx.obj if isinstance(ctx.obj, CommonOptions) else CommonOptions()
    return replace(before, url=url or before.url, app=app or before.app, json=json or before.json)


class DefaultGroup(TyperGroup):
    """A group whose first command is meant when none is named: `outlast dead -q a` and `outlast dead queue:a`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the first command's name in front when the arguments begin with none."""
        asks_for_help = bool(args) and args[0] in ("--help", "-h")
        meant = not args or args[0].startswith("-") or (":" in args[0] and args[0] not in self.commands)
        if meant and not ctx.resilient_parsing and not asks_for_help:
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)
