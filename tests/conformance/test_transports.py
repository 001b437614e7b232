"""What the suite does not collect for a transport is what its page says that it lacks."""

from __future__ import annotations

import re
from pathlib import Path

from outlast.brokers.rabbitmq.offered import FEATURES
from tests.conformance.needs import needs_of
from tests.conformance.test_claim import test_at_most_limit_in_all
from tests.conformance.test_settle import test_nothing_settled_is_nothing_lost
from tests.conformance.transports import LACKS

PAGE = Path(__file__).parents[2] / "docs" / "rabbitmq.md"


def rows() -> set[str]:
    """Return the words in the first column of the table."""
    _, _, rest = PAGE.read_text().partition("\n## What RabbitMQ cannot do\n")
    section, _, _ = rest.partition("\n## ")
    return set(re.findall(r"^\| `([a-z]+)` \|", section, re.MULTILINE))


def test_the_page_says_all_that_is_not_collected() -> None:
    assert rows() == LACKS


def test_every_feature_that_is_refused_is_among_them() -> None:
    lacking = {name for name in FEATURES.__struct_fields__ if getattr(FEATURES, name) is not True}
    assert lacking <= LACKS


def test_a_test_of_jobs_alone_is_collected() -> None:
    assert needs_of(test_at_most_limit_in_all) | needs_of(test_nothing_settled_is_nothing_lost) == set()
