"""For every suite: hypothesis repeats the same examples, unless HYPOTHESIS_PROFILE=explore looks for new ones.

The profile faults, of scripts/mutate, stops at the first failure and does not look for its smallest example.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

_slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("suite", derandomize=True, deadline=None, database=None, suppress_health_check=_slow)
settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True, suppress_health_check=_slow)
settings.register_profile("faults", settings.get_profile("suite"), phases=[Phase.explicit, Phase.generate])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))
