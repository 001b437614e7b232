"""Detects changed Python files of a project by their times and sizes; needs no dependency, on any system."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

__all__ = ["Snapshot", "changed", "snapshot"]

_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist"})

Snapshot = dict[str, tuple[int, int]]
"""Time of change and size of each file."""


def snapshot(folders: Sequence[Path], suffixes: tuple[str, ...] = (".py",)) -> Snapshot:
    """Return time and size of files with such a suffix, but not in hidden folders, environments and caches."""
    seen: Snapshot = {}
    for folder in folders:
        for entry in _files(str(folder)):
            if entry.name.endswith(suffixes):
                try:
                    status = entry.stat()
                except OSError:
                    continue  # removed since the folder was read
                seen[entry.path] = (status.st_mtime_ns, status.st_size)
    return seen


def _files(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in _SKIPPED and not entry.name.startswith("."):
                yield from _files(entry.path)
        else:
            yield entry


def changed(before: Snapshot, after: Snapshot) -> list[str]:
    """Return the files that were added, removed or changed, sorted."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
