"""A queue belongs to the app that declared it: another app on the same store is refused before any job is touched."""

from __future__ import annotations

import pytest

from outlast.core.errors import ConfigurationError
from outlast.core.topology import Queue, Topology
from tests.support.jobs import Desk


def topology(app: str, *names: str, max_depth: int | None = None) -> Topology:
    return Topology(tuple(Queue(name=name, max_depth=max_depth) for name in names), app=app)


async def test_a_queue_of_another_app_is_refused_with_the_fix(desk: Desk) -> None:
    await desk.store.declare(topology("shop", "mail"))
    with pytest.raises(ConfigurationError, match=r"'mail'.*'shop'.*'blog-2'.*OUTLAST_BLOG_2_URL"):
        await desk.store.declare(topology("blog-2", "mail"))


async def test_what_is_refused_changes_nothing(desk: Desk) -> None:
    await desk.store.declare(topology("shop", "mail", max_depth=3))
    await desk.publish("mail.1")
    with pytest.raises(ConfigurationError):
        await desk.store.declare(topology("blog", "posts", "mail", max_depth=1))
    assert {name: each.max_depth for name, each in (await desk.store.stats([])).items()} == {"mail": 3}
    assert await desk.ids("mail") == ["mail.1"]
    await desk.store.declare(topology("third", "posts"))


async def test_the_same_app_may_declare_again_and_change_the_bounds(desk: Desk) -> None:
    await desk.store.declare(topology("shop", "mail"))
    await desk.store.declare(topology("shop", "mail", max_depth=3))
    assert (await desk.stats("mail")).max_depth == 3


async def test_each_app_has_queues_of_its_own(desk: Desk) -> None:
    await desk.store.declare(topology("shop", "mail"))
    await desk.store.declare(topology("blog", "posts"))
    assert set(await desk.store.stats([])) == {"mail", "posts"}


async def test_a_queue_that_a_publish_made_belongs_to_whoever_declares_it_first(desk: Desk) -> None:
    await desk.publish("mail.1")
    await desk.store.declare(topology("shop", "mail"))
    with pytest.raises(ConfigurationError):
        await desk.store.declare(topology("blog", "mail"))
    assert await desk.ids("mail") == ["mail.1"]


async def test_who_has_no_name_is_refused_nowhere_and_takes_nothing(desk: Desk) -> None:
    await desk.store.declare(topology("", "mail"))
    await desk.store.declare(topology("shop", "mail"))
    await desk.store.declare(topology("", "mail", max_depth=2))
    assert (await desk.stats("mail")).max_depth == 2
    with pytest.raises(ConfigurationError):
        await desk.store.declare(topology("blog", "mail"))


async def test_two_stores_on_one_place_agree_on_whose_it_is(two: tuple[Desk, Desk]) -> None:
    one, other = two
    await one.store.declare(topology("shop", "mail"))
    with pytest.raises(ConfigurationError):
        await other.store.declare(topology("blog", "mail"))
