"""Lua scripts with their digests: a call sends the digest, and the text only if the server does not have the script."""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from importlib.resources import files

from msgspec import Struct

__all__ = ["Script", "load_script"]


class Script(Struct, frozen=True):
    """The text of a script and its SHA-1 digest in hex."""

    text: str
    sha: str


@cache
def load_script(package: str, *names: str) -> Script:
    """Return the script that joins these files of the folder lua/ in `package`, in this order."""
    folder = files(package) / "lua"
    text = "\n".join((folder / f"{name}.lua").read_text(encoding="utf-8") for name in names)
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())
