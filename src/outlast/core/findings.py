"""What an examination of a store finds: one thing that was looked at, how bad it is, and how to fix it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["Finding", "Severity"]

Severity = Literal["ok", "warning", "error"]


class Finding(Struct, frozen=True):
    """One thing that was looked at. error: it must be fixed; warning: it may be meant. fix: "" when all is well."""

    check: str
    severity: Severity
    text: str
    fix: str = ""
