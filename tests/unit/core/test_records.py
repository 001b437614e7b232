"""A record shows what the handler gave as plain data, and as JSON."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from outlast.core.store.records import JobRecord


def record(**values: Any) -> JobRecord:
    return JobRecord(id="q.1", queue="q", kind="k", state="ready", args={}, enqueued_at=0.0, run_at=0.0, **values)


@pytest.mark.parametrize("value", [{"page": 3, "of": 3}, [1, "two", None], 7, "text", False])
def test_progress_and_result_are_plain_values(value: object) -> None:
    raw = Raw(msgspec.json.encode(value))
    found = record(raw_result=raw, raw_progress=raw)
    assert (found.result, found.progress) == (value, value)
    written = msgspec.json.decode(msgspec.json.encode(found))
    assert (written["result"], written["progress"]) == (value, value)


def test_none_where_there_is_none() -> None:
    assert (record().result, record().progress) == (None, None)
    assert record(raw_result=Raw(b"null")).result is None
