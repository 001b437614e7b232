"""Advises to keep a new store file out of the project's git repository."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from outlast.cli.output.show import note
from outlast.core.text import clean

if TYPE_CHECKING:
    from outlast.app import Outlast

__all__ = ["advise_ignoring", "missing_file"]

_NOT_IGNORED: Final = 1
"""The exit code of `git check-ignore` in a repository; it is 128 outside of one."""
_PATIENCE: Final = 5.0


def missing_file(app: Outlast) -> Path | None:
    """Return the file of the app's store if it does not exist yet."""
    from outlast.brokers.registry import kind_of

    file = kind_of(app.settings.url).file(app.settings.url)
    return None if file is None or file.exists() else file


def advise_ignoring(file: Path) -> None:
    """Print a line if git would take this file, which is new; do nothing without git."""
    command = ["git", "check-ignore", "--quiet", file.name]
    try:
        checked = subprocess.run(
            command, cwd=file.parent, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return
    if checked.returncode == _NOT_IGNORED:
        note(f"outlast: {clean(file.name)} is new in a git repository: add the line {clean(file.name)}* to .gitignore")
