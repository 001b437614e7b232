"""A process and everything below it: who they are, and an end to whatever is left of them."""

from __future__ import annotations

import subprocess
from contextlib import suppress

import psutil

__all__ = ["end_all", "family_of"]


def family_of(everyone: psutil.Process) -> list[psutil.Process]:
    """Return the process and all below it; nobody when it is gone."""
    with suppress(psutil.NoSuchProcess):
        return [everyone, *everyone.children(recursive=True)]
    return []


def end_all(process: subprocess.Popen[bytes], everyone: psutil.Process) -> None:
    """Kill the process and all below it; return when they are gone."""
    family = family_of(everyone)
    for each in family:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()
    psutil.wait_procs(family[1:], timeout=10)
