"""Random URLs with a canary for a password: nothing that a user sees shows it."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from outlast import ConfigurationError, Settings
from outlast.brokers.registry import kind_of
from outlast.clients.redis.address import Address

__all__ = ["CANARY", "URLS", "shown"]

CANARY = "cAnaryZq9"
_around = st.text("ab1:@/?#%[]&=;+ \t\n\\.,é", max_size=3)
_schemes = (
    "redis://",
    "rediss://",
    "redis+cluster://",
    "redis+sentinel://",
    "REDIS://",
    "redis:",
    "redis:/",
    "amqp://",
)
URLS = st.builds(
    "{}{}:{}{}{}@{}{}".format,
    st.sampled_from(_schemes),
    st.sampled_from(["", "me", "a b", "a%40b"]),
    _around,
    st.just(CANARY),
    _around,
    st.sampled_from(["host", "host:6379", "a:1,b:2", "[::1]", "[::1", "ho st", "", "127.0.0.1:x"]),
    st.sampled_from(["", "/0", "/one", "/0?db=1", "?password=x", "/0#f", "?timeout=1@2"]),
)


def shown(url: str) -> dict[str, str]:
    """Return every text that is made of the URL, by what makes it; an error of another class is raised."""
    kinds: dict[str, Callable[[], object]] = {
        "the settings": lambda: Settings(url=url),
        "the kind": lambda: kind_of(url, "--url").shown(url),
        "the identity": lambda: kind_of(url, "--url").identity(url),
        "the address": lambda: Address.of(url),
    }
    found = {}
    for name, make in kinds.items():
        try:
            found[name] = repr(make())
        except ConfigurationError as error:
            found[name] = str(error)
    return found
