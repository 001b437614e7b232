"""The wire format (docs/wire-format.md): encode a job as a JSON object; decode and check one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Raw

from outlast.core.bounds import HEADERS_LIMIT, KEY_LIMIT, LAST_MOMENT, headers_size
from outlast.core.errors import ConfigurationError, InvalidArguments, WireError
from outlast.core.ids import queue_of
from outlast.core.kinds import WIRE_KIND
from outlast.core.message import Message

__all__ = ["EMPTY_ARGS", "REDACTED", "changed_args", "decode", "encode", "encode_value", "redact_args", "scrub"]

EMPTY_ARGS: Final = Raw(b"{}")
REDACTED: Final = "[redacted]"
_WHOLE: Final = 4
"""A secret of so many characters is masked also within words."""

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
    except UnicodeDecodeError as error:
        raise WireError(f"not a job: {error}") from None
    except msgspec.DecodeError as error:
        raise WireError(f"not a job: {error}") from None
    except ConfigurationError as error:
        raise WireError(str(error)) from None
    try:
        queue = queue_of(message.id)
    except InvalidArguments as error:
        raise WireError(str(error)) from None
    if queue != message.queue:
        raise WireError(f"id {message.id!r} does not belong to queue {message.queue!r}: an id starts with its queue")
    if not WIRE_KIND.match(message.kind):
        raise WireError(
            f"kind {message.kind[:140]!r}: use 1 to 128 letters, digits or _ . - and begin with a letter or _; append "
            "a version from 2 on as '@2'"
        )
    if not bytes(message.args).lstrip().startswith(b"{"):
        raise WireError("args must be a JSON object, keyed by parameter name")
    for name in ("enqueued_at", "run_at", "expires_at"):
        value = getattr(message, name)
        if value is not None and not 0 <= value <= LAST_MOMENT:
            raise WireError(f"{name}={value:g} must be seconds since 1970, at most {LAST_MOMENT:.0f} (the year 9999)")
    if message.key is not None and len(message.key) > KEY_LIMIT:
        raise WireError(f"key of {len(message.key)} characters: give at most {KEY_LIMIT}")
    if message.headers and (size := headers_size(message.headers)) > HEADERS_LIMIT:
        raise WireError(f"headers of {size} characters: give at most {HEADERS_LIMIT}")
    return message


def changed_args(args: Raw, change: Raw) -> Raw:
    """Return the arguments with the values of `change` in place of the old ones."""
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
