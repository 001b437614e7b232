"""How an app is wired: what needs no store works without one, also with a spool."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlast import ConfigurationError, Outlast, Settings


async def test_a_wrong_url_is_refused_when_the_store_is_opened_and_not_before(tmp_path: Path) -> None:
    shop = Outlast("shop", settings=Settings(url="reddis://s3cret@cache", spool=str(tmp_path / "spool.db")))

    @shop.job
    async def send(order: int) -> None: ...

    message = send.message(7)
    assert message.kind == "send"
    with pytest.raises(ConfigurationError, match=r"url='reddis:\.\.\.' \(Settings or OUTLAST_URL\)"):
        await shop.enqueue_many([message])
    assert not (tmp_path / "spool.db").exists()
