"""Levels of durability: what an accepted job survives, from the weakest to the strongest."""

from __future__ import annotations

from typing import Literal

__all__ = ["Durability"]

Durability = Literal["memory", "process-crash", "os-crash", "replicated", "unknown"]
"""`unknown`: the store hides its settings, so no level is promised."""
