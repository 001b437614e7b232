"""Findings of a check of a store: the check, its severity, and the fix."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["Finding", "Severity"]

Severity = Literal["ok", "warning", "error"]


class Finding(Struct, frozen=True):
    """The result of one check. error: it must be fixed; warning: it may be intended. fix: "" when nothing is wrong."""

    check: str
    severity: Severity
    text: str
    fix: str = ""
