"""The demo: an order shop whose payment provider goes down during the run; no order is lost."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo with these command line arguments; return the exit code, 0 only if the ledger balances.

    Raise ModuleNotFoundError that names the extra to install when a package is missing.
    """
    try:
        from outlast.demo import command
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("outlast"):
            raise
        raise ModuleNotFoundError(
            f"the demo needs {error.name}: pip install 'outlast[demo]'", name=error.name
        ) from None
    return command.main(arguments)
