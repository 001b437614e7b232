"""`outlast demo`: runs outlast.demo, which needs the extra `demo`."""

from __future__ import annotations

import typer

from outlast.core.errors import ConfigurationError

__all__ = ["register"]


def register(root: typer.Typer) -> None:
    """Add the command. The demo parses its options, --help too."""
    pass_on = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    root.command(
        "demo", short_help="Run an order shop through an outage.", context_settings=pass_on, add_help_option=False
    )(demo)


def demo(ctx: typer.Context) -> None:
    """Run an order shop through an outage; print its ledger (--orders N --outage SECONDS --stay)."""
    from outlast.demo import main

    try:
        code = main(ctx.args)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("outlast"):
            raise
        raise ConfigurationError(str(error)) from error
    raise typer.Exit(code)
