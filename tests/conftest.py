"""For every suite: hypothesis repeats the same examples, unless HYPOTHESIS_PROFILE=explore looks for new ones.

The profile faults, of scripts/mutate, stops at the first failure and does not look for its smallest example.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

_slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("suite", derandomize=True, deadline=None, database=None, suppress_health_check=_slow)
settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True, suppress_health_check=_slow)
settings.register_profile("faults", settings.get_profile("suite"), phases=[Phase.explicit, Phase.generate])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

# A shell that runs the suite in the background ignores these signals in it, and every process of a test inherits that.
for _number, _default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _default)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what is collected out of the reach of the garbage collector: each of its passes would look at all of it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def toolkit_keys_expire() -> Iterator[None]:
    """Fail when a toolkit has left a key that never expires on a server that the tests share."""
    yield
    servers = sys.modules.get("tests.support.servers.redis_server")
    if servers is not None and servers.SHARED:
        from tests.support.expiry import endless_keys

        assert {port: found for port in servers.SHARED if (found := endless_keys(port))} == {}
