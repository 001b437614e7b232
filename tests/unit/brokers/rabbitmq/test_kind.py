"""The URL of the transport: its own option, and what tools ask of its kind."""

from __future__ import annotations

import pytest

from outlast.brokers.rabbitmq.kind import CONSUMER_TIMEOUT, without_timeout
from outlast.brokers.registry import connect, kind_of
from outlast.core.errors import ConfigurationError
from outlast.testing.clock import FakeClock

URL = "amqp://shop:secret@rabbit.internal/shop"


@pytest.mark.parametrize(
    ("url", "rest", "seconds"),
    [
        (URL, URL, CONSUMER_TIMEOUT),
        (f"{URL}?consumer_timeout=60", URL, 60.0),
        (f"{URL}?consumer_timeout=2h&name=a", f"{URL}?name=a", 7200.0),
        (f"{URL}?name=a", f"{URL}?name=a", CONSUMER_TIMEOUT),
    ],
)
def test_the_consumer_timeout_is_not_an_option_of_the_client(url: str, rest: str, seconds: float) -> None:
    assert without_timeout(url) == (rest, seconds)


@pytest.mark.parametrize("value", ["0", "soon", "-1", "nan"])
def test_a_wrong_consumer_timeout_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"url: \?consumer_timeout"):
        without_timeout(f"{URL}?consumer_timeout={value}")


async def test_the_store_is_a_transport_and_shows_no_password() -> None:
    store = connect(f"{URL}?consumer_timeout=60", clock=FakeClock(), max_body=100)
    offered = store.broker.capabilities
    assert (offered.leases, offered.shared, offered.longest_run, offered.max_body) == (False, True, 60.0, 100)
    assert offered.features is kind_of(URL).features
    assert store.url == "amqp://rabbit.internal:5672/shop"
    assert kind_of(URL).identity(f"{URL}?consumer_timeout=60") == store.url
    with pytest.raises(ConfigurationError, match="keeps no records of jobs"):
        _ = store.records
