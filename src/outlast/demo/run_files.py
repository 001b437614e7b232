"""Where the parts of one demo run find each other: a small file in the run's own directory."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec

__all__ = ["RunFiles", "free_ports", "here"]

_FILE = "places.json"


class RunFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The addresses of one run. Every process of the run has `root` as its working directory."""

    root: str
    shop: int
    provider: int
    smtp: int

    @property
    def directory(self) -> Path:
        """The run's directory, made by the orchestrator."""
        return Path(self.root)

    @property
    def invoices(self) -> Path:
        """The folder with one PDF for each order."""
        return self.directory / "invoices"

    @property
    def charges(self) -> Path:
        """The payment provider's own record."""
        return self.directory / "provider.jsonl"

    @property
    def mails(self) -> Path:
        """The mail catcher's own record."""
        return self.directory / "mail.jsonl"

    @property
    def runs(self) -> Path:
        """What the workers tell about their runs; feeds the page, judges nothing."""
        return self.directory / "runs.jsonl"

    def save(self) -> None:
        """Make the directory's folders and write the file that `here` reads."""
        self.invoices.mkdir(parents=True, exist_ok=True)
        (self.directory / _FILE).write_bytes(msgspec.json.encode(self))


@cache
def here() -> RunFiles:
    """Return the places of the run whose directory is the working directory."""
    return msgspec.json.decode(Path(_FILE).read_bytes(), type=RunFiles)


def free_ports(count: int, rng: random.Random) -> list[int]:
    """Return ports on which nothing listens on loopback now.

    They lie below the range from which systems choose the source port of a connection (Linux 32768, macOS 49152):
    inside it, one of the thousands of attempts to reach the provider while it is down would sooner or later connect to
    itself, and hold the port against the provider's return.
    """
    found: list[int] = []
    for port in rng.sample(range(20_000, 32_000), 2_000):
        if len(found) == count:
            return found
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    raise OSError(f"found {len(found)} free ports of {count} between 20000 and 31999 on 127.0.0.1")
