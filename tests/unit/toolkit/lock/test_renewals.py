"""When the renewals of leases look again."""

from __future__ import annotations

import pytest

from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.lock.lease import MARGIN, LockLease
from outlast.toolkit.lock.renewals import Renewals
from outlast.toolkit.lock.store import Holding


def test_a_lease_ends_in_time_though_its_next_renewal_is_later() -> None:
    """A renewal that failed is repeated when the store may answer, which is after the end of a short lease."""
    clock = FakeClock()
    renewals = Renewals(Toolkit("memory:", clock=clock, timeout=1))
    lease = LockLease("stock", 1, Holding("stock", "h", 2.0), clock.monotonic(), clock)
    renewals._leases[lease.held.holder] = lease
    lease.renew_at = clock.monotonic() + 2.6
    assert renewals.step() == pytest.approx(2.0 * (1 - MARGIN))
    clock.advance(2.0 * (1 - MARGIN))
    assert renewals.step() is not None
    assert lease.lost
    assert renewals.leases() == []
