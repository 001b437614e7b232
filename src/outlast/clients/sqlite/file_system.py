"""Finds out what a file's file system survives, and which boot of the host this is."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from outlast.core.durability import Durability
from outlast.core.errors import UnsafeStore

__all__ = ["boot_id", "durability_of"]

MOUNTS: Final = "/proc/self/mountinfo"

_REFUSED: Final = frozenset(
    {"nfs", "nfs4", "9p", "virtiofs", "cifs", "smb3", "smbfs", "fuse.sshfs", "afs", "ceph", "glusterfs"}
)
_VOLATILE: Final = frozenset({"tmpfs", "ramfs"})


def durability_of(path: str, mounts: str = MOUNTS) -> Durability:
    """Return what the file system of `path` survives; raise UnsafeStore where SQLite's locks are not safe.

    mounts: a file in the format of /proc/self/mountinfo (proc(5)).
    """
    kind = _file_system(Path(path).resolve().parent, mounts)
    if kind in _REFUSED:
        raise UnsafeStore(
            f"{path} is on {kind}, where SQLite's locks and shared memory are not safe: use a local disk, "
            "or a server store"
        )
    if kind in _VOLATILE:
        return "process-crash"
    return "unknown" if kind.startswith("fuse") else "os-crash"


def _file_system(folder: Path, mounts: str) -> str:
    """Return the type of the file system of `folder`; "" on systems other than Linux."""
    if not sys.platform.startswith("linux"):
        return ""
    best, kind = -1, ""
    with open(mounts, encoding="utf-8", errors="surrogateescape") as lines:  # noqa: PTH123
        for line in lines:
            before, _, after = line.partition(" - ")
            # Spaces in a mount's path are written in octal: \040.
            mount = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), before.split(" ")[4])
            if folder.is_relative_to(mount) and len(mount) >= best:
                best, kind = len(mount), after.split(" ", 1)[0]
    return kind


def boot_id() -> str:
    """Return an id of this boot of the host: leases of an earlier boot are void."""
    linux = Path("/proc/sys/kernel/random/boot_id")
    if linux.exists():
        return linux.read_text().strip()
    import subprocess

    out = subprocess.run(["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, check=True)
    return out.stdout.strip()
