"""The app of all hostile handlers."""

from __future__ import annotations

from tests.faults.hostile.declare import NEIGHBOURS, WAYS, app
from tests.faults.hostile.ways import deadlines, ends, failures, flood, spoils, survived

__all__ = ["NEIGHBOURS", "WAYS", "app", "deadlines", "ends", "failures", "flood", "spoils", "survived"]
