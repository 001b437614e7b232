"""What an ended job is counted as."""

from __future__ import annotations

import pytest

from outlast.core.store.totals import OTHER, counted_as


@pytest.mark.parametrize(
    ("kind", "name"),
    [("send", "send"), ("send@2", "send"), ("render", OTHER), ("render@3", OTHER), ("", OTHER), (OTHER, OTHER)],
)
def test_a_job_counts_under_the_declared_name_of_its_kind_in_every_version(kind: str, name: str) -> None:
    assert counted_as(kind, {"send", "pay"}) == name
