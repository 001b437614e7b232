"""Every way in makes the same checks: what is accepted is what the wire format carries, what is refused is named."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, structs

from outlast import Context, InvalidArguments, Outlast, OutlastError, Redacted, Unique
from outlast.core.bounds import LAST_MOMENT
from outlast.core.codec import check, decode, encode
from outlast.core.errors import ConfigurationError
from outlast.core.ids import queue_of
from outlast.core.message import Message
from outlast.core.unique import stored_key

shop = Outlast("doors")


@shop.job(queue="q")
async def count(n: int) -> None: ...


class Markup(str):
    __slots__ = ()


class Word(StrEnum):
    HIGH = "high"
    START = "start"
    RAISE = "raise"


class OldWord(str, Enum):  # noqa: UP042 - its str() differs from its text
    HIGH = "high"


class Zone(tzinfo):
    def dst(self, moment: datetime | None) -> None: ...
    def tzname(self, moment: datetime | None) -> str:
        return "nowhere"


class Nowhere(Zone):
    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None


class Broken(Zone):
    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        raise LookupError("no such zone")


class Unshowable:
    def __repr__(self) -> str:
        raise LookupError("no text")


HALF = "\ud800"
ODD: list[Any] = [
    *("", "q", "q.", ".", "..", "q..", "q.q.", "x" * 128, "x" * 129, "q." + "x" * 128, "q." + "x" * 129, "a b", "a\n"),
    *(
        HALF,
        "k" + HALF,
        "\0",
        "a\0b",
        "\x1b[31m",
        "é",
        "x" * 512,
        "x" * 513,
        "{n}",
        "{",
        "%s",
        "5m",
        "0s",
        "9" * 400 + "d",
    ),
    *("high", "urgent", "existing", "replace", "raise", Word.HIGH, OldWord.HIGH, Word.RAISE, Markup("customer-7")),
    *(0, -1, 1, True, False, 10**400, -(10**400), 10**5000, 1e10, 1e11, LAST_MOMENT, LAST_MOMENT + 1, Decimal(5), 1j),
    *(0.0, -0.0, math.inf, -math.inf, math.nan, 1e-320, timedelta(0), timedelta(-1), timedelta.max, timedelta(days=1)),
    *(datetime(2030, 1, 1), datetime(1960, 1, 1, tzinfo=UTC), datetime.min.replace(tzinfo=UTC)),
    *(
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime(2030, 1, 1, tzinfo=Broken()),
    ),
    *(datetime(2030, 1, 1, tzinfo=Nowhere()), datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))),
    *(datetime.min.replace(tzinfo=timezone(timedelta(hours=12))), datetime(2030, 1, 1).date(), Unshowable(), object()),
    *(
        {},
        {"a": "b"},
        {Markup("a"): Markup("b")},
        {"a": 1},
        {1: "a"},
        {"a": HALF},
        {HALF: "a"},
        {"a\0": "\n"},
        {"a": "x" * 9000},
    ),
    *([], ["a"], [("a", "b")], b"bytes", Unique("k"), Unique("k", seconds=5), Unique("k", scope="queue"), Unique),
]
NAMES = ("delay", "run_at", "priority", "unique", "id", "key", "expires", "max_wait", "on_conflict", "headers")
TOLD_AS = {"on_conflict": "on_conflict", "headers": "header"}


def carried(message: Message) -> None:
    """Assert that the wire format carries a message, and that its id is one."""
    check(message)
    body = encode(message)
    assert decode(body) == message
    assert encode(decode(body)) == body
    assert queue_of(message.id) == message.queue


def tried(options: dict[str, Any]) -> OutlastError | None:
    """Make a message with these options; return the error when they are refused."""
    try:
        message = count.with_options(**options).message(1)
    except OutlastError as error:
        return error
    carried(message)
    return None


@pytest.mark.parametrize("name", NAMES)
def test_an_option_is_carried_or_named(name: str) -> None:
    accepted = 0
    for value in ODD:
        error = tried({name: value})
        accepted += error is None
        if error is not None:
            assert TOLD_AS.get(name, name) in str(error), (value, str(error))
            assert len(str(error)) < 500
    assert accepted


value = (
    st.integers(0, len(ODD) - 1).map(ODD.__getitem__)
    | st.text(max_size=20)
    | st.integers()
    | st.floats()
    | st.datetimes()
    | st.timedeltas()
)
options = st.dictionaries(st.sampled_from(NAMES), value | st.none(), max_size=4)


@given(options)
def test_options_together_are_carried_or_one_is_named(options: dict[str, Any]) -> None:
    error = tried(options)
    if error is not None:
        assert any(TOLD_AS.get(name, name) in str(error) for name in options), str(error)


@pytest.mark.parametrize("name", ["key", "unique", "id", "priority"])
def test_a_subclass_of_str_is_taken_as_its_text(name: str) -> None:
    options: Any = {name: OldWord.HIGH if name == "priority" else Markup("customer-7")}
    message = count.with_options(**options).message(1)
    told = {"key": message.key, "unique": message.unique, "id": message.id, "priority": message.priority}[name]
    assert told == {"unique": Unique("count:customer-7"), "id": "q.customer-7", "priority": "high"}.get(
        name, "customer-7"
    )


def test_a_declaration_takes_a_subclass_of_str_as_its_text() -> None:
    async def send(to: str) -> None: ...

    options: Any = {name: Markup(text) for name, text in (("queue", "mail"), ("kind", "send"), ("unique", "{to}"))}
    options |= {"key": Markup("to"), "priority": OldWord.HIGH}
    message = Outlast("texts").job(**options)(send).message(Markup("a"))
    carried(message)
    assert (message.queue, message.kind, message.key, message.priority) == ("mail", "send", "a", "high")
    assert message.unique == Unique("send:a")


def test_headers_are_taken_as_they_were() -> None:
    headers = {"request": "7"}
    bound = count.with_options(headers=headers)
    headers["request"] = 7  # type: ignore[assignment]
    assert bound.message(1).headers == {"request": "7"}


def test_the_id_of_an_unknown_outcome_can_be_given_again() -> None:
    longest = count.with_options(id="x" * 128).message(1)
    assert count.with_options(id=longest.id).message(1).id == longest.id


def raises(error: Exception) -> Callable[..., str]:
    def rule(**_: Any) -> str:
        raise error

    return rule


def gives(found: Any) -> Callable[..., Any]:
    return lambda **_: found


async def later(**_: Any) -> str:
    return "k"


class Untold(Exception):
    def __str__(self) -> str:
        raise LookupError


RULES: list[tuple[Callable[..., Any], str | None]] = [
    (gives("k"), "k"),
    (gives(Markup("k")), "k"),
    (gives(7), "7"),
    (gives(7.5), "7.5"),
    (gives(Word.HIGH), "high"),
]


@pytest.mark.parametrize(("rule", "text"), RULES, ids=range(len(RULES)))
@pytest.mark.parametrize("name", ["key", "unique"])
def test_what_a_rule_gives_is_taken_as_text(name: str, rule: Callable[..., Any], text: str) -> None:
    app = Outlast("rules")
    job = app.job(**{name: rule, "kind": "send"})(count.handler)  # type: ignore[call-overload]
    message = job.message(1)
    carried(message)
    assert (message.key if name == "key" else message.unique) == (text if name == "key" else Unique(f"send:{text}"))


@pytest.mark.parametrize("name", ["key", "unique"])
def test_a_rule_may_give_none(name: str) -> None:
    job = Outlast("rules").job(**{name: gives(None), "kind": "send"})(count.handler)  # type: ignore[call-overload]
    assert (job.message(1).key, job.message(1).unique) == (None, None)


@pytest.mark.parametrize(
    "rule",
    [
        raises(LookupError("no customer")),
        raises(Untold()),
        lambda: "k",  # takes no arguments
        lambda n: later(n=n),
        gives(Unshowable()),
        gives("x" * 600),
        gives(HALF),
        gives(10**5000),
    ],
    ids=range(8),
)
@pytest.mark.parametrize("name", ["key", "unique"])
def test_a_rule_that_fails_is_named(name: str, rule: Callable[..., Any]) -> None:
    job = Outlast("rules").job(**{name: rule, "kind": "send"})(count.handler)  # type: ignore[call-overload]
    with pytest.raises(OutlastError, match=f"send.*{name}"):
        job.message(1)


def test_an_error_of_a_rule_is_its_cause_unless_an_argument_is_redacted() -> None:
    app = Outlast("rules")
    failing = app.job(kind="open", key=raises(LookupError("no customer 7")))(count.handler)
    with pytest.raises(ConfigurationError, match="key= raised LookupError: no customer 7") as caught:
        failing.message(7)
    assert isinstance(caught.value.__cause__, LookupError)

    async def secretly(token: Annotated[str, Redacted]) -> None: ...

    hidden = app.job(kind="hidden", key=lambda token: {}[token])(secretly)
    with pytest.raises(ConfigurationError, match=r"key= raised KeyError: .*\[redacted\]") as caught:
        hidden.message("hunter2")
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_an_error_of_outlast_passes_through_a_rule() -> None:
    job = Outlast("rules").job(kind="send", key=raises(InvalidArguments("no such customer")))(count.handler)
    with pytest.raises(InvalidArguments, match=r"^no such customer$"):
        job.message(1)


@pytest.mark.parametrize("template", ["{n.nothing}", "{n[0]}", "{n:q}", "{n!s:>600}"])
def test_a_template_that_fails_is_named(template: str) -> None:
    job = Outlast("rules").job(kind="send", unique=template)(count.handler)
    with pytest.raises(OutlastError, match=r"send.*unique"):
        job.message(1)


def test_an_empty_unique_key_is_refused_and_an_empty_key_is_a_key() -> None:
    app = Outlast("rules")
    with pytest.raises(InvalidArguments, match="its unique key has 0 characters"):
        app.job(kind="one", unique=gives(""))(count.handler).message(1)
    message = app.job(kind="two", key=gives(""))(count.handler).message(1)
    carried(message)
    assert message.key == ""


@pytest.mark.parametrize("name", ["key", "unique"])
def test_a_coroutine_function_is_no_rule(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}=.*give a plain function"):
        Outlast("rules").job(**{name: later, "kind": "send"})(count.handler)  # type: ignore[call-overload]


def test_the_scope_of_a_unique_key() -> None:
    assert count.with_options(unique="k").message(1).unique == Unique("count:k")
    assert count.with_options(unique=Unique("k", "start")).message(1).unique == Unique("count:k", "start")
    assert count.with_options(unique=Unique("k", scope="queue")).message(1).unique == Unique("k")
    assert (stored_key("count", "k"), stored_key("count", "k", "queue")) == ("count:k", "k")


GOOD = Message(id="q.1", queue="q", kind="count", args=Raw(b'{"n":1}'), enqueued_at=0.0, run_at=0.0)
WRONG: list[dict[str, Any]] = [
    {"id": "q."},
    {"id": 7},
    {"id": "other.1"},
    {"id": Markup("q.1")},
    {"queue": Markup("q")},
    {"kind": ""},
    {"kind": None},
    {"args": Raw(b"[1]")},
    {"args": Raw(b"{},{}")},
    {"args": Raw(b'{"n":%b}' % (b"9" * 5000))},
    {"args": Raw(b'{"n":1e999}')},
    {"args": b'{"n":1}'},
    {"args": '{"n":1}'},
    {"args": Raw(b'{"n":\xff}')},
    {"args": Raw(b'{"n":"\xff"}')},
    {"args": Raw(b'{"n":1')},
    {"args": Raw(b'{"n":' + b"[" * 10_000 + b"]" * 10_000 + b"}")},
    {"args": {"n": 1}},
    {"enqueued_at": -1.0},
    {"run_at": math.nan},
    {"run_at": math.inf},
    {"run_at": None},
    {"run_at": datetime(2030, 1, 1, tzinfo=UTC)},
    {"expires_at": LAST_MOMENT * 2},
    {"expires_at": "soon"},
    {"max_wait": "5m"},
    {"max_wait": 0},
    {"max_wait": -1.0},
    {"max_wait": math.nan},
    {"max_wait": math.inf},
    {"max_wait": True},
    {"priority": "urgent"},
    {"priority": []},
    {"key": Markup("k")},
    {"key": HALF},
    {"key": 7},
    {"unique": "k"},
    {"headers": {"a": 1}},
    {"headers": {"a": Markup("b")}},
    {"headers": [("a", "b")]},
    {"redacted": ["n"]},
    {"redacted": ("n", 7)},
    {"redacted": (HALF,)},
]


@pytest.mark.parametrize("change", WRONG, ids=range(len(WRONG)))
async def test_a_message_made_by_hand_is_refused_as_the_wire_refuses_it(change: dict[str, Any]) -> None:
    (name,) = change
    wrong = structs.replace(GOOD, **change)
    with shop.testing():
        with pytest.raises(OutlastError, match=f"message 1.*{name}"):
            await shop.enqueue_many([GOOD, wrong])

        class Own:
            def message(self) -> Message:
                return wrong

        @shop.job(kind=f"parent{WRONG.index(change)}")
        async def parent(ctx: Context) -> None:
            ctx.enqueue(Own())

        with pytest.raises(OutlastError, match=name):
            await parent()
