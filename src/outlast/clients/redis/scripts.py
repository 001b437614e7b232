"""Lua scripts, each with its digest: the server is called with the digest, and is sent the text if it lacks it."""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from importlib.resources import files

from msgspec import Struct

__all__ = ["Script", "load_script"]


class Script(Struct, frozen=True):
    """One script: its files joined to one text, and that text's SHA-1 digest in hex."""

    text: str
    sha: str


@cache
def load_script(package: str, *names: str) -> Script:
    """Return the script that is made of these files of the folder lua/ in `package`, joined in this order."""
    folder = files(package) / "lua"
    text = "\n".join((folder / f"{name}.lua").read_text(encoding="utf-8") for name in names)
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())
