"""No read that begins after an invalidation returns a value from before it, however reads and updates meet."""

from __future__ import annotations

from outlast.toolkit.access import Toolkit
from tests.faults.toolkit.interleavings import interleave
from tests.support.toolkit_cache import cache_on


async def test_no_old_value_is_returned_after_an_invalidation(kit: Toolkit, other_kit: Toolkit) -> None:
    verdict = await interleave([cache_on(kit), cache_on(other_kit)], 200, seed=1, tags=True)
    assert verdict.old == []
    assert verdict.interleavings == 200
    assert verdict.computed < verdict.reads, "some reads were served"


async def test_nor_in_one_process(kit: Toolkit) -> None:
    verdict = await interleave([cache_on(kit), cache_on(kit)], 200, seed=2, tags=True)
    assert verdict.old == []
    assert verdict.computed < verdict.reads


async def test_nor_without_tags(kit: Toolkit, other_kit: Toolkit) -> None:
    verdict = await interleave([cache_on(kit), cache_on(other_kit)], 100, seed=3)
    assert verdict.old == []
    assert verdict.computed < verdict.reads
