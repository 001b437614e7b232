"""The picture of `outlast top`: bars, what does not fit, remarks, and text that must not control the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from outlast.admin.guards import GuardStatus
from outlast.admin.overview import Overview
from outlast.cli.output.top_view import Frame, busiest, remark, sparkline, view
from outlast.core.forecast import Forecast
from outlast.core.history import QueueSample, entry
from outlast.core.store.broker import QueueStats

NOW = 1_700_000_000.0


def drawn(frame: Frame, *, height: int = 40, width: int = 160, bars: bool = True) -> str:
    """Return the picture as text."""
    console = Console(file=io.StringIO(), width=width, highlight=False, force_terminal=False)
    console.print(view(frame, height=height, width=width, bars=bars))
    found = console.file
    assert isinstance(found, io.StringIO)
    return found.getvalue()


def frame(error: str = "", **fields: object) -> Frame:
    """Return a frame of an overview with these fields."""
    given = {
        "queues": {"mail": QueueStats(depth=5, ready=3, running=2, dead=1, oldest=75.0, drain_rate=4.25, consumers=2)}
    }
    return Frame(Overview(**{**given, **fields}), at=NOW, shown="sqlite:jobs.db", every=2.0, error=error)  # type: ignore[arg-type]


def test_bars_show_the_depth_with_the_highest_full() -> None:
    samples = [QueueSample(at=NOW - age, depth=depth) for age, depth in ((1700, 0), (1000, 4), (950, 8), (10, 16))]
    bars = sparkline(samples, NOW)
    assert len(bars) == 20
    assert (bars[1], bars[-1], bars[9]) == ("▁", "█", "▅")
    assert bars[-5] == " "


def test_bars_of_an_empty_queue_and_of_none() -> None:
    assert sparkline([], NOW) == ""
    assert sparkline([QueueSample(at=NOW - 5000, depth=9)], NOW) == ""
    assert sparkline([QueueSample(at=NOW + 60, depth=9)], NOW) == ""
    assert sparkline([QueueSample(at=NOW, depth=0)], NOW).strip() == "▁"
    assert sparkline([QueueSample(at=NOW, depth=1)], NOW).strip() == "▂"


def test_the_queues_with_the_most_jobs_are_shown_where_not_all_fit() -> None:
    queues = {f"q{n}": QueueStats(depth=n) for n in range(30)}
    assert busiest(queues, 3) == ["q29", "q28", "q27"]
    assert busiest({"b": QueueStats(), "a": QueueStats(depth=9)}, 2) == ["a", "b"]
    picture = drawn(frame(queues=queues), height=12)
    assert "q29" in picture
    assert "q1 " not in picture
    assert "... and 24 queues with fewer jobs" in picture
    assert len(picture.splitlines()) <= 12


@pytest.mark.parametrize(
    ("stats", "waits", "told"),
    [
        (QueueStats(paused=True, depth=1), "waits", "paused"),
        (QueueStats(depth=1), "waits for guard payments", "waits for guard payments"),
        (QueueStats(depth=1), "", "no worker"),
        (QueueStats(depth=1, running=1), "", ""),
        (QueueStats(depth=5, consumers=1, max_depth=5), "", "full"),
        (QueueStats(), "", ""),
        (QueueStats(depth=9, consumers=1, forecast=Forecast(ends=1.0, why="grows by 2/s")), "", "grows by 2/s"),
        (QueueStats(depth=9, running=9, consumers=1, forecast=Forecast(why="its workers are unknown")), "", ""),
    ],
)
def test_what_is_the_matter_with_a_queue_is_told(stats: QueueStats, waits: str, told: str) -> None:
    assert remark(stats, waits) == told


def test_a_picture_has_queues_guards_and_entries() -> None:
    guards = (GuardStatus(name="payments", state="open", seconds=65.0, next_probe=4.0, queues={"mail": 3}),)
    marks = (entry("mark", "worker died", who="web:7", detail="SIGKILL"),)
    picture = drawn(frame(guards=guards, entries=marks, samples={"mail": [QueueSample(at=NOW, depth=50)]}))
    assert "5 unfinished, 2 running, 1 dead" in picture
    assert "mail" in picture
    assert "4.2/s" in picture
    assert "guard payments open for 1 min, next probe in 4.0 s, 3 jobs waiting" in picture
    assert "web:7: worker died (SIGKILL)" in picture
    assert "█" in picture


def test_a_guard_that_is_held_or_due_is_told_so() -> None:
    guards = (
        GuardStatus(name="a", state="open", held="open", next_probe=1.0),
        GuardStatus(name="b", state="half-open", next_probe=0.0),
    )
    picture = drawn(frame(guards=guards))
    assert "guard a open, held by an operator" in picture
    assert "guard b half-open, a probe is due" in picture


def test_a_store_without_queues_and_one_that_is_away() -> None:
    assert "no queues yet" in drawn(frame(queues={}))
    assert "0 unfinished" in drawn(frame(queues={}))
    assert "the figures are old: it is away\\x1b[2J" in drawn(frame(error="it is away\x1b[2J"))


def test_a_long_remark_cuts_no_figure() -> None:
    held = QueueStats(
        depth=1_540, ready=1_540, dead=287, oldest=200.0, consumers=2, forecast=Forecast(why="no one knows")
    )
    picture = drawn(frame(queues={"payments": held}, waits={"payments": "waits for bank: " + "x" * 300}), width=110)
    assert max(map(len, picture.splitlines())) <= 110
    for word in ("payments", "1,540", "287", "3 min", "unknown", "waits for bank"):
        assert word in picture


@pytest.mark.parametrize(
    ("width", "left_out"), [(140, set()), (100, {"last 30 min"}), (80, {"last 30 min", "due later"})]
)
def test_columns_that_do_not_fit_are_left_out(width: int, left_out: set[str]) -> None:
    picture = drawn(frame(samples={"mail": [QueueSample(at=NOW, depth=50)]}, waits={"mail": "waits"}), width=width)
    assert {each for each in ("last 30 min", "due later", "depth", "dead", "oldest") if each not in picture} == left_out
    assert max(map(len, picture.splitlines())) <= width
    assert "mail" in picture
    assert "…" not in picture


def test_bars_are_left_out_where_the_terminal_has_no_characters_for_them() -> None:
    picture = drawn(frame(samples={"mail": [QueueSample(at=NOW, depth=50)]}), bars=False)
    assert "█" not in picture
    assert "last 30 min" not in picture


def test_foreign_text_does_not_control_the_terminal() -> None:
    marks = (entry("audit", "\x1b[2Jpause", who="ann\x07"),)
    assert "\x1b" not in drawn(frame(entries=marks))
    assert "\x07" not in drawn(frame(entries=marks))
