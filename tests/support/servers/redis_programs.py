"""Which server programs there are: the one that the suite runs on, and others that scripts/servers has installed."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["IN_SUITE", "installed", "program", "version_of"]

_SERVERS: Final = Path(__file__).resolve().parents[3] / ".servers"
IN_SUITE: Final = ("redis-6.2", "valkey-9.1")
"""Those that the suite holds to the same words as the installed one."""


def program() -> str:
    """Return the server that the suite runs on: OUTLAST_TEST_REDIS_SERVER, by default the one that is installed."""
    return os.environ.get("OUTLAST_TEST_REDIS_SERVER", "redis-server")


def installed(*names: str) -> dict[str, str]:
    """Return the programs of these servers, as far as they are there: not where no wheel carries them."""
    found = {name: _SERVERS / name / "server" for name in names}
    return {name: str(path) for name, path in found.items() if path.exists()}


@cache
def version_of(server: str) -> tuple[int, ...]:
    """Return the version of a server program, as it says it."""
    said = subprocess.run([server, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r" v=([\d.]+)", said)
    assert found is not None, said
    return tuple(map(int, found[1].split(".")))
