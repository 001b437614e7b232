"""The user of docs/redis.md, word for word: the suite runs as who the page says is permitted enough."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["PASSWORD", "USER", "setuser"]

USER: Final = "outlast"
PASSWORD: Final = "of-the-suite"
_PAGE: Final = Path(__file__).parents[3] / "docs" / "redis.md"


def setuser(namespace: str = "outlast", *more: str) -> list[str]:
    """Return the page's ACL SETUSER command, for keys of a namespace ("*" for all), with `more` permitted."""
    text = _PAGE.read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("ACL SETUSER"))
    head, _, rules = line.partition(" on >PASSWORD ")
    assert head == f"ACL SETUSER {USER}"
    places = rules.replace("{outlast", "{" + namespace).replace("outlast:kit:", f"{namespace}:kit:")
    return ["ACL", "SETUSER", USER, "on", f">{PASSWORD}", *places.split(), *more]
