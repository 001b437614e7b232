"""For every suite: hypothesis repeats the same examples, unless HYPOTHESIS_PROFILE=explore looks for new ones."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("suite", derandomize=True, deadline=None, database=None, suppress_health_check=_slow)
settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True, suppress_health_check=_slow)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))
