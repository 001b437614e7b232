"""Programs for Node that speak to the same servers as the tests, on the packages of `scripts/node-clients`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

__all__ = ["run_node"]

_ROOT: Final = Path(__file__).parents[2]
_MODULES: Final = _ROOT / ".servers" / "node" / "node_modules"


def run_node(program: str, *arguments: str) -> str:
    """Run a program of tests/support/node and return what it prints; RuntimeError, with its errors, when it fails."""
    if not _MODULES.exists():
        raise RuntimeError("the Node clients are not installed: run `make test` or scripts/node-clients")
    done = subprocess.run(
        ["node", str(Path(__file__).parent / "node" / program), *arguments],
        env={**os.environ, "NODE_PATH": str(_MODULES)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        raise RuntimeError(f"{program}: {done.stderr[-2000:]}")
    return done.stdout
