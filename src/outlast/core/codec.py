"""The wire format (docs/wire-format.md): encode a job as a JSON object; decode and check one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Raw

from outlast.core.bounds import LAST_MOMENT, NESTED_LIMIT, check_text, checked_headers, checked_moment, checked_text
from outlast.core.claims import claim_in
from outlast.core.durations import LONGEST
from outlast.core.errors import ConfigurationError, InvalidArguments, WireError
from outlast.core.ids import FULL_ID, queue_of
from outlast.core.kinds import WIRE_KIND
from outlast.core.message import Message
from outlast.core.policy import HEAD_START
from outlast.core.text import shown
from outlast.core.unique import Unique

__all__ = [
    "EMPTY_ARGS",
    "REDACTED",
    "are_plain",
    "changed_args",
    "check",
    "check_args",
    "decode",
    "encode",
    "encode_value",
    "nested_levels",
    "redact_args",
    "scrub",
]

EMPTY_ARGS: Final = Raw(b"{}")
REDACTED: Final = "[redacted]"
_WHOLE: Final = 4
"""A secret of so many characters is masked also within words."""
_TEXT: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET: Final = re.compile(rb"[][{}]")

_encoder = msgspec.json.Encoder()
_messages = msgspec.json.Decoder(Message)
_objects = msgspec.json.Decoder(dict[str, Any])
_raws = msgspec.json.Decoder(dict[str, Raw])


def encode(message: Message) -> bytes:
    """Return the message's wire form."""
    return _encoder.encode(message)


def encode_value(value: object) -> Raw:
    """Return a value as JSON; it must be of a type that `msgspec.to_builtins` supports."""
    return Raw(_encoder.encode(value))


def decode(body: bytes) -> Message:
    """Return the message in `body`; raise WireError naming the field that is wrong."""
    try:
        message = _messages.decode(body)
        check(message)
        check_args(message)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise WireError(f"not a job: {error}") from None
    except (ConfigurationError, InvalidArguments) as error:
        raise WireError(str(error)) from None
    return message


def are_plain(messages: Iterable[Message]) -> bool:
    """Tell quickly whether `check` and `check_args` accept all of these; False when they must be made one by one."""
    kinds: set[str] = set()
    bodies: list[Any] = []
    for each in messages:
        if (
            type(each) is not Message
            or each.key is not None
            or each.unique is not None
            or each.headers is not None
            or each.expires_at is not None
            or each.max_wait is not None
            or each.redacted
            or each.priority != "normal"
            or type(each.run_at) is not float
            or type(each.enqueued_at) is not float
            or not 0 <= each.run_at <= LAST_MOMENT >= each.enqueued_at >= 0
            or type(each.id) is not str
            or type(each.queue) is not str
            or type(each.kind) is not str
            or (found := FULL_ID.match(each.id)) is None
            or found[1] != each.queue
        ):
            return False
        kinds.add(each.kind)
        bodies.append(each.args)
    try:
        for body in bodies:  # one by one: b"{},{}" would be two objects in a list of all
            if type(body) is not Raw:
                return False
            _objects.decode(body)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return False
    joined = b"".join(bodies)
    return joined.count(b"[") + joined.count(b"{") < len(bodies) + NESTED_LIMIT and all(map(WIRE_KIND.match, kinds))


def check(message: Message) -> None:
    """Raise ConfigurationError or InvalidArguments naming the field, unless this is a job that `decode` accepts.

    Every way in makes these checks: what an enqueue accepts, the spool can keep and relay. Not checked: the arguments.
    """
    for name in ("id", "queue", "kind"):
        if type(getattr(message, name)) is not str:
            raise ConfigurationError(f"{name}={shown(getattr(message, name))}: give text")
    if queue_of(message.id) != message.queue:
        raise InvalidArguments(
            f"id {shown(message.id)} does not belong to queue {shown(message.queue)}: an id starts with its queue"
        )
    if not WIRE_KIND.match(message.kind):
        raise ConfigurationError(
            f"kind {shown(message.kind)}: use 1 to 128 letters, digits or _ . - and begin with a letter or _; append "
            "a version from 2 on as '@2'"
        )
    for name in ("enqueued_at", "run_at", "expires_at"):
        moment = getattr(message, name)
        if type(moment) in (float, int):
            checked_moment(moment, name)
        elif moment is not None or name != "expires_at":
            raise ConfigurationError(f"{name}={shown(moment)}: give seconds since 1970")
    wait: object = message.max_wait
    if wait is not None and not (isinstance(wait, float | int) and type(wait) is not bool and 0 < wait <= LONGEST):
        raise ConfigurationError(f"max_wait={shown(wait)}: give seconds above 0, or None")
    if not _is_priority(message.priority):
        raise ConfigurationError(f"priority={shown(message.priority)}: give 'high', 'normal' or 'low'")
    if message.key is not None and checked_text(message.key, "key") is not message.key:
        raise ConfigurationError(f"key={shown(message.key)}: give a plain str")
    unique: object = message.unique
    if unique is not None and type(unique) is not Unique:
        raise ConfigurationError(f"unique={shown(unique)}: give Unique(text, ...)")
    if message.headers is not None:
        checked_headers(message.headers)
        if any(type(text) is not str for item in message.headers.items() for text in item):
            raise ConfigurationError(f"headers={shown(message.headers)}: give a dict of plain str")
    if message.redacted:
        _check_names(message.redacted)


def _is_priority(word: object) -> bool:
    return type(word) is str and word in HEAD_START


def _check_names(redacted: object) -> None:
    if type(redacted) is not tuple or any(type(each) is not str for each in redacted):
        raise ConfigurationError(f"redacted={shown(redacted)}: give a tuple of names")
    for each in redacted:
        check_text(each, "redacted")


def check_args(message: Message) -> None:
    """Raise InvalidArguments unless the arguments are a readable JSON object of at most NESTED_LIMIT levels."""
    args: object = message.args
    if type(args) is not Raw:  # bytes would be written as base64
        raise InvalidArguments(f"args={shown(args)}: give Raw, of a JSON object keyed by parameter name")
    try:
        body = bytes(message.args)
        if nested_levels(body) > NESTED_LIMIT:
            raise InvalidArguments(f"args are nested deeper than {NESTED_LIMIT} levels: pass flatter data")
        _objects.decode(body)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise InvalidArguments(f"args must be a JSON object, keyed by parameter name: {error}") from None


def nested_levels(body: bytes) -> int:
    """Return how deep lists and objects are nested in JSON; without recursion, which the depth itself would end.

    If there are few of them, return how many: they are not nested deeper.
    """
    if (brackets := body.count(b"[") + body.count(b"{")) < NESTED_LIMIT:
        return brackets
    deepest = level = 0
    for bracket in _BRACKET.findall(_TEXT.sub(b"", body)):
        level += 1 if bracket in b"[{" else -1
        deepest = max(deepest, level)
    return deepest


def changed_args(args: Raw, change: Raw) -> Raw:
    """Return the arguments with the values of `change` in place of the old ones.

    Raise InvalidArguments for arguments in the object store: of a reference nothing can be changed.
    """
    if claim_in(args) is not None:
        raise InvalidArguments(
            "the arguments of this job are in the object store, so that none of them can be changed: give all of them "
            "(--args)"
        )
    return encode_value({**_raws.decode(args), **_raws.decode(change)})


def redact_args(args: Raw, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the arguments with those in `names` masked."""
    masked = _objects.decode(args)
    for name in names:
        if name in masked:
            masked[name] = REDACTED
    return masked


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with all `secrets` masked, in upper and lower case. Of overlapping ones nothing remains.

    One of fewer than four characters is masked where no letter or digit is beside it: else it would mask all text.
    """
    folded = _folded(text)
    spans: list[tuple[int, int]] = []
    for secret in {_folded(each) for each in secrets if each.strip()}:
        at, size = folded.find(secret), len(secret)
        while at >= 0:
            if size >= _WHOLE or not (folded[at - 1 : at].isalnum() or folded[at + size : at + size + 1].isalnum()):
                spans.append((at, at + size))
            at = folded.find(secret, at + 1)
    kept: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start > done or not kept:
            kept += (text[done:start], REDACTED)
        done = max(done, end)
    return "".join((*kept, text[done:]))


def _folded(text: str) -> str:
    """Return the text in lower case, of the same length."""
    lower = text.lower()
    return (
        lower if len(lower) == len(text) else "".join(low if len(low := each.lower()) == 1 else each for each in text)
    )
