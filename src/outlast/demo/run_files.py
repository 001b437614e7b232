"""The ports and files of one demo run, which its processes read from a file in the run's directory."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec

__all__ = ["RunFiles", "free_ports", "run_files"]

_FILE = "run.json"


class RunFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The ports and files of one run. Every process of the run has `root` as its working directory."""

    root: str
    shop: int
    provider: int
    smtp: int

    @property
    def directory(self) -> Path:
        """The run's directory, which the orchestrator makes."""
        return Path(self.root)

    @property
    def catalogue(self) -> Path:
        """The shop's database: products, stock, orders."""
        return self.directory / "catalogue.db"

    @property
    def toolkit(self) -> Path:
        """The folder with the file of the toolkit, which the outage takes away."""
        return self.directory / "toolkit"

    @property
    def objects(self) -> Path:
        """The folder of the object store, with one PDF for each order."""
        return self.directory / "objects"

    @property
    def charges(self) -> Path:
        """The payment provider's book."""
        return self.directory / "provider.jsonl"

    @property
    def mails(self) -> Path:
        """The e-mails that the mail server accepted."""
        return self.directory / "mail.jsonl"

    @property
    def sales(self) -> Path:
        """The sales that the analytics recorded."""
        return self.directory / "sales.jsonl"

    @property
    def runs(self) -> Path:
        """The events that the workers record about their runs; only for the page, not for the ledger."""
        return self.directory / "runs.jsonl"

    def save(self) -> None:
        """Make the directories and write the file that `run_files` reads."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.toolkit.mkdir(exist_ok=True)
        (self.directory / _FILE).write_bytes(msgspec.json.encode(self))


@cache
def run_files() -> RunFiles:
    """Return the ports and files of the run in the working directory."""
    return msgspec.json.decode(Path(_FILE).read_bytes(), type=RunFiles)


def free_ports(count: int, rng: random.Random) -> list[int]:
    """Return loopback ports that are free now.

    They are below the range of source ports of connections (Linux from 32768, macOS from 49152). Inside that range, one
    of the thousands of attempts to reach the provider while it is down could connect to itself, and would then keep the
    port from the provider when it starts again.
    """
    found: list[int] = []
    for port in rng.sample(range(20_000, 32_000), 2_000):
        if len(found) == count:
            return found
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    raise OSError(f"found {len(found)} free ports of {count} between 20000 and 31999 on 127.0.0.1")
