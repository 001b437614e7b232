"""Where the sockets are that `outlast health` asks: in a folder that only one user can write. Standard library only."""

from __future__ import annotations

import os
import stat

__all__ = ["NAME_END", "folders", "found_sockets", "made_folder", "name_of"]

NAME_END = ".health"


def folders() -> tuple[str, ...]:
    """Return the folders in which a socket may be: that of temporary files, and /dev/shm where that is read-only."""
    name = f"outlast-health-{os.getuid()}"
    return tuple(f"{place}/{name}" for place in dict.fromkeys((os.environ.get("TMPDIR") or "/tmp", "/dev/shm")))  # noqa: S108 - the folder below it is checked


def made_folder(path: str) -> bool:
    """Make a folder for this user alone, unless it exists; return whether it is that. Raise OSError."""
    try:
        os.mkdir(path, 0o700)  # noqa: PTH102 - pathlib costs the probe a third of its CPU
    except FileExistsError:
        return _is_own(path)
    return True


def found_sockets() -> list[str]:
    """Return the sockets of this user's supervisors, those of dead ones too."""
    found = []
    for folder in folders():
        if _is_own(folder):
            found += [f"{folder}/{name}" for name in sorted(os.listdir(folder)) if name.endswith(NAME_END)]  # noqa: PTH208
    return found


def name_of(pid: int, token: str) -> str:
    """Return the name of a supervisor's socket. token: tells apart those of several containers with one folder."""
    return f"{pid}-{token}{NAME_END}"


def _is_own(path: str) -> bool:
    """Whether this is a folder that no other user can write into, or have made."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
