"""The limits of a limiter: what their text means, which numbers stores count with, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from outlast import ConfigurationError, Outlast, Rate
from outlast.toolkit.limiter.quotas import rules_of


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10/second", [("api:10/s", 10, 1_000_000)]),
        ("1000/day, 10/s", [("api:10/s", 10, 1_000_000), ("api:1000/d", 1000, 86_400_000_000)]),
        (" 5/30s ,7/1.5m", [("api:5/30s", 5, 30_000_000), ("api:7/90s", 7, 90_000_000)]),
        (Rate(3, 60), [("api:3/m", 3, 60_000_000)]),
        ("9/30d", [("api:9/2592000s", 9, 2_592_000_000_000)]),
        (
            "1/1000001s, 1/1000002s",
            [("api:1/1000001s", 1, 1_000_001_000_000), ("api:1/1000002s", 1, 1_000_002_000_000)],
        ),
        (["3/m", Rate(9, 3600)], [("api:3/m", 3, 60_000_000), ("api:9/h", 9, 3_600_000_000)]),
    ],
)
def test_what_limits_mean(text: Any, found: list[tuple[str, int, int]]) -> None:
    assert [(each.name, each.count, each.period) for each in rules_of("api", text).quotas] == found


PERIODS = st.sampled_from(["ms", "s", "7s", "minute", "h", "day", "365d"])


@given(st.integers(1, 10**12), PERIODS, st.integers(1, 10**12))
@example(999_983, "365d", 999_983)
@example(10**12, "365d", 10**12)
def test_the_numbers_are_exact_in_a_double_and_never_exceed_the_rate(count: int, per: str, burst: int) -> None:
    try:
        quota = rules_of("api", f"{count}/{per}", burst=burst).quotas[0]
    except ConfigurationError as error:
        assert "1,000,000 a second" in str(error) or "is too high for" in str(error)
        return
    assert quota.capacity + quota.part * quota.burst <= 2**53
    spacing, exact = Fraction(quota.part, quota.drain), Fraction(quota.period, count)
    assert exact <= spacing
    if burst <= count:
        assert spacing <= exact * Fraction(1001, 1000), "at least 99.9% of the rate"


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            "",
            ",",
            "10",
            "10/",
            "/s",
            "0/s",
            "-1/s",
            "1.5/s",
            "10/0s",
            "10/-1s",
            "nan/s",
            "10/nans",
            "10/infs",
            "ten/s",
        ),
        *("1000001/s", "99999999999999999999/s", "10/s 20/m", "10/s;20/m", "1/367d", "1/0.0001ms", "1/1e99s", "1/\x00"),
        *(None, 7, True, [], {}, [None], ["1/s"] * 9, b"1/s", Rate(0, 1), Rate(1, -1), Rate(1, float("nan"))),
        *(Rate(10**400, 1), Rate(1, float("inf")), Rate(1.5, 1), "1/s, 2/s", "1/m, 2/60s"),  # type: ignore[arg-type]
    ],
    ids=lambda wrong: repr(wrong)[:40],
)
def test_limits_that_cannot_work_are_refused_when_they_are_declared(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"limiter\('api'\): limits="):
        rules_of("api", wrong)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"algorithm": "leaky"}, "algorithm='leaky': give 'gcra', 'sliding' or 'fixed'"),
        ({"algorithm": ["gcra"]}, "algorithm="),
        ({"burst": 0}, "burst=0 must be a whole number from 1"),
        ({"burst": True}, "burst=True must be"),
        ({"burst": 10**12}, r"burst=1000000000000 is too high for 10/h: give at most"),
        ({"burst": 5, "algorithm": "fixed"}, "only algorithm='gcra' has a burst"),
        ({"count_refused": 1}, "count_refused=1: give True or False"),
        ({"closed": "yes"}, "closed='yes': give True or False"),
        ({"name": ""}, r"limiter\(name=''\): give 1 to 64 letters"),
        ({"name": "a:b"}, "give 1 to 64 letters"),
        ({"name": "a\n"}, "give 1 to 64 letters"),
        ({"name": None}, "give 1 to 64 letters"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Outlast("shop").limiter("10/hour", **({"name": "api"} | options))


def test_other_rules_have_another_text() -> None:
    texts = {
        rules_of("api", limits, algorithm=algorithm, count_refused=counted).text
        for limits in ("1/s", "2/s", "1/m", "1/s, 2/m")
        for algorithm in ("gcra", "fixed", "sliding")
        for counted in (True, False)
    } | {rules_of("api", "2/s", burst=1).text}
    assert len(texts) == 4 * 3 * 2 + 1
    assert rules_of("api", "2/s, 1/m").text == rules_of("api", "1/minute, 2/second").text
