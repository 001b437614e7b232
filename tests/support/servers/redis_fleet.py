"""Redis servers to be killed and demoted, Sentinels and Clusters: on free ports, ended with the test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import hiredis

from tests.support.servers.redis_programs import program, version_of

__all__ = ["DEBUG", "Node", "cluster", "free_port", "node", "sentinels", "wait_for"]

COME_UP: Final = 60.0
"""Seconds that a server has until it answers."""
DEBUG: Final[dict[str, Any]] = {"enable_debug_command": "yes"} if version_of(program()) >= (7,) else {}
"""Options with which a server permits DEBUG; an older one always does."""


def free_port() -> int:
    """Return a port that, like its Cluster bus port (+10000), nobody uses."""
    while True:
        with socket.socket() as probe, socket.socket() as bus, suppress(OSError, OverflowError):
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            bus.bind(("127.0.0.1", port + 10_000))
            return port


class Node:
    """One redis-server process and its folder. options: of its configuration, underscores for dashes."""

    def __init__(self, folder: Path, *, port: int = 0, sentinel: bool = False, **options: Any) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.pid = 0
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "redis.conf"
        plain = {} if sentinel else {"save": '""', "appendonly": "no", "repl_diskless_sync_delay": "0"}
        lines = {"port": self.port, "bind": "127.0.0.1", "dir": str(folder), "daemonize": "no", **plain, **options}
        self._file.write_text(
            "".join(
                f"{name.replace('_', '-')} {each}\n"
                for name, value in lines.items()
                for each in (value if isinstance(value, list) else [value])
            )
        )

    @property
    def url(self) -> str:
        """Its URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *, ready: bool = True) -> Node:
        """Start it, and return when it answers and has read its files; with ready=False when it answers at all."""
        command = [program(), str(self._file), *(["--sentinel"] if self._sentinel else [])]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.pid = self._process.pid
        deadline = time.monotonic() + COME_UP
        while True:
            try:
                self.ask("PING")
                return self
            except hiredis.ReplyError:
                if not ready:
                    return self
            except OSError:
                pass
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"redis-server did not come up: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.01)

    def ask(self, *command: str | int, before: Sequence[Sequence[str]] = ()) -> Any:
        """Send one command on a connection of its own, after those `before`; return its reply, raise ReplyError."""
        reader = hiredis.Reader(replyError=hiredis.ReplyError)
        reply: Any = None
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as line:
            for each in (*before, command):
                packed: Any = tuple(each)
                line.sendall(hiredis.pack_command(packed))
                while (reply := reader.gets()) is False:
                    data = line.recv(65536)
                    if not data:
                        raise ConnectionResetError("the server closed the connection")
                    reader.feed(data)
                if isinstance(reply, Exception):
                    raise reply
        return reply

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End its process, by SIGKILL as a rule, and return when it is gone."""
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGCONT)
            self._process.send_signal(how)
            self._process.wait(COME_UP)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def node(folder: Path, **options: Any) -> Iterator[Node]:
    """Have a server for the block."""
    server = Node(folder, **options)
    try:
        yield server.start()
    finally:
        server.kill()


@contextmanager
def sentinels(folder: Path, *, replicas: int = 1, **options: Any) -> Iterator[tuple[list[Node], list[Node]]]:
    """Have a master with replicas, and three Sentinels that know it as "mymaster"; yield (servers, sentinels)."""
    servers = [Node(folder / "s0", **options)]
    master = servers[0].port
    servers += [Node(folder / f"s{n}", replicaof=f"127.0.0.1 {master}", **options) for n in range(1, replicas + 1)]
    orders: dict[str, Any] = {
        "sentinel monitor": f"mymaster 127.0.0.1 {master} 2",
        "sentinel down-after-milliseconds": "mymaster 500",
        "sentinel failover-timeout": "mymaster 3000",
    }
    watchers = [
        Node(
            folder / f"sentinel{n}",
            sentinel=True,
            **orders,
        )
        for n in range(3)
    ]
    try:
        for each in servers:
            each.start()
        wait_for(lambda: servers[0].ask("INFO", "replication").count(b"state=online") == replicas)
        for each in watchers:
            each.start()
        wait_for(lambda: all(_fields(each.ask("SENTINEL", "MASTER", "mymaster")) == (replicas, 2) for each in watchers))
        yield servers, watchers
    finally:
        for each in (*watchers, *servers):
            each.kill()


def _fields(reply: list[bytes]) -> tuple[int, int]:
    found: Mapping[bytes, bytes] = dict(zip(reply[::2], reply[1::2], strict=True))
    return int(found[b"num-slaves"]), int(found[b"num-other-sentinels"])


@contextmanager
def cluster(folder: Path, *, masters: int = 3, replicas: int = 0, **options: Any) -> Iterator[list[Node]]:
    """Have a Cluster of these many masters, the slots shared out; the servers of the replicas come last.

    A node is taken for dead after a second, unless `cluster_node_timeout` (ms) says otherwise.
    """
    options = {"cluster_enabled": "yes", "cluster_node_timeout": "1000"} | options
    servers = [Node(folder / f"n{n}", **options) for n in range(masters + replicas)]
    try:
        for each in servers:
            each.start()
        for n, each in enumerate(servers[:masters]):
            first, last = 16384 * n // masters, 16384 * (n + 1) // masters - 1
            each.ask("CLUSTER", "ADDSLOTS", *range(first, last + 1))
        for n, each in enumerate(servers):
            each.ask("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        for each in servers[1:]:
            each.ask("CLUSTER", "MEET", "127.0.0.1", servers[0].port)
        wait_for(lambda: all(len(each.ask("CLUSTER", "NODES").splitlines()) == len(servers) for each in servers))
        for n, each in enumerate(servers[masters:]):
            wanted = servers[n % masters].ask("CLUSTER", "MYID").decode()
            wait_for(partial(_follows, each, wanted))
        wait_for(lambda: all(b"cluster_state:ok" in each.ask("CLUSTER", "INFO") for each in servers))
        yield servers
    finally:
        for each in servers:
            each.kill()


def _follows(server: Node, master: str) -> bool:
    try:
        server.ask("CLUSTER", "REPLICATE", master)
    except hiredis.ReplyError:
        return False
    return True


def wait_for(true: Callable[[], object], within: float = 90.0) -> None:
    """Look every 20 ms until it is so."""
    deadline = time.monotonic() + within
    while True:
        with suppress(OSError, hiredis.ReplyError):
            if true():
                return
        if time.monotonic() > deadline:
            raise TimeoutError("it did not become so")
        time.sleep(0.02)
