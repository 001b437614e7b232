"""What `outlast jobs show` prints of attempts and times."""

from __future__ import annotations

from typing import Any

import pytest

from outlast.cli.output.job_detail import detail
from outlast.core.message import Failure, Usage
from outlast.core.store.records import JobRecord


def shown(capsys: pytest.CaptureFixture[str], **fields: Any) -> str:
    """Return what is printed of a job."""
    values: dict[str, Any] = {
        "id": "q.1",
        "queue": "q",
        "kind": "send",
        "state": "dead",
        "args": {},
        "enqueued_at": 1000.0,
        "run_at": 1000.0,
        **fields,
    }
    detail(JobRecord(**values))
    return capsys.readouterr().out


def failed(*of: tuple[int, str]) -> tuple[Failure, ...]:
    return tuple(Failure(attempt, 1000.0 + at, type_, f"number {at}") for at, (attempt, type_) in enumerate(of))


def heads(text: str) -> list[str]:
    """Return the lines about attempts, without their times."""
    lines = [line for line in text.splitlines() if line.startswith(("attempt 1 ", "attempt 2 ", "made ready"))]
    return [line.partition(" at ")[0] + line.rpartition(")")[2] for line in lines]


def test_crashes_of_one_attempt_are_one(capsys: pytest.CaptureFixture[str]) -> None:
    crashes = failed((1, "WorkerDied"), (1, "WorkerDied"), (1, "WorkerDied"))
    text = shown(capsys, failures=crashes)
    assert heads(text) == ["attempt 1 failed 3 times, the last time: WorkerDied"]
    assert "number 2" in text
    mixed = shown(capsys, failures=failed((1, "WorkerDied"), (1, "ValueError"), (2, "NoProcess"), (2, "NoProcess")))
    assert heads(mixed) == [
        "attempt 1 failed: WorkerDied",
        "attempt 1 failed: ValueError",
        "attempt 2 failed 2 times, the last time: NoProcess",
    ]


def test_a_redrive_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    told = heads(shown(capsys, failures=failed((1, "ValueError"), (2, "ValueError"), (1, "ValueError"))))
    assert [line.partition(" ")[0] for line in told] == ["attempt", "attempt", "made", "attempt"]
    once = heads(shown(capsys, failures=failed((1, "ValueError"), (1, "ValueError"))))
    assert [line.partition(" ")[0] for line in once] == ["attempt", "made", "attempt"], "also of a single attempt"


def test_the_attempt_of_a_waiting_job_is_the_next_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert "attempt    2, the next one" in shown(capsys, state="scheduled", attempt=2)
    assert "the next one" not in shown(capsys, state="running", attempt=2)


def test_durations(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, state="succeeded", finished_at=1090.0, usage=Usage(wall=2.5, cpu=0.5))
    assert "took       2 min from its acceptance; the last run 2.5 s" in text
