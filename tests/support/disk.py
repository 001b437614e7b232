"""A small disk of its own, really mounted, to be filled to the last byte. It needs root, or sudo without a password."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["fill", "mounted", "read_only"]


def _as_root(*command: str) -> None:
    subprocess.run([*([] if os.geteuid() == 0 else ["sudo", "-n"]), *command], check=True)


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """Mount a tmpfs of `size` ("4m") at `folder`, which is made, for the block."""
    folder.mkdir()
    _as_root("mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        _as_root("umount", "--lazy", str(folder))  # a test that failed may still have a file open


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Have nothing on the disk at `folder` be written within the block."""
    _as_root("mount", "-o", "remount,ro", str(folder))
    try:
        yield
    finally:
        _as_root("mount", "-o", "remount,rw", str(folder))


def fill(folder: Path) -> Path:
    """Write a file until the disk has no byte left; return it, to be unlinked."""
    filler = folder / "filler"
    descriptor = os.open(filler, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        for step in (1 << 16, 1 << 12, 1):
            while True:
                try:
                    os.write(descriptor, b"\0" * step)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    break
    finally:
        os.close(descriptor)
    return filler
