"""The command line: `outlast`, an edge that shows what the parts know and lets people press what there is to press."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (that of the process when None) and return its exit code (worker.exitcodes)."""
    from outlast.cli.root import run

    return run(arguments)
