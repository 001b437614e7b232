"""One measurement of one system on RabbitMQ: one node for the whole run, a virtual host of its own for each store."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.measure import Bench, Figures
from benchmarks.processes import cpu
from benchmarks.redis_server import RedisServer
from tests.support.servers.rabbitmq_server import RabbitServer, shared_rabbit

__all__ = ["RabbitBench", "facts"]

BRIDGED: Final = "OUTLAST_AMQP_URL"
"""A system that sets this variable has its store on a Redis server of its own, and RabbitMQ beside it."""


def facts() -> str:
    """Return the version of the node, and how it is started."""
    overview = shared_rabbit().api("GET", "overview")
    return f"{overview['rabbitmq_version']} on Erlang {overview['erlang_version']}, one scheduler thread (+S 1:1)"


class RabbitBench(Bench):
    """One system in one folder of its own, in virtual hosts of its own."""

    def use(self, name: str) -> None:
        """Work on the virtual host `name` from now on; it is made when a measurement begins."""
        super().use(name)
        self._node: RabbitServer = shared_rabbit()
        self._stack = ExitStack()
        self._redis: RedisServer | None = None

    def fresh(self) -> None:
        """Start with a new virtual host, a new Redis server where one is needed, and an empty board."""
        self.release()
        url = self._node.url_of(self._stack.enter_context(self._node.vhost()))
        self.env["BENCH_AMQP"] = self.env["OUTLAST_URL"] = url
        if BRIDGED in self.system.env:
            self._redis = RedisServer(self.folder)
            self._stack.callback(self._redis.stop)
            self.env |= {"OUTLAST_URL": self._redis.url, BRIDGED: url}
        self.board.clear()

    def release(self) -> None:
        """Delete the virtual host, and end the Redis server."""
        self._stack.close()
        self._redis = None

    def server_cpu(self) -> float:
        """Return the CPU seconds that the node has used, with those of the Redis server."""
        node = int((Path(self._node.folder) / "pid").read_text())
        return cpu([node]) + (self._redis.cpu() if self._redis is not None else 0.0)

    def beside(self, jobs: int) -> Figures:
        """The disk is the node's alone."""
        return {}
