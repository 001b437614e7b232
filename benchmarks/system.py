"""What is known of one system that is measured: how it is set and started, and how many jobs a run of it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["Patch", "Store", "System", "Worker", "module", "outlast", "script"]

Store = Literal["sqlite", "redis", "rabbitmq"]
Worker = Callable[[str, int], list[str]]


@dataclass(frozen=True)
class Patch:
    """A change to one installed file: `old` is there once, `new` is as long."""

    file: str
    old: bytes
    new: bytes


@dataclass(frozen=True, kw_only=True)
class System:
    """One system. settings and sync are told below the table.

    packages: pinned, for a virtual environment (node: node_modules) of its own; none: it runs in our environment.
    peer: somebody else's; measured in at most three of the pairs, unless `gated`: we hold ourselves to a ratio to it.
    module: makes the client of the producer (node: the file to run). worker: its command, by interpreter and processes.
    jobs: in one drain. singles: one by one, over HTTP and from 50 coroutines. backlog: for four draining processes.
    service: a module with an `application()` of its own, for HTTP. bulk: jobs in one bulk call, None without one.
    spreads: its worker command takes the number of processes; else it is started so many times.
    """

    name: str
    title: str
    module: str
    worker: Worker
    jobs: int
    singles: int
    settings: str
    sync: str
    backlog: int = 0
    store: Store = "sqlite"
    peer: bool = True
    gated: bool = False
    node: bool = False
    packages: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    service: str | None = None
    bulk: int | None = 500
    spreads: bool = False
    patch: Patch | None = None


def outlast(python: str, processes: int) -> list[str]:
    """Return our own worker command."""
    command = str(Path(python).with_name("outlast"))
    return [python, command, "worker", "benchmarks.outlast_jobs:shop", "--processes", str(processes)]


def module(name: str, *more: str) -> Worker:
    """Return the worker command that runs a module."""
    return lambda python, _: [python, "-m", name, *more]


def script(name: str, *more: str) -> Worker:
    """Return the worker command that runs a command installed beside the interpreter."""
    return lambda python, _: [python, str(Path(python).with_name(name)), *more]
