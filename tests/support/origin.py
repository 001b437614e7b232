"""Where the figures of a proof come from, in one line that it prints beside them."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path

__all__ = ["origin"]

ROOT = Path(__file__).parents[2]


def origin(seed: int | None = None) -> str:
    """Return the day, the commit, the seed, the version of Python, the cores and the load of the last minute."""
    parts = [time.strftime("%d %B %Y").lstrip("0"), f"commit {_commit()}"]
    if seed is not None:
        parts.append(f"seed {seed}")
    parts += [f"Python {platform.python_version()}", f"{os.cpu_count()} cores", f"load {os.getloadavg()[0]:.1f}"]
    return ", ".join(parts)


def _commit() -> str:
    """Return the commit of this checkout, and whether files differ from it; "unknown" outside of one."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return f"{commit} with changes" if _git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
