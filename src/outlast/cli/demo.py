"""`outlast demo`: hands over to outlast.demo, which an extra brings to life."""

from __future__ import annotations

import typer

from outlast.core.errors import ConfigurationError

__all__ = ["register"]


def register(root: typer.Typer) -> None:
    """Add the command. Its options, --help too, are the demo's own."""
    passing = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    root.command(
        "demo", short_help="Watch an order shop survive an outage.", context_settings=passing, add_help_option=False
    )(demo)


def demo(ctx: typer.Context) -> None:
    """Run the order shop that survives an outage; print its ledger (--orders N --outage SECONDS --stay)."""
    from outlast.demo import main

    try:
        code = main(ctx.args)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("outlast"):
            raise
        raise ConfigurationError(str(error)) from error
    raise typer.Exit(code)
