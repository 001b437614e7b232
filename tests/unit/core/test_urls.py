"""Secrets of URLs are masked, in whichever part of a mistyped URL they stand."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import HealthCheck, assume, given, seed, settings
from hypothesis import strategies as st

from outlast import ConfigurationError, Settings
from outlast.brokers.registry import kind_of
from outlast.clients.redis.address import Address
from outlast.core.urls import mask_urls, redact_url

CANARY = "cAnaryZq9"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:/srv/a.db", "sqlite:/srv/a.db"),
        ("sqlite:///srv/a@b.db?x=a b", "sqlite:///srv/a@b.db?x=***"),
        ("sqlite://u:pw@h/x", "sqlite://u:***@h/x"),
        ("memory:", "memory:"),
        ("jobs.db", "jobs.db"),
        ("", ""),
        ("redis://:pw@host:6379/0", "redis://:***@host:6379/0"),
        ("redis://:p/w@host/0", "redis://:***@host/0"),
        ("redis://:p?w#v@host/0", "redis://:***@host/0"),
        ("redis://u:p w@host/0", "redis://u:***@host/0"),
        ("redis://u:p@w@host/0", "redis://u:***@host/0"),
        ("redis://u:p#w@host/0?password=x", "redis://u:***@host/0?password=***"),
        ("redis://host:6379/0?ca=a.pem", "redis://host:6379/0?ca=a.pem"),
        ("amqp://user:p@ss:w@host/%2f", "amqp://user:***@host/%2f"),
        ("amqps://user:pw@a:1,b/shop?heartbeat=30", "amqps://user:***@a:1,b/shop?heartbeat=30"),
        ("amqp:user:pw@host/shop", "amqp:***@host/shop"),
        ("redis://host?password=x&db=1", "redis://host?password=***&db=1"),
        ("redis+sentinel://a:1,[::1]:2/m/0?sentinel_password=a@b", "redis+sentinel://a:1,[::1]:2/m/0?***"),
        ("redis://u:pw@h/0?x=a@b", "redis://***"),
        ("redis:u:pw@host/0", "redis:***@host/0"),
        ("redis:/pw@host", "redis:/***@host"),
        ("redis://pw@host/0", "redis://***@host/0"),
        ("redis://pw:@host/0", "redis://***@host/0"),
        ("redis://u:pw", "redis://***"),
        ("redis://host/0?pw", "redis://host/0?***"),
        ("redis://:p?a=w@host", "redis://***"),
        ("redis://u:p@host/0#pw", "redis://u:***@***"),
        ("redis:pw?@host/0?db=1", "redis:***@host/0?db=1"),
        ("redis:pw?a=w@host", "redis:***"),
        ("redis://pw?@host/0?db=1", "redis://***@host/0?db=1"),
        ("pw@host:6379", "***@host:6379"),
        ("u:pw@host", "***@host"),
        ("other:pw", "***"),
    ],
)
def test_what_may_be_a_secret_is_masked(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no URL: a, b:c and e@f", "no URL: a, b:c and e@f"),
        ("'redis://:a@h1' or (redis://u:b c@h2:1).", "'redis://:***@h1' or (redis://u:***@h2:1)."),
        ("at REDIS:u:a@h\nand b@c", "at REDIS:***@h\nand b@c"),
        ("see http://x.org/a?b=1, redis://h/0 and redis://:pw", "see http://x.org/a?b=1, redis://h/0 and redis://***"),
        ("in sqlite:/srv/a@b.db", "in sqlite:/srv/a@b.db"),
        ("no answer from 'redis+sentinel: &@b &@@'", "no answer from 'redis+sentinel:***@'"),
        ("at reds:/ p@h", "at ***@h"),
        ("at redis://:secret://@host now", "at redis://:***@host now"),
        ("at redis://:a secret://@host", "at redis://:***@host"),
        ("at redis://h and kafka://u?password=x", "at redis://h and kafka://u?password=***"),
        ("at redis://h\nkafka://u:x@h", "at redis://h\nkafka://u:***@h"),
        ("redis: no answer, rediss: none, kafka:/ none, redis:", "redis: no answer, rediss: none, *** none, redis:"),
    ],
)
def test_urls_within_a_text_are_masked(text: str, shown: str) -> None:
    assert mask_urls(text) == shown


def test_values_with_a_url_show_no_secret() -> None:
    url = f"redis://me:{CANARY}@host/0"
    shown = repr(Settings(url=url, amqp_url=f"amqp://me:{CANARY}@host/v", toolkit_url=url))
    assert shown.startswith("Settings(url='redis://me:***@host/0', amqp_url='amqp://me:***@host/v', toolkit_url=")
    assert CANARY not in shown
    assert repr(Address.of(url)) == "Address('redis://host:6379/0')"
    assert CANARY not in repr(kind_of(url).connect(url, clock=None, max_body=1))  # type: ignore[arg-type]
    for name in ("URL", "LEASE", "MAX_BODY", "MEASURE", "SPOOL_LIMIT"):
        try:
            found = Settings.load("shop", environ={f"OUTLAST_{name}": url})
        except ConfigurationError as error:
            assert CANARY not in str(error)
        else:
            assert CANARY not in repr(found)


_PASSWORDS = st.builds(
    lambda before, after: before + CANARY + after,
    *[st.text("ab1:@/?#%[]&=;+ \t\n\\.,é", max_size=3)] * 2,
)


@st.composite
def _mistyped(draw: st.DrawFn) -> str:
    scheme = draw(st.sampled_from(["redis", "rediss", "redis+cluster", "redis+sentinel", "REDIS", "reds", "amqp", ""]))
    colon = draw(st.sampled_from([":", ":", ""])) if scheme else ""
    slashes = draw(st.sampled_from(["//", "//", "/", "", "///", "\\\\", ":/"]))
    user = draw(st.sampled_from(["", "me", "a b", "a%40b"]))
    host = draw(st.sampled_from(["host", "host:6379", "a:1,b:2", "[::1]", "[::1", "ho st", "", "127.0.0.1:x"]))
    rest = draw(st.sampled_from(["", "/0", "/one", "/0?db=1", "?password=x", "/0#f", "?timeout=1@2"]))
    password = draw(_PASSWORDS)
    assume(colon or slashes or not password.startswith("//"))  # else it is the name of a user: redis://name:1@h
    return f"{scheme}{colon}{slashes}{user}:{password}@{host}{rest}"


# Longer by a variable, such as CANARY_EXAMPLES=200000.
@seed(9)
@settings(
    max_examples=int(os.environ.get("CANARY_EXAMPLES", "1500")),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(_mistyped(), st.sampled_from(["", " ", "\n", '"', "'"]))
def test_no_mistyped_url_shows_its_password(url: str, around: str) -> None:
    shown = [redact_url(url), redact_url(around + url + around), mask_urls(f"no answer from {url!r}: try http://x.org")]
    try:
        shown += [repr(Settings(url=url))]
        kind = kind_of(url, "--url")
        shown += [kind.shown(url), kind.identity(url), repr(Address.of(url))]
    except ConfigurationError as error:
        shown.append(str(error))
    if re.match(r"(?i)rediss?(\+[a-z]+)?(:|//)|[a-z]+:/", url):
        assert [each for each in shown if CANARY in each] == []
    else:  # without a scheme it is no URL within a text
        assert [each for each in shown[:2] + shown[3:] if CANARY in each] == []
