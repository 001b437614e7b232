"""Child processes: how an end is said."""

from __future__ import annotations

import pytest

from outlast.aio.children import how_ended


@pytest.mark.parametrize(
    ("code", "words"),
    [(None, "unknown"), (0, "exit code 0"), (-9, "SIGKILL"), (-99, "exit code -99")],
)
def test_an_exit_code_is_said_in_words(code: int | None, words: str) -> None:
    assert how_ended(code) == words
