"""The command line, `outlast`: parses arguments, calls the other packages and prints the results."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (the arguments of the process if None); return its exit code (core.exitcodes)."""
    from outlast.cli.root import run

    return run(arguments)
