"""The parts of an app, as data."""

from __future__ import annotations

import pytest

from outlast import ConfigurationError, StoreUnavailable
from outlast.core.parts import Part, Parts


async def test_parts_keep_their_order_and_all_are_asked_for_their_health() -> None:
    asked: list[str] = []

    def named(name: str) -> Part:
        async def health() -> None:
            asked.append(name)

        return Part(name, health=health)

    registered = Parts(named("store"), Part("silent"), named("cache"))
    assert [each.name for each in registered] == ["store", "silent", "cache"]
    await registered.check()
    assert asked == ["store", "cache"]


async def test_the_first_part_that_is_not_healthy_is_told() -> None:
    async def health() -> None:
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable, match="away"):
        await Parts(Part("fine"), Part("store", health=health)).check()


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ConfigurationError, match="part 'store' is registered twice"):
        Parts(Part("store"), Part("store"))
