"""The guards of an app as one of its parts."""

from __future__ import annotations

from typing import Final

from outlast.core.parts import Part

__all__ = ["GUARDS"]

GUARDS: Final = Part("guards")
"""It has no health of its own: an open guard does what it is for, and the process can work."""
