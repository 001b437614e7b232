"""Addresses to listen on."""

from __future__ import annotations

import pytest

from outlast.core.listen import address_of


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("metrics.internal:80", ("metrics.internal", 80)),
        (":9464", ("127.0.0.1", 9464)),
        (" 9464 ", ("127.0.0.1", 9464)),
    ],
)
def test_an_address_is_read_and_without_a_host_it_is_the_loopback(text: str, found: tuple[str, int]) -> None:
    assert address_of(text) == found


@pytest.mark.parametrize(
    "text", ["", "localhost", "::1:9464", "host:", "host:65536", "host:-1", "http://host:80", "a b:1", "host:٣"]
)
def test_another_form_is_none(text: str) -> None:
    assert address_of(text) is None
