"""The fuzz targets, each for so many seconds: its number of inputs, and the faults."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, given, seed, settings

from outlast.core.policy import DEFAULTS
from outlast.core.store.store import CompleteStore
from outlast.testing.clock import FakeClock
from tests.faults.fuzz.command_line import fuzz_command_line
from tests.faults.fuzz.urls import CANARY, URLS, shown
from tests.faults.proofs.damage import damage, vandalize_file
from tests.support.stores import CASES
from tests.unit.declare import test_arrival_property as arrival
from tests.unit.enqueue import test_doors as doors
from tests.unit.enqueue import test_event_doors as events
from tests.unit.toolkit import test_keys as keys
from tests.unit.toolkit import test_toolkit_doors as toolkit

__all__ = ["TARGETS", "Found", "fuzz"]

_PORTION: Final = 500
"""Examples between two looks at the clock."""


@dataclass
class Found:
    """inputs: how many were tried. faults: what was wrong, as text, and how often."""

    inputs: int = 0
    faults: Counter[str] = field(default_factory=Counter)


def _by_hypothesis(*properties: Callable[..., Any]) -> Callable[[Path, float, int], Awaitable[Found]]:
    """Return a target that tries properties in turn, each with other examples every time."""

    async def run(folder: Path, seconds: float, number: int) -> Found:
        found, until = Found(), time.monotonic() + seconds
        while time.monotonic() < until:
            for each in properties:
                number += 1
                await asyncio.to_thread(_portion, each, number, found)
        return found

    return run


def _portion(tried: Callable[..., Any], number: int, found: Found) -> None:
    inner = tried.hypothesis.inner_test  # type: ignore[attr-defined]

    def counted(*values: Any, **named: Any) -> None:
        found.inputs += 1
        inner(*values, **named)

    counted.__signature__ = inspect.signature(inner)  # type: ignore[attr-defined]
    given_ = tried.hypothesis._given_kwargs  # type: ignore[attr-defined]
    chosen = settings(
        max_examples=_PORTION, deadline=None, database=None, derandomize=False, suppress_health_check=list(HealthCheck)
    )
    try:
        seed(number)(chosen(given(**given_)(counted)))()
    except Exception as error:
        notes = " ".join(getattr(error, "__notes__", ()))
        found.faults[f"{inner.__name__}, seed {number}: {type(error).__name__}: {str(error)[:300]} {notes[:600]}"] += 1


async def _records(folder: Path, seconds: float, number: int) -> Found:
    case = next(case for case in CASES if case.name == "sqlite")

    def make(place: Path, clock: FakeClock) -> CompleteStore:
        return case.make(place, clock, DEFAULTS.max_body)

    report = await damage(make, vandalize_file, folder, rounds=10**9, seconds=seconds, seed=number)
    return Found(report.rounds, report.faults)


async def _command_line(folder: Path, seconds: float, number: int) -> Found:
    return Found(*await fuzz_command_line(folder, seconds=seconds, seed_=number))


@given(url=URLS)
def no_url_shows_its_password(url: str) -> None:
    """Look at all texts that are made of one URL."""
    assert [(name, text) for name, text in shown(url).items() if CANARY in text] == []


TARGETS: Final[dict[str, Callable[[Path, float, int], Awaitable[Found]]]] = {
    "arguments": _by_hypothesis(
        arrival.test_an_equal_value_arrives_or_the_call_is_refused,
        arrival.test_a_result_is_read_as_it_was_or_refused,
    ),
    "options": _by_hypothesis(
        doors.test_options_together_are_carried_or_one_is_named,
        events.test_an_exchange_is_declared_or_refused_in_words,
        events.test_a_binding_is_kept_or_refused_in_words,
        events.test_an_event_is_carried_or_refused_in_words,
        events.test_an_event_is_published_or_refused_in_words,
    ),
    "toolkit": _by_hypothesis(
        toolkit.test_arguments_together_are_taken_or_one_is_named,
        keys.test_a_key_is_safe_and_different_for_different_texts,
    ),
    "records": _records,
    "urls": _by_hypothesis(no_url_shows_its_password),
    "cli": _command_line,
}
"""By name: what a target does in a folder, for so many seconds, with a seed."""


async def fuzz(name: str, folder: Path, *, seconds: float, seed_: int) -> Found:
    """Run one target."""
    place = folder / name
    place.mkdir(parents=True)
    return await TARGETS[name](place, seconds, seed_)
