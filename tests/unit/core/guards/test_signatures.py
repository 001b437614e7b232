"""A fallback takes the calls of the function for which it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from outlast.core.guards.signatures import why_not_in_place_of


def function(a: int, b: int = 2, *, c: int = 3) -> None: ...
def positional(a: int, b: int, /) -> None: ...
def several(a: int, *rest: int, **more: int) -> None: ...


def same(a: int, b: int = 2, *, c: int = 3) -> None: ...
def anything(*args: Any, **kwargs: Any) -> None: ...
def more_optional(a: int, b: int = 2, d: int = 4, *, c: int = 3) -> None: ...
def other_names(x: int, y: int, /) -> None: ...
def too_few(a: int) -> None: ...
def moved(b: int = 2, a: int = 1, *, c: int = 3) -> None: ...
def no_c(a: int, b: int = 2) -> None: ...
def needs_b(a: int, b: int, *, c: int = 3) -> None: ...
def needs_d(a: int, b: int = 2, *, c: int = 3, d: int) -> None: ...
def hidden(a: int, b: int = 2, /, *, c: int = 3) -> None: ...
def one_place(a: int, /) -> None: ...
def rest_only(a: int, *rest: int) -> None: ...
def names_only(a: int, **more: int) -> None: ...
def three_places(x: int, y: int, z: int, /) -> None: ...
def renamed(x: int, b: int = 2, *, c: int = 3, **more: int) -> None: ...


@pytest.mark.parametrize(
    ("fallback", "called"),
    [
        (same, function),
        (anything, function),
        (more_optional, function),
        (other_names, positional),
        (anything, print),
        (several, several),
        (anything, several),
        (anything, positional),
        (same, too_few),
    ],
)
def test_it_fits(fallback: Callable[..., Any], called: Callable[..., Any]) -> None:
    assert why_not_in_place_of(fallback, called) == ""


@pytest.mark.parametrize(
    ("fallback", "called", "why"),
    [
        (too_few, function, "it has no parameter 'b'"),
        (one_place, positional, "it has no parameter 'b'"),
        (moved, function, "its parameter 'b' has the place of 'a'"),
        (renamed, function, "its parameter 'x' has the place of 'a'"),
        (no_c, function, "it has no parameter 'c'"),
        (needs_b, function, "it needs 'b', which a call may leave out"),
        (needs_d, function, "it needs 'd', which a call may leave out"),
        (hidden, function, "it has no parameter 'a'"),
        (names_only, several, "it does not take *rest"),
        (rest_only, several, "it does not take **more"),
        (three_places, positional, "it needs 'z', which a call may leave out"),
    ],
)
def test_it_does_not_fit(fallback: Callable[..., Any], called: Callable[..., Any], why: str) -> None:
    assert why_not_in_place_of(fallback, called) == why


def test_what_has_no_signature_is_not_judged() -> None:
    assert why_not_in_place_of(function, min) == ""
