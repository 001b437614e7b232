"""Names that the processes of the proof share."""

from __future__ import annotations

from typing import Final

__all__ = ["APP", "LEDGER", "ROLE", "TARGET"]

APP: Final = "survival"
TARGET: Final = "tests.faults.survival.app:shop"
LEDGER: Final = "SURVIVAL_LEDGER"
"""The variable that names the ledger file."""
ROLE: Final = "SURVIVAL_ROLE"
"""The variable that is "worker" in supervisors and all that they start."""
