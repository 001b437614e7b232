"""The demo's page shows the state to anybody on this machine, and lets only itself press its buttons."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from outlast.demo.board import Board
from outlast.demo.customers import OrderAnswer
from outlast.demo.page import make_page
from outlast.demo.run_files import RunFiles

HOST = "127.0.0.1:20001"
OURS = {"Origin": f"http://{HOST}"}


class Bench:
    """A page over an empty board, and what its button did."""

    def __init__(self, directory: Path) -> None:
        places = RunFiles(root=str(directory), shop=1, provider=2, smtp=3)
        places.save()
        self.board = Board(places, 3, 0.0, workers=2)
        self.pressed = 0
        app = make_page(lambda: self.board.snapshot(1.0), {"kill": self._press})
        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=f"http://{HOST}")

    async def _press(self) -> None:
        self.pressed += 1


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    async with made.client:
        yield made


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js"])
async def test_the_page_fetches_nothing_from_elsewhere(bench: Bench, path: str) -> None:
    answer = await bench.client.get(path)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    text = answer.text.replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in text
    assert "https://" not in text
    assert "innerHTML" not in text


async def test_the_state_tells_where_each_order_is(bench: Bench) -> None:
    bench.board.accept(OrderAnswer(order="a", job="payments.a", cents=500, replayed=False, seconds=0.004))
    bench.board.look(1.0)
    state = (await bench.client.get("/state")).json()
    assert state["counts"]["accepted"] == 1
    assert state["stages"] == "1"
    assert state["ledger"] is None


async def test_a_button_works_for_the_page_itself_once_the_run_is_over(bench: Bench) -> None:
    assert (await bench.client.post("/do/kill", headers=OURS)).status_code == 409
    bench.board.staying = True
    assert (await bench.client.post("/do/kill", headers=OURS)).status_code == 204
    assert (await bench.client.post("/do/else", headers=OURS)).status_code == 409
    assert bench.pressed == 1


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "http://evil.example"}, {"Host": "evil.example", "Origin": "http://evil.example"}],
    ids=["no origin", "another origin", "a name that points at loopback"],
)
async def test_another_web_page_presses_nothing(bench: Bench, headers: dict[str, str]) -> None:
    bench.board.staying = True
    assert (await bench.client.post("/do/kill", headers=headers)).status_code == 403
    assert bench.pressed == 0
