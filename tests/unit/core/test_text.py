"""How values are told to people."""

from __future__ import annotations

import pytest

from outlast.core.text import counted, duration, short, shown, size, when


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.9, "9.9 s"),
        (10, "10 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "60 min"),
        (3600, "1 h"),
        (86_399, "24 h"),
        (86_400, "1 d"),
        (864_000, "10 d"),
    ],
)
def test_a_duration_has_its_largest_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_time_is_told_from_now() -> None:
    assert (when(None, 5), when(88, 100), when(100, 100), when(112, 100)) == ("", "12 s ago", "0.0 s ago", "in 12 s")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1 << 20, "1.0 MiB"),
        (1 << 30, "1.0 GiB"),
        (5 << 40, "5120.0 GiB"),
    ],
)
def test_a_size_has_its_largest_unit(number: float, text: str) -> None:
    assert size(number) == text


def test_a_number_of_things_has_its_plural() -> None:
    told = [counted(1, "job"), counted(2000, "job"), counted(0, "process")]
    assert told == ["1 job", "2,000 jobs", "0 processes"]


def test_a_long_text_is_cut() -> None:
    assert short("a" * 60) == "a" * 60
    assert short("a" * 61) == "a" * 57 + "..."
    assert short(" one\ntwo") == "one"
    assert shown("ab", 4) == "'ab'"
    assert shown("abc", 4) == "'..."


def test_what_cannot_be_told_has_its_type_named() -> None:
    class Silent:
        def __repr__(self) -> str:
            raise ValueError

    assert shown(Silent()) == "<Silent>"
