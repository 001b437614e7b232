"""The claim check: what stands for arguments or a result whose bytes are in the object store (docs/wire-format.md)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

__all__ = ["CLAIMS", "MARK", "Claim", "Part", "claim_in", "claim_json", "claim_key", "job_of_key", "stands_for_another"]

CLAIMS: Final = ".outlast/claims/"
"""What the keys of all such objects begin with."""
MARK: Final = "outlast:object"
"""The only name in the JSON object of a reference. No parameter has it, so that arguments are never taken for one."""
_LONGEST: Final = 256
"""Bytes of a reference at most."""
_PIECE: Final = 120
"""Characters of a segment of a key: a folder takes 255, and some file systems less."""
_PLAIN: Final = re.compile(rb"[^a-z0-9_-]")
_ESCAPED: Final = re.compile(r"=([0-9a-f]{2})")
_KEY: Final = re.compile(
    rf"{re.escape(CLAIMS)}([a-z0-9_=-]+)/((?:[a-z0-9_=-]+/)*[a-z0-9_=-]+)\.(?:args|result)-[0-9a-f]+\Z"
)

Part = Literal["args", "result"]


class Claim(Struct, frozen=True):
    """A reference. name: which of the job's objects it is: each put has one of its own, which no other overwrites."""

    name: Annotated[str, Meta(pattern=r"^(args|result)-[0-9a-f]{16}\Z")]
    size: Annotated[int, Meta(ge=0)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class _Reference(Struct, forbid_unknown_fields=True):
    claim: Claim = msgspec.field(name=MARK)


_references: Final = msgspec.json.Decoder(_Reference)
_objects: Final = msgspec.json.Decoder(dict[str, Any])
_MARKED: Final = f'"{MARK}"'.encode()


def claim_json(claim: Claim) -> Raw:
    """Return what stands for the bytes: a JSON object with one name, MARK."""
    return Raw(msgspec.json.encode(_Reference(claim)))


def claim_in(body: Raw) -> Claim | None:
    """Return the reference that a body is, None if it is none."""
    if len(body) > _LONGEST or _MARKED not in bytes(body):
        return None
    try:
        return _references.decode(body).claim
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def stands_for_another(body: Raw) -> bool:
    """Tell whether a body would be read as a reference, or names one beside other names. No longer one is read."""
    if len(body) > _LONGEST or _MARKED not in bytes(body):
        return False
    try:
        return MARK in _objects.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def claim_key(job_id: str, name: str) -> str:
    """Return the key of an object of a job. Of another job, a reference names no object."""
    queue, _, rest = job_id.partition(".")
    escaped = _escaped(rest)
    pieces = "/".join(escaped[start : start + _PIECE] for start in range(0, len(escaped), _PIECE))
    return f"{CLAIMS}{_escaped(queue)}/{pieces}.{name}"


def job_of_key(key: str) -> str | None:
    """Return the id of the job that an object belongs to, None for a key that `claim_key` does not make."""
    found = _KEY.match(key)
    if found is None:
        return None
    return f"{_plain(found[1])}.{_plain(found[2].replace('/', ''))}"


def _escaped(text: str) -> str:
    """Return text in lower case letters: some file systems take upper and lower case for the same."""
    return _PLAIN.sub(lambda each: b"=%02x" % each[0][0], text.encode()).decode()


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda each: chr(int(each[1], 16)), text)
