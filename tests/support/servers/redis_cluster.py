"""The one Cluster of a test process: three masters, started on first use, ended with the process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from tests.support.servers.redis_acl import PASSWORD, USER, setuser
from tests.support.servers.redis_fleet import Node, cluster
from tests.support.servers.redis_server import SHARED

__all__ = ["permit", "shared_cluster", "user"]


def user() -> str:
    """Return what a configuration file says of the user of docs/redis.md."""
    return " ".join(setuser("*", "+cluster|slots", "+asking")[2:])


def permit(nodes: list[Node]) -> str:
    """Make the user of docs/redis.md known to all nodes; return the URL of their Cluster for that user."""
    for each in nodes:
        assert each.ask(*setuser("*", "+cluster|slots", "+asking")) == b"OK"
    return f"redis+cluster://{USER}:{PASSWORD}@127.0.0.1:{nodes[0].port}"


@cache
def shared_cluster() -> str:
    """Return its URL, for the user of docs/redis.md: each test has a namespace of its own."""
    folder = Path(tempfile.mkdtemp(prefix="outlast-cluster-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    stack = ExitStack()
    atexit.register(stack.close)
    # No test kills a node of it, and a node of a loaded host may say nothing for seconds.
    nodes = stack.enter_context(cluster(folder, masters=3, cluster_node_timeout="60000"))
    SHARED.extend(each.port for each in nodes)
    return permit(nodes)
