"""URLs of Memcached: what they mean, and what is wrong with them."""

from __future__ import annotations

import pytest

from outlast.clients.memcached.address import MemcachedAddress
from outlast.core.errors import ConfigurationError


def test_a_url_names_servers_a_time_and_a_namespace() -> None:
    one = MemcachedAddress.of("memcached://cache.internal")
    assert (one.servers, one.timeout, one.namespace) == (("cache.internal:11211",), 0.5, "outlast")
    many = MemcachedAddress.of("memcached://a:1,b,[::1]:3,a:1/?timeout=250ms&namespace=shop")
    assert many.servers == ("a:1", "b:11211", "[::1]:3")
    assert (many.timeout, many.namespace) == (0.25, "shop")
    assert many.shown == "memcached://a:1,b:11211,[::1]:3"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("memcached://", "no 'host:port'"),
        ("memcached://a,,b", "no 'host:port'"),
        ("memcached://a:canary", "no 'host:port'"),
        ("memcached://a:99999", "no 'host:port'"),
        ("memcached://[::1", "cannot be read"),
        ("memcached://user:canary@a", "without a password"),
        ("memcached://a/canary", "nothing follows"),
        ("memcached://a#canary", "nothing follows"),
        ("memcached://a?canary=1", "one of timeout, namespace"),
        ("memcached://a?timeout=0", "more than 0"),
        ("memcached://a?timeout=canary", "timeout"),
        ("memcached://a?namespace=a%20b", "1 to 32 letters"),
        ("memcached://a\x00", "control character"),
    ],
)
def test_a_wrong_url_is_refused_with_the_fix(url: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as caught:
        MemcachedAddress.of(url)
    assert "canary@" not in str(caught.value)
