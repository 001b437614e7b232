"""Kinds on the wire: versions, former names, and the upgrades between them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Raw
from pydantic import AfterValidator

from outlast import Outlast, Redacted
from outlast.core.codec import decode, encode
from outlast.core.errors import ConfigurationError, DuplicateKind, InvalidArguments, WireError
from outlast.core.kinds import KIND_NAME, WIRE_KIND, name_of, runnable_kinds, version_of, wire_kind
from outlast.core.message import Message


def same(args: dict[str, Any]) -> dict[str, Any]:
    return args


def test_the_first_version_is_the_bare_name() -> None:
    assert [wire_kind("send", version) for version in (1, 2, 10)] == ["send", "send@2", "send@10"]
    assert [(name_of(kind), version_of(kind)) for kind in ("send", "send@2")] == [("send", 1), ("send", 2)]
    assert all(WIRE_KIND.match(kind) for kind in ("send", "send@2", "send@10", "send@999999999"))
    assert not any(WIRE_KIND.match(kind) for kind in ("send@", "send@1", "send@0", "send@02", "send@2@3", "@2"))
    assert not KIND_NAME.match("send@2")


def test_a_message_says_its_version_and_a_wrong_one_is_refused_on_the_wire() -> None:
    message = Message(id="q.1", queue="q", kind="send@2", args=Raw(b"{}"), enqueued_at=1.0, run_at=1.0)
    assert decode(encode(message)).kind == "send@2"
    with pytest.raises(WireError, match="kind 'send@1'"):
        decode(encode(msgspec.structs.replace(message, kind="send@1")))


def test_every_version_and_name_that_can_be_run_is_named_the_present_one_first() -> None:
    assert runnable_kinds("send", (), 1, {}) == {"send": 1}
    assert runnable_kinds("send", ("mail",), 3, {1: same, 2: same}) == {
        "send@3": 3,
        "send@2": 2,
        "send": 1,
        "mail@3": 3,
        "mail@2": 2,
        "mail": 1,
    }
    assert runnable_kinds("send", (), 3, {2: same}) == {"send@3": 3, "send@2": 2}


async def later(args: dict[str, Any]) -> dict[str, Any]:
    return args


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"version": 0}, "version=0: give a whole number, 1 or more"),
        ({"version": True}, "version=True: give a whole number"),
        (
            {"version": 2},
            "without upgrades=: give upgrades={1: function}.*or upgrades={} when no job of an older version",
        ),
        ({"version": 2, "upgrades": [same]}, "give a dict of functions by version"),
        (
            {"version": 3, "upgrades": {1: same}},
            "lacks the step from version 2 to 3: a job of version 1 could not reach",
        ),
        ({"version": 2, "upgrades": {2: same}}, "an upgrade begins from a version below version=2"),
        ({"upgrades": {1: same}}, "an upgrade begins from a version below version=1"),
        ({"version": 2, "upgrades": {"1": same}}, "an upgrade begins from a version below"),
        ({"version": 2, "upgrades": {1: later}}, "give a plain function that takes the arguments of version 1"),
        ({"version": 2, "upgrades": {1: "same"}}, "give a plain function"),
        ({"kind": "send@2"}, "a kind is 1 to 128 letters"),
        ({"aliases": "mail"}, "give a tuple of former names"),
        ({"aliases": 7}, "give a tuple of former names"),
        ({"aliases": ("mail@2",)}, "'mail@2' is not the name of a kind"),
        ({"aliases": (7,)}, "7 is not the name of a kind"),
        ({"aliases": ("send",)}, "name each former name once, and not the present one"),
        ({"aliases": ("mail", "mail")}, "name each former name once"),
    ],
)
def test_what_cannot_be_is_refused_when_declared(options: dict[str, Any], words: str) -> None:
    app = Outlast("shop")

    async def send(n: int) -> None: ...

    with pytest.raises(ConfigurationError, match=words):
        app.job(**options)(send)
    assert app.registry.declarations == {}


def test_a_former_name_is_taken_in_all_its_versions() -> None:
    app = Outlast("shop")

    @app.job(aliases=("mail",))
    async def send() -> None: ...

    async def mail() -> None: ...

    with pytest.raises(DuplicateKind, match=r"'mail' is declared twice, by .*send and .*mail.*aliases="):
        app.job(mail)
    with pytest.raises(DuplicateKind, match="'send' is declared twice"):
        app.job(kind="post", aliases=["send"])(mail)
    assert app.registry.topology().kinds == ("send", "mail")


def with_language(args: dict[str, Any]) -> dict[str, Any]:
    return {**args, "language": "en"}


def with_numbers(args: dict[str, Any]) -> dict[str, Any]:
    return {"order_id": int(args["order"]), "language": args["language"]}


def test_arguments_of_an_older_version_come_as_those_of_the_present_one() -> None:
    app = Outlast("shop")

    @app.job(version=3, upgrades={2: with_numbers, 1: with_language}, aliases=("mail",))
    async def send(order_id: int, language: str) -> None: ...

    assert app.registry.topology().kinds == ("send@3", "send@2", "send", "mail@3", "mail@2", "mail")
    known = app.composer.arguments
    assert send.message(7, "de").kind == "send@3"
    assert known["send"].load(Raw(b'{"order": "7"}')) == {"order_id": 7, "language": "en"}
    assert known["mail@2"].load(Raw(b'{"order": "7", "language": "de"}')) == {"order_id": 7, "language": "de"}
    assert known["send@3"].load(Raw(b'{"order_id": 7, "language": "de"}')) == {"order_id": 7, "language": "de"}
    with pytest.raises(InvalidArguments, match="order: no such parameter"):
        known["send@3"].load(Raw(b'{"order": "7", "language": "de"}'))


@pytest.mark.parametrize(
    ("upgrade", "words"),
    [
        (lambda args: args["gone"], "the upgrade from version 1 to 2 failed: KeyError: 'gone'"),
        (lambda args: None, "the upgrade from version 1 to 2 returned a NoneType: return the arguments as a dict"),
        (lambda args: {"n": object()}, "the upgrade from version 1 to 2 returned a value without a JSON form"),
        (lambda args: {"n": "seven"}, "n: Input should be a valid integer"),
    ],
)
def test_an_upgrade_that_fails_is_told_with_its_step(upgrade: Any, words: str) -> None:
    app = Outlast("shop")

    @app.job(version=2, upgrades={1: upgrade})
    async def send(n: int) -> None: ...

    with pytest.raises(InvalidArguments, match=words):
        app.composer.arguments["send"].load(Raw(b'{"n": 1}'))


def test_edited_arguments_of_an_older_version_are_those_of_that_version() -> None:
    app = Outlast("shop")

    @app.job(version=3, upgrades={2: with_numbers, 1: with_language})
    async def send(order_id: int, language: str) -> None: ...

    older = app.composer.arguments["send"]
    assert older.bind((), {"order": "8"}) == Raw(b'{"order":"8"}')
    assert older.some({"order": "8"}, stored={"order": "x"}) == older.some({"order": "8"}) == Raw(b'{"order":"8"}')
    with pytest.raises(InvalidArguments, match="send: the upgrade from version 2 to 3 failed"):
        older.bind((), {"order_id": 8})
    with pytest.raises(InvalidArguments, match="send: the upgrade from version 2 to 3 failed"):
        older.some({"order": "x"}, stored={"order": "8"})


def raises(value: int) -> int:
    raise LookupError


def test_a_validator_that_raises_refuses_an_edit() -> None:
    app = Outlast("shop")

    @app.job(version=2, upgrades={1: same})
    async def send(n: Annotated[int, AfterValidator(raises)]) -> None: ...

    with pytest.raises(InvalidArguments, match="send: a validator raised LookupError"):
        app.composer.arguments["send"].bind((), {"n": 1})


def test_an_upgrade_cannot_change_what_is_stored_and_marks_stay_with_their_names() -> None:
    app = Outlast("shop")

    @app.job(version=2, upgrades={1: lambda args: {"secret": args.pop("password")}})
    async def send(secret: Annotated[str, Redacted]) -> None: ...

    stored = Raw(b'{"password": "x"}')
    older = app.composer.arguments["send"]
    assert older.load(stored) == older.load(stored) == {"secret": "x"}
    assert older.redacted == ("secret",)


def test_the_unique_key_of_the_same_call_is_the_same_in_the_next_version() -> None:
    one, two = Outlast("shop"), Outlast("shop")

    async def send(order_id: int, language: str = "en") -> None: ...

    first = one.job(unique=True)(send).message(7).unique
    second = two.job(unique=True, version=2, upgrades={1: same})(send).message(7).unique
    assert first == second
    assert first is not None
