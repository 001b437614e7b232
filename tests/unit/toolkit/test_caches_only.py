"""On Memcached there is a cache without tags: what needs more is refused where it is declared, with the fix."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi import FastAPI

from outlast import ConfigurationError, Outlast, Settings
from outlast.fastapi import CachedRoute, CachedRoutes, Idempotency, IdempotencyMiddleware, install
from outlast.testing.clock import FakeClock
from outlast.toolkit.file import ToolkitFile
from outlast.toolkit.memcached import ToolkitMemcached
from outlast.toolkit.memory import ToolkitMemory
from outlast.toolkit.server import ToolkitServer
from outlast.toolkit.stores import connect_toolkit

URL = "memcached://127.0.0.1:1"


async def no_app(scope: object, receive: object, send: object) -> None:
    """An app that is never called."""


DECLARE: list[Callable[[Outlast], object]] = [
    lambda shop: shop.lock("stock"),
    lambda shop: shop.semaphore("reports", 2),
    lambda shop: shop.leader("feed"),
    lambda shop: shop.limiter("1/second", name="api"),
    lambda shop: shop.sessions(),
    lambda shop: shop.board("best-sellers"),
    lambda shop: shop.unique("visitors"),
    lambda shop: IdempotencyMiddleware(no_app, shop),
    lambda shop: install(FastAPI(), shop, idempotency=Idempotency()),
]


@pytest.mark.parametrize("declare", DECLARE)
@pytest.mark.parametrize("by", ["code", "variable"])
def test_another_piece_is_refused_where_it_is_declared(
    declare: Callable[[Outlast], object], by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(url="memory:", toolkit_url=URL) if by == "code" else None
    if by == "variable":
        monkeypatch.setenv("OUTLAST_TOOLKIT_URL", URL)
    shop = Outlast("shop", settings=settings)
    with pytest.raises(ConfigurationError, match=r"toolkit_url='memcached://.*OUTLAST_TOOLKIT_URL.*'redis://HOST'"):
        declare(shop)


def test_tags_are_refused_where_they_are_declared() -> None:
    shop = Outlast("shop", settings=Settings(url="memory:", toolkit_url=URL))

    @shop.cache.cached(ttl=60)
    async def product(id: int) -> int:
        return id

    for tags in (["products"], ["product:{id}"]):
        with pytest.raises(ConfigurationError, match=r"no tags on Memcached: leave out tags=.*'redis://HOST'"):
            shop.cache.cached(ttl=60, tags=tags)(product)
    route = CachedRoute("/products/{id}", ttl=60, tags=["product:{id}"])
    with pytest.raises(ConfigurationError, match="no tags on Memcached"):
        CachedRoutes(no_app, shop=shop, routes=[route])


def test_a_wrong_variable_is_no_error_of_a_declaration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLAST_LEASE", "soon")
    Outlast("shop").lock("stock")


async def test_tags_are_refused_where_they_are_used() -> None:
    shop = Outlast("shop", settings=Settings(url="memory:", toolkit_url=URL))

    async def compute() -> int:
        return 1

    with pytest.raises(ConfigurationError, match="no tags"):
        await shop.cache.set("k", 1, ttl=60, tags=["a"])
    with pytest.raises(ConfigurationError, match="no tags"):
        await shop.cache.get_or_set("k", compute, ttl=60, tags=["a"])
    with pytest.raises(ConfigurationError, match="no tags"):
        await shop.cache.invalidate("a")


def test_a_store_that_caches_only_has_no_form_of_another_piece() -> None:
    store = connect_toolkit(URL, FakeClock())
    assert isinstance(store, ToolkitMemcached)
    forms: tuple[Callable[[ToolkitMemory], int], Callable[[ToolkitFile], int], Callable[[ToolkitServer], int]]
    forms = (lambda _: 1, lambda _: 2, lambda _: 3)
    with pytest.raises(ConfigurationError, match="Memcached keeps a cache only"):
        store.choose(*forms)
