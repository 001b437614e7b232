"""Keys of any text: safe in each store, and no two alike."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from outlast.core.errors import InvalidArguments
from outlast.toolkit.keys import LONGEST, key_text

ANY = st.text(st.characters(), min_size=1, max_size=400)  # with lone surrogates


@given(ANY, ANY)
@example("a%20b", "a b")
@example("x" * 300, "x" * 301)
@example("%", "%25")
@example("~", "%7E")
@example("é", "e\u0301")
def test_a_key_is_safe_and_different_for_different_texts(one: str, other: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_.:@/+=,%~-]+", key_text(one))
    assert len(key_text(one)) <= LONGEST
    assert (key_text(one) == key_text(other)) == (one == other)


@given(ANY)
def test_a_key_that_was_shortened_is_no_other_key(key: str) -> None:
    assert key_text(key_text(key * 20)) != key_text(key * 20) or len(key * 20) <= LONGEST


def test_a_long_key_is_its_begin_and_the_digest_of_all_of_it() -> None:
    for key in ("é" * 40_000, "é" * 40_000 + "!", "a" * 201):
        begin, _, digest = key_text(key).partition("~")
        assert digest == sha256(key.encode()).hexdigest()
        assert begin == ("%C3%A9" * 11)[:64] if key[0] == "é" else "a" * 64


@pytest.mark.parametrize("wrong", [None, "", b"key", 7, ["a"], object()])
def test_what_is_no_text_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidArguments, match=r"lock=.*: give text of at least one character"):
        key_text(wrong, "lock")
