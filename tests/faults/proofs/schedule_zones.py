"""50 zones x 10 years: ticks against cronsim's own answer and against another oracle: `python -m ...schedule_zones`.

Every difference is printed and must be one of those that `explain` knows; the exit code says whether all are.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

from cronsim import CronSim

from outlast.core.schedule import Spec
from outlast.scheduler.ticks import Ticks
from tests.support import cron_oracle
from tests.support.origin import origin

__all__ = ["EXPRESSIONS", "ZONES", "by_cronsim", "by_outlast", "explain"]

_ZONES = """
Europe/Berlin Europe/London Europe/Dublin Europe/Lisbon Europe/Moscow Europe/Istanbul Europe/Chisinau Europe/Athens
America/New_York America/Chicago America/Denver America/Phoenix America/Los_Angeles America/Anchorage America/St_Johns
America/Halifax America/Havana America/Mexico_City America/Sao_Paulo America/Asuncion America/Santiago America/Caracas
America/Argentina/Buenos_Aires America/Nuuk America/Port-au-Prince Africa/Cairo Africa/Casablanca Africa/Lagos
Africa/Johannesburg Africa/Tripoli Asia/Tehran Asia/Beirut Asia/Gaza Asia/Jerusalem Asia/Amman Asia/Damascus
Asia/Kolkata Asia/Kathmandu Asia/Tokyo Asia/Shanghai Asia/Pyongyang Asia/Singapore Australia/Sydney Australia/Lord_Howe
Australia/Adelaide Pacific/Auckland Pacific/Chatham Pacific/Apia Pacific/Kiritimati Antarctica/Troll
"""
_EXPRESSIONS = """
30 2 * * * | 0 0-4 * * * | 0 */3 * * * | 30 */6 * * * | 0 0 * * * | 5 0 1 * * | 30 1 * * 0 | 0 12 29 2 *
*/30 1-2 * * * | 59 23 L * * | 10 3 * * 1-5
"""
ZONES = _ZONES.split()
EXPRESSIONS = [each.strip() for line in _EXPRESSIONS.splitlines() for each in line.split("|") if each.strip()]


def by_outlast(expression: str, zone: str, begin: int, end: int) -> list[int]:
    """Return our ticks in [begin, end)."""
    found: list[int] = []
    for tick in Ticks(Spec(cron=expression, tz=zone), "zones").iterate(begin - 1):
        if tick >= end:
            return found
        found.append(int(tick))
    return found


def by_cronsim(expression: str, zone: str, begin: int, end: int) -> list[int]:
    """Return cronsim's own answers in [begin, end), in its order, with what it says twice."""
    found: list[int] = []
    for at in CronSim(expression, datetime.fromtimestamp(begin - 1, ZoneInfo(zone))):
        if at.timestamp() >= end:
            return found
        found.append(int(at.timestamp()))
    return found


def explain(ours: list[int], theirs: list[int]) -> dict[str, int]:
    """Count the differences from cronsim by their cause; "unexplained" is what no cause is known for.

    twice: two wall times that spring leaves out, or one of them and the first that is there, are one instant; cronsim
    names it once for each, we fire once. backwards: cronsim names an instant that lies before the one it named last.
    """
    causes: Counter[str] = Counter()
    for before, after in pairwise(theirs):
        causes["twice"] += before == after
        causes["backwards"] += after < before
    rest = Counter(theirs)
    rest.subtract(Counter(ours))
    causes["unexplained"] += sum(abs(count) for count in rest.values()) - causes["twice"] - causes["backwards"]
    return dict(causes)


def main() -> int:
    """Compare; print what differs; return 0 when all of it is explained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zones", type=int, default=len(ZONES))
    parser.add_argument("--years", type=int, default=10)
    parser.add_argument("--first", type=int, default=2017)
    given = parser.parse_args()
    print(origin(), flush=True)
    begin = int(datetime(given.first, 1, 1, tzinfo=UTC).timestamp())
    end = int(datetime(given.first + given.years, 1, 1, tzinfo=UTC).timestamp())
    started, number, total = time.monotonic(), 0, Counter[str]()
    for zone in ZONES[: given.zones]:
        for expression in EXPRESSIONS:
            ours = by_outlast(expression, zone, begin, end)
            causes = explain(ours, by_cronsim(expression, zone, begin, end))
            total.update(causes)
            number += len(ours)
            if any(causes.values()):
                print(f"cronsim  {zone:<22} {expression:<18} {causes}", flush=True)
            if "L" in expression:
                continue
            other = cron_oracle.ticks(expression, zone, begin, end)
            if ours != other:
                missing, more = sorted(set(other) - set(ours)), sorted(set(ours) - set(other))
                total["oracle: missing"] += len(missing)
                total["oracle: more"] += len(more)
                shown = [datetime.fromtimestamp(at, ZoneInfo(zone)).isoformat() for at in (missing + more)[:2]]
                print(f"oracle   {zone:<22} {expression:<18} -{len(missing)} +{len(more)} {shown}", flush=True)
    print(f"{number:,} ticks, {time.monotonic() - started:.0f} s, differences: {dict(total)}")
    return 1 if total["unexplained"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
