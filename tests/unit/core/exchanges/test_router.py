"""The router by examples and against a naive one; `tests/stores/rabbitmq` compares it with the real server."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.errors import ConfigurationError
from outlast.core.exchanges.router import STEP, Router
from outlast.core.exchanges.values import Binding, Exchange, ExchangeType, HeaderValue

WORDS = ("", "a", "b", "*", "#", "order", "größe")


def bound(type_: ExchangeType, *bindings: tuple[str, str] | tuple[str, dict[str, HeaderValue]]) -> Router:
    """Return a router with one exchange "x" and these bindings: (queue, key) or (queue, arguments)."""
    return Router(
        [Exchange(name="x", type=type_)],
        [
            Binding(exchange="x", queue=queue, kind=f"k{number}", parameter="event", key=how)
            if isinstance(how, str)
            else Binding(exchange="x", queue=queue, kind=f"k{number}", parameter="event", arguments=how)
            for number, (queue, how) in enumerate(bindings)
        ],
    )


def queues(router: Router, key: str = "", headers: Mapping[str, HeaderValue] | None = None) -> list[str]:
    """Return the queues of an event, after a check that each binding is explained by what the router does."""
    routed = router.route("x", key, headers or {})
    explanations = router.explain("x", key, headers or {})
    assert [each.binding for each in explanations if each.matches and not each.repeated] == list(routed)
    return [each.queue for each in routed]


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.b.", False),
        ("a.b", "A.b", False),
        ("*", "a", True),
        ("*", "", False),
        ("*", ".", False),
        ("*.*", ".", True),
        ("*", "a.b", False),
        ("", "", True),
        ("", "a", False),
        ("#", "", True),
        ("#", "a.b.c", True),
        ("#.#", "", True),
        ("#.*", "", False),
        ("#.*", "a", True),
        ("*.#", "a", True),
        ("a.#", "a", True),
        ("a.#.b", "a.b", True),
        ("a.#.b", "a.x.y.b", True),
        ("a.#.b", "a.b.b", True),
        ("a.#.b", "a", False),
        ("a.#.b", "a.b.c", False),
        ("#.a.#.a.#", "a.x", False),
        ("#.a.#.a.#", "x.a.a", True),
        ("a..b", "a..b", True),
        ("a.*.b", "a..b", True),
        ("a.*.b", "a.b", False),
        ("a*", "ab", False),
        ("a*", "a*", True),
        ("a", "*", False),
        ("*", "*", True),
        ("#", "#", True),
        ("a.#", "a.#", True),
        ("größe.*", "größe.x", True),
    ],
)
def test_a_pattern_matches_the_keys_of_rabbitmq(pattern: str, key: str, matches: bool) -> None:
    assert queues(bound("topic", ("q", pattern)), key) == (["q"] if matches else [])


patterns = st.lists(st.sampled_from(WORDS), max_size=5).map(".".join)


@given(st.lists(st.tuples(st.sampled_from("pqrs"), patterns), max_size=12), patterns)
def test_the_trie_finds_what_a_loop_over_all_patterns_finds(bindings: list[tuple[str, str]], key: str) -> None:
    assert queues(bound("topic", *bindings), key) == sorted({queue for queue, each in bindings if fits(each, key)})


def fits(pattern: str, key: str) -> bool:
    """Tell by a regular expression whether a pattern matches: each word begins with a sign that no word has."""
    parts = {"*": r"\x01[^\x01]*", "#": r"(?:\x01[^\x01]*)*"}
    words = pattern.split(".") if pattern else []
    expression = "".join(parts.get(word, r"\x01" + re.escape(word)) for word in words)
    return re.fullmatch(expression, "".join(f"\x01{word}" for word in (key.split(".") if key else []))) is not None


def test_a_key_of_many_words_and_patterns_of_many_signs_end() -> None:
    """One way after the other, as a regular expression goes, this would take longer than the universe is old."""
    router = bound("topic", ("p", ".".join(["#"] * 120 + ["z"])), ("q", ".".join(["#", "a"] * 60)))
    assert queues(router, ".".join("a" * 127)) == ["q"]


@pytest.mark.parametrize(
    ("arguments", "headers", "matches"),
    [
        ({}, {}, True),
        ({}, {"a": 1}, True),
        ({"x-match": "all"}, {}, True),
        ({"x-match": "any"}, {"a": 1}, False),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"a": 1, "b": 2, "x-match": "any"}, {"b": 2}, True),
        ({"a": 1, "b": 2, "x-match": "any"}, {"a": 2, "b": 1}, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": True}, {"a": 1.0}, False),
        ({"a": True}, {"a": True}, True),
        ({"a": 0}, {"a": False}, False),
        ({"a": False, "x-match": "any"}, {"a": 0}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": "A"}, {"a": "a"}, False),
        ({"A": "a"}, {"a": "a"}, False),
        ({"a": 2**53 + 1}, {"a": float(2**53)}, False),
        ({"a": 2**53}, {"a": float(2**53)}, True),
        ({"a": 0.0}, {"a": -0.0}, True),
        ({"a": None}, {"a": "anything"}, True),
        ({"a": None, "x-match": "any"}, {"a": False}, True),
        ({"a": None}, {"b": 1}, False),
        ({"a": "x"}, {"a": None}, False),
        ({"a": None}, {"a": None}, True),
        ({"x-a": 1}, {}, True),
        ({"x-a": 1, "x-match": "any"}, {"x-a": 1}, False),
        ({"x-a": 1, "x-match": "all-with-x"}, {}, False),
        ({"x-a": 1, "x-match": "all-with-x"}, {"x-a": 1}, True),
        ({"x-a": 1, "b": 1, "x-match": "any-with-x"}, {"x-a": 1}, True),
        ({"x-match": "any-with-x"}, {"x-match": "any-with-x"}, False),
        ({"x-match": "all-with-x"}, {}, True),
        ({"X-a": 1}, {}, False),
    ],
)
def test_headers_match_as_rabbitmq_compares_them(
    arguments: dict[str, HeaderValue], headers: dict[str, HeaderValue], matches: bool
) -> None:
    assert queues(bound("headers", ("q", arguments)), "any key", headers) == (["q"] if matches else [])


def test_a_direct_exchange_compares_whole_keys() -> None:
    router = bound("direct", ("q", "a"), ("p", "a"), ("r", ""), ("s", "a.*"), ("t", "#"))
    assert queues(router, "a") == ["p", "q"]
    assert queues(router, "") == ["r"]
    assert queues(router, "a.b") == []


def test_a_fanout_exchange_looks_at_nothing() -> None:
    router = bound("fanout", ("q", ""), ("p", ""), ("q", ""))
    assert queues(router, "any", {"a": 1}) == ["p", "q"]


def test_a_queue_has_one_copy_by_the_first_of_its_bindings_that_match() -> None:
    router = bound("topic", ("q", "b"), ("q", "a.#"), ("p", "#"), ("q", "#"))
    assert [(each.queue, each.key) for each in router.route("x", "a")] == [("p", "#"), ("q", "a.#")]
    assert [(each.queue, each.key) for each in router.route("x", "c")] == [("p", "#"), ("q", "#")]
    assert [each.repeated for each in router.explain("x", "a")] == [False, False, False, True]


@pytest.mark.parametrize(("type_", "entries"), [("topic", 1), ("direct", 1), ("fanout", 1), ("headers", 2)])
def test_a_router_that_is_made_in_steps_is_the_same(type_: ExchangeType, entries: int) -> None:
    many = 3 * STEP
    bindings = [
        Binding(
            exchange="x", queue=f"q{number}", kind="k", parameter="event", key="" if type_ == "headers" else "a",
            arguments={"a": number % 2} if type_ == "headers" else {},
        )
        for number in range(many)
    ]  # fmt: skip
    exchanges = [Exchange(name="x", type=type_)]
    steps, taken = Router.in_steps(exchanges, bindings), 0
    while True:
        try:
            next(steps)
        except StopIteration as done:
            made = done.value
            break
        taken += 1
    assert taken == many * entries / STEP
    assert made.route("x", "a", {"a": 1}) == Router(exchanges, bindings).route("x", "a", {"a": 1})
    assert len(made.route("x", "a", {"a": 1})) == (many // 2 if type_ == "headers" else many)


def test_exchanges_are_apart_and_one_that_is_not_declared_is_refused() -> None:
    bindings = [Binding(exchange=name, queue=name, kind="k", parameter="event", key="#") for name in ("x", "y", "z")]
    router = Router([Exchange(name="x"), Exchange(name="y", type="fanout")], bindings)
    assert [each.queue for each in router.route("x", "a")] == ["x"]
    assert [each.queue for each in router.route("y", "a")] == ["y"]
    for call in (router.route, router.explain):
        with pytest.raises(ConfigurationError, match=r"exchange 'z' is not declared \(known: 'x', 'y'\): declare it"):
            call("z", "a", {})
