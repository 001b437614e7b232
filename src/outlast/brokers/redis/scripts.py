"""The scripts, each with its digest: the server knows them by it, and is sent the text where it does not."""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from importlib.resources import files

from msgspec import Struct

__all__ = ["Script", "script"]


class Script(Struct, frozen=True):
    """One script: its parts joined to one text, and that text's digest."""

    text: str
    sha: str


@cache
def script(*names: str) -> Script:
    """Return the script that is made of these files of lua/, in this order."""
    folder = files("outlast.brokers.redis") / "lua"
    text = "\n".join((folder / f"{name}.lua").read_text(encoding="utf-8") for name in names)
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())
