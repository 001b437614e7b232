"""The folder of sockets and locks of a shared file: where it is, and whether only its users can change its content."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["make_folder", "refusal_of", "runtime_folder", "usable"]

logger = logging.getLogger("outlast.sqlite")

_LONGEST: Final = 76
"""Bytes of the folder's path: with "/schedule-4194304-" and 8 digits it must fit in 103 and a zero (unix(7))."""
_BESIDE: Final = "-bell"
_refused: Final[set[Path]] = set()
"""Folders of which a log line has told."""


def runtime_folder(path: str) -> Path:
    """Return the folder of the file at `path`: beside it, or in the temporary folder when its name is too long."""
    folder = Path(f"{path}{_BESIDE}").absolute()  # processes of other versions use these names
    if len(os.fsencode(folder)) <= _LONGEST:
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:24]
    return Path(tempfile.gettempdir()) / f"outlast-{os.getuid()}" / digest


def usable(folder: Path) -> bool:
    """Return whether the folder exists and may be used; log once why not."""
    if not os.path.lexists(folder):
        return False
    why = refusal_of(folder)
    if why and folder not in _refused:
        _refused.add(folder)
        logger.warning(
            "%s: it is not used, and processes find new work by a poll every second; remove it and restart", why
        )
    return not why


def make_folder(folder: Path) -> bool:
    """Make the folder, for this user alone, if it is missing; return whether it may be used. Raise OSError."""
    if not folder.name.endswith(_BESIDE):
        folder.parent.mkdir(mode=0o700, exist_ok=True)
    if not refusal_of(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
    return usable(folder)


def refusal_of(folder: Path) -> str:
    """Return why the folder must not be used, "" for one that is ours or that does not exist.

    Beside the file it may be shared by the users of the file. In the temporary folder, where every user can make it
    first, it must be of this user alone.
    """
    if folder.name.endswith(_BESIDE):
        file = folder.with_name(folder.name.removesuffix(_BESIDE))
        owners = {os.geteuid(), 0}
        with contextlib.suppress(OSError):
            owners.add(file.stat().st_uid)
        return _refusal(folder, owners, stat.S_IWOTH)
    temporary = folder.parent.parent
    with contextlib.suppress(OSError):
        mode = temporary.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            return f"every user may rename what is in {temporary} (no sticky bit)"
    ours = {os.geteuid()}
    return _refusal(folder.parent, ours, _OTHERS) or _refusal(folder, ours, _OTHERS)


_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


def _refusal(folder: Path, owners: set[int], forbidden: int) -> str:
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{folder} cannot be examined ({error.strerror})"
    if stat.S_ISLNK(found.st_mode):
        return f"{folder} is a symbolic link"
    if not stat.S_ISDIR(found.st_mode):
        return f"{folder} is no folder"
    if found.st_uid not in owners:
        return f"{folder} belongs to user {found.st_uid}"
    if found.st_mode & forbidden:
        return f"other users may write to {folder} (mode {stat.S_IMODE(found.st_mode):04o})"
    if forbidden == _OTHERS and found.st_mode & 0o077:
        folder.chmod(0o700)  # an earlier version made it readable for others
    return ""
