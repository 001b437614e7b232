"""What is said of a binding that takes an event, and of one that does not."""

from __future__ import annotations

import pytest

from outlast.core.exchanges.router import Router
from outlast.core.exchanges.values import Binding, Exchange, ExchangeType, HeaderValue


def why(type_: ExchangeType, how: str | dict[str, HeaderValue], key: str, headers: dict[str, HeaderValue]) -> str:
    """Return what is said of one binding: a key, or arguments."""
    key_, arguments = (how, {}) if isinstance(how, str) else ("", how)
    binding = Binding(exchange="x", queue="q", kind="k", parameter="event", key=key_, arguments=arguments)
    (said,) = Router([Exchange(name="x", type=type_)], [binding]).explain("x", key, headers)
    return f"{'yes' if said.matches else 'no'}: {said.why}"


@pytest.mark.parametrize(
    ("type_", "binding", "key", "said"),
    [
        ("fanout", "", "a", "yes: a fanout exchange gives each of its queues a copy"),
        ("direct", "a", "a", "yes: the keys are equal"),
        ("direct", "b", "a", "no: the key is not 'b'"),
        ("topic", "a.b", "a.b", "yes: the keys are equal"),
        ("topic", "a.#", "a.b", "yes: the pattern matches the key"),
        ("topic", "order.us.*", "order.eu.paid", "no: word 2 of the key is 'eu', and the pattern wants 'us'"),
        ("topic", "a.*", "a.b.c", "no: the pattern ends before word 3 of the key, 'c'"),
        ("topic", "a.*.paid", "a", "no: the key has 1 word, and the pattern wants '*' after them"),
        ("topic", "a.#.paid", "a.b.c", "no: the key has 3 words, and the pattern wants 'paid' after them"),
        ("topic", "*", "", "no: the key has 0 words, and the pattern wants '*' after them"),
        (
            "topic",
            "order.e*",
            "order.eu",
            "no: word 2 of the key is 'eu', and the pattern wants 'e*' (in 'e*' the sign stands for itself: '*' and "
            "'#' stand for words when they are alone)",
        ),
    ],
)
def test_a_key_is_compared_in_words(type_: ExchangeType, binding: str, key: str, said: str) -> None:
    assert why(type_, binding, key, {}) == said


@pytest.mark.parametrize(
    ("arguments", "headers", "said"),
    [
        ({}, {}, "yes: it has no pairs to compare, so it matches each event"),
        ({"a": 1}, {"a": 1}, "yes: its pair matches"),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, "yes: all 2 pairs match"),
        ({"a": 1, "b": 2}, {"a": 3}, "no: header 'a' is 3, not 1; header 'b' is missing"),
        ({"a": 1}, {"a": "1"}, "no: header 'a' is '1', not 1 (text, not a number)"),
        ({"a": 1}, {"a": True}, "no: header 'a' is True, not 1 (true or false, not a number)"),
        ({"a": "x"}, {"a": None}, "no: header 'a' is None, not 'x' (nothing, not text)"),
        ({"x-match": "any", "a": 1, "b": 2}, {"b": 2}, "yes: header 'b' matches, and any is enough"),
        (
            {"x-match": "any"},
            {"a": 1},
            "no: x-match is 'any', and it has no pairs to compare, so it matches no event",
        ),
        (
            {"x-a": 1},
            {},
            "yes: it has no pairs to compare, so it matches each event ('x-a' is not compared: give "
            "x-match='all-with-x')",
        ),
    ],
)
def test_headers_are_compared_pair_by_pair(
    arguments: dict[str, HeaderValue], headers: dict[str, HeaderValue], said: str
) -> None:
    assert why("headers", arguments, "", headers) == said


def test_a_second_binding_of_a_queue_says_that_the_queue_has_its_copy() -> None:
    bindings = [Binding(exchange="x", queue="q", kind="k", parameter="event", key=key) for key in ("a", "#")]
    said = Router([Exchange(name="x")], bindings).explain("x", "a")
    assert said[1].why == "the pattern matches the key; the queue has its copy by an earlier binding"
