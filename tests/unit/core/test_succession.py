"""What becomes of a new job whose unique key is held, and what a successor does: both tables in full."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from outlast.core.message import TERMINAL, State
from outlast.core.succession import Meeting, Turn, meets, turn_of

STATES = get_args(State)
WAITS = ("ready", "scheduled", "parked")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("cancelling", [False, True])
def test_nothing_new_is_answered_by_a_job_that_will_not_do_it(state: State, cancelling: bool) -> None:
    plain: Meeting = "follows" if state == "running" and cancelling else "exists"
    assert meets(state, replace=False, cancelling=cancelling) == plain


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("cancelling", [False, True])
def test_the_newest_is_kept(state: State, cancelling: bool) -> None:
    newest: Meeting = "replaces" if state in WAITS else "exists" if state in TERMINAL else "follows"
    assert meets(state, replace=True, cancelling=cancelling) == newest


@pytest.mark.parametrize(
    ("holder", "turn"),
    [
        (None, "takes"),
        ("ready", "replaces"),
        ("scheduled", "replaces"),
        ("parked", "replaces"),
        ("running", "waits"),
        ("waiting", "waits"),
        *((state, "takes") for state in sorted(TERMINAL)),
    ],
)
def test_a_successor_waits_for_as_long_as_its_holder_is_out_of_reach(holder: State | None, turn: Turn) -> None:
    assert turn_of(holder) == turn


def test_what_comes_before_the_state_of_the_holder() -> None:
    for holder, lapsed, newer in product((None, *STATES), (False, True), (False, True)):
        assert turn_of(holder, late=True, lapsed=lapsed, newer=newer) == "expires"
        if lapsed or holder is None:
            assert turn_of(holder, lapsed=lapsed, newer=newer) == "takes"
        elif newer:
            assert turn_of(holder, newer=True) == "yields"
