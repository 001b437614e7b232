"""How an app is wired: what needs no store works without one, also with a spool."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from outlast import ConfigurationError, Outlast, Settings
from outlast.resilience import link


async def test_a_wrong_url_is_refused_when_the_store_is_opened_and_not_before(tmp_path: Path) -> None:
    shop = Outlast("shop", settings=Settings(url="reddis://s3cret@cache", spool=str(tmp_path / "spool.db")))

    @shop.job
    async def send(order: int) -> None: ...

    message = send.message(7)
    assert message.kind == "send"
    with pytest.raises(ConfigurationError, match=r"url='reddis:\.\.\.' \(Settings or OUTLAST_URL\)"):
        await shop.enqueue_many([message])
    assert not (tmp_path / "spool.db").exists()


def test_the_first_uses_in_many_threads_get_one_link_of_guards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Outlast("shop", settings=Settings(url=f"sqlite:{tmp_path}/jobs.db"))
    together = threading.Barrier(4)
    load, made = Settings.load, link.GuardLink

    def wait_for_others() -> None:
        with suppress(threading.BrokenBarrierError):
            together.wait(0.2)  # none of the others comes here

    def late_load(*args: Any) -> Settings:
        wait_for_others()
        return load(*args)

    def late_link(*args: Any) -> link.GuardLink:
        wait_for_others()
        return made(*args)

    monkeypatch.setattr(Settings, "load", late_load)
    monkeypatch.setattr(link, "GuardLink", late_link)
    with ThreadPoolExecutor(4) as threads:
        links = list(threads.map(lambda _: shop._guard_sharing(), range(4)))
    assert len({id(each) for each in links}) == 1
    assert links[0] is not None
