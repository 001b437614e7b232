"""A process that uses the toolkit from blocking code alone ends in order: no connection and no task is left behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers.redis_server import RedisServer

CODE = """
import sys
from outlast import Outlast, Settings

shop = Outlast("shop", settings=Settings(url="memory:", toolkit_url=sys.argv[1]))
with shop.lock("a") as lease:
    print(lease.token > 0)
if len(sys.argv) > 2:
    kept = shop.lock("b")
    kept.__enter__()
"""


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A store of each kind."""
    server = RedisServer()
    server.start()
    yield ["memory:", f"sqlite:{tmp_path_factory.mktemp('kit') / 'toolkit.db'}", server.url]
    server.remove()


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("left", [[], ["left open"]])
def test_it_ends_without_a_word(urls: list[str], number: int, left: list[str], tmp_path: Path) -> None:
    # Not "-X dev": asyncio would tell of each slow step of a busy machine.
    command = [sys.executable, "-W", "always", "-c", CODE, urls[number], *left]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)
