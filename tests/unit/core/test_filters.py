"""Filters of the command line: what words mean, and which are refused with a hint."""

from __future__ import annotations

from typing import Any

import pytest

from outlast.core.errors import ConfigurationError
from outlast.core.filters import STATES, is_filter, parse
from outlast.core.matching import ArgIs, JsonScalar, holds, same
from outlast.core.store.records import Query, Without

NOW = 1_000_000.0


def test_every_field() -> None:
    words = [
        "state:dead",
        "kind:send",
        "key:acme",
        "queue:mail",
        "reason:attempts",
        "older:2h",
        "newer:1d",
        "args.a.b:x",
    ]
    assert parse(words, NOW) == Query(
        states=("dead",),
        kind="send",
        key="acme",
        queue="mail",
        reason="attempts",
        accepted_before=NOW - 7200,
        accepted_after=NOW - 86400,
        args=(ArgIs(("a", "b"), ("x",)),),
    )
    assert parse([], NOW) == Query()


def test_several_states_mean_any_of_them() -> None:
    assert parse(["state:dead", "state:expired,ready", "state:dead"], NOW).states == ("ready", "dead", "expired")


def test_a_value_is_all_behind_the_first_colon() -> None:
    query = parse(["key:a:b c", "args.name:Anna Maria: I"], NOW)
    assert (query.key, query.args[0].values) == ("a:b c", ("Anna Maria: I",))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("7", (7, "7")),
        ("7.5", (7.5, "7.5")),
        ("true", (True, "true")),
        ("null", (None, "null")),
        ('"7"', ("7",)),
        ('"a b"', ("a b",)),
        ("007", ("007",)),
        ("Berlin", ("Berlin",)),
        ("[1]", ("[1]",)),
    ],
)
def test_a_value_of_an_argument_is_a_scalar_or_text(text: str, values: tuple[JsonScalar, ...]) -> None:
    assert parse([f"args.n:{text}"], NOW).args == (ArgIs(("n",), values),)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["dead"], "filter 'dead': give field:value"),
        (["q.tick@2026-01-05T04:00:00Z"], "filter 'q.tick@2026-01-05T04:00:00Z': give field:value"),
        (["state:"], "filter 'state:': give field:value"),
        (["stat:dead"], "no field 'stat', did you mean 'state'? there are state, queue"),
        (["colour:red"], "no field 'colour'; there are state, queue"),
        (["state:sleeping"], "no state 'sleeping': give one of waiting, scheduled"),
        (["queue:a", "queue:b"], "filter 'queue:b': this field has another value"),
        (["older:2h", "older:3h"], "filter 'older:3h': this field has another value"),
        (["older:yesterday"], "older='yesterday'"),
        (["args.:7"], "args.: give 1 to 8 names"),
        (["args.a..b:7"], "args.a..b: give 1 to 8 names"),
        (['args.a"b:7'], "no quote and no backslash"),
        (["args.a." + "9" * 5000 + ":7"], "at most 1000 characters"),
        (["older:300"], "older='300': give a number with its unit"),
    ],
)
def test_what_is_refused(words: list[str], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(words, NOW)
    assert told in str(caught.value)


def test_a_filter_is_not_an_id() -> None:
    assert [is_filter(word) for word in ("state:dead", "args.id:7", "statt:dead")] == [True] * 3
    assert [is_filter(word) for word in ("mail.7", "mail.order:7", "nope")] == [False] * 3


@pytest.mark.parametrize(
    ("found", "value", "equal"),
    [
        (7, 7, True),
        (7.0, 7, True),
        (7, "7", False),
        ("7", "7", True),
        (True, 1, False),
        (1, True, False),
        (True, True, True),
        (None, None, True),
        (0, None, False),
        ([7], 7, False),
        (2**64 + 1, 2**64, True),
        (2**53 + 1, 2**53, False),
    ],
)
def test_what_is_the_same(found: Any, value: JsonScalar, equal: bool) -> None:
    assert same(found, value) is equal


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("n", 7, True),
        ("customer.city", "Berlin", True),
        ("customer.city.x", "Berlin", False),
        ("items.1.sku", "b", True),
        ("items.7.sku", "b", False),
        ("items.x", "b", False),
        ("customer.0", "zero", True),
        ("missing", None, False),
        ("nothing", None, True),
        ("secret", "s", False),
        ("secret.inner", "s", False),
    ],
)
def test_which_arguments_fit(path: str, value: JsonScalar, found: bool) -> None:
    args = {
        "n": 7,
        "customer": {"city": "Berlin", "0": "zero"},
        "items": [{"sku": "a"}, {"sku": "b"}],
        "nothing": None,
        "secret": "s",
    }
    assert holds(args, ("secret",), ArgIs(tuple(path.split(".")), (value,))) is found


def test_what_is_left_out() -> None:
    query = parse(["kind!=send", "key!=a:b", "reason!=attempts", "queue!=q", "args.a.b!=7", "state!=dead,expired"], NOW)
    assert query.without == (
        Without("kind", "send"),
        Without("key", "a:b"),
        Without("reason", "attempts"),
        Without("queue", "q"),
        Without("args", ArgIs(("a", "b"), (7, "7"))),
    )
    assert set(query.states) == set(STATES) - {"dead", "expired"}
    assert parse(["state:dead,ready", "state!=dead"], NOW).states == ("ready",)
    assert parse(["args.a:x!=y", "key:a!=b"], NOW) == Query(key="a!=b", args=(ArgIs(("a",), ("x!=y",)),))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("older!=2h", "give newer:2h"),
        ("newer!=2h", "give older:2h"),
        ("kidn!=send", "did you mean 'kind'"),
        ("kind!=", "give field:value"),
        ("state!=daed", "no state 'daed'"),
        ("state!=" + ",".join(STATES), "it leaves no state"),
    ],
)
def test_what_cannot_be_left_out(word: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        parse([word], NOW)


def test_without_is_about_one_field() -> None:
    job = {"queue": "q", "kind": "send@2", "key": None, "reason": "attempts"}
    met = [("queue", "q"), ("kind", "send"), ("kind", "send@2"), ("reason", "attempts")]
    unmet = [("queue", "r"), ("kind", "send@1"), ("key", "a"), ("reason", "x"), ("args", ArgIs(("a",), (1,)))]
    assert [Without(*each).meets(**job) for each in met] == [True] * 4  # type: ignore[arg-type]
    assert [Without(*each).meets(**job) for each in unmet] == [False] * 5  # type: ignore[arg-type]


def test_a_path_has_one_to_eight_names() -> None:
    assert ArgIs(("a",) * 8, (1,)).path == ("a",) * 8
    for path in ((), ("a",) * 9):
        with pytest.raises(ConfigurationError, match="give 1 to 8 names"):
            ArgIs(path, (1,))
