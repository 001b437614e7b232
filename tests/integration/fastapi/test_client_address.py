"""The address of a client: what a client writes into headers changes nothing, and one client has one address."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from outlast import ConfigurationError
from outlast.fastapi import ClientAddress


def seen(address: ClientAddress, peer: str | None, *lines: str, header: str = "X-Forwarded-For", more: Any = ()) -> str:
    """Return what is taken for the client of a connection."""
    headers = [(header.lower().encode(), line.encode("latin-1", "replace")) for line in lines]
    client = (peer, 1234) if peer is not None else None
    return address(HTTPConnection({"type": "http", "headers": [*headers, *more], "client": client}))


@pytest.mark.parametrize(
    ("peer", "found"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("64:ff9b::192.0.2.7", "192.0.2.7"),
        ("64:ff9b:1::192.0.2.7", "64:ff9b:1::/64"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_without_proxies_it_is_the_peer(peer: str | None, found: str) -> None:
    assert seen(ClientAddress(), peer, "198.51.100.1") == found


@pytest.mark.parametrize(
    ("element", "found"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("198.51.100.1:5555", "198.51.100.1"),
        ("[2001:db8::1]:443", "2001:db8::/64"),
        ("[2001:db8::1]", "2001:db8::/64"),
        ("2001:db8::1", "2001:db8::/64"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("[::ffff:198.51.100.1%eth0]:9", "198.51.100.1"),
        ("  198.51.100.1\t", "198.51.100.1"),
        *(
            (wrong, "10.0.0.1")
            for wrong in ("", "unknown", "_hidden", "1.2.3", "1.2.3.256", "01.2.3.4", "[::1]x", "[::1")
        ),
        *((wrong, "10.0.0.1") for wrong in ("1.2.3.4 5.6.7.8", "é", "1" * 5000, "localhost", "[1.2.3.4", ":")),
    ],
)
def test_an_element_of_a_header(element: str, found: str) -> None:
    assert seen(ClientAddress(hops=1), "10.0.0.1", f"203.0.113.9, {element}") == found
    assert seen(ClientAddress(networks="10.0.0.0/8"), "10.0.0.1", element) == found
    quoted = f'for=203.0.113.9, proto=https;For="{element}";by=10.0.0.1'
    assert seen(ClientAddress(hops=1, header="Forwarded"), "10.0.0.1", quoted, header="Forwarded") == found


def test_hops_count_from_the_app_and_a_short_list_is_taken_from_its_begin() -> None:
    two = ClientAddress(hops=2)
    assert seen(two, "10.0.0.1", "9.9.9.9, 198.51.100.1, 10.0.0.2") == "198.51.100.1"
    assert seen(two, "10.0.0.1", "9.9.9.9", "198.51.100.1", "10.0.0.2") == "198.51.100.1"
    assert seen(two, "10.0.0.1", "10.0.0.2") == "10.0.0.2"
    assert seen(two, "10.0.0.1") == "10.0.0.1"


def test_networks_are_looked_through_and_a_peer_outside_of_them_is_not_believed() -> None:
    address = ClientAddress(networks=["10.0.0.0/8", "2001:db8:ffff::/48"])
    assert seen(address, "10.0.0.1", "9.9.9.9, 198.51.100.1, 2001:db8:ffff::7, 10.3.2.1") == "198.51.100.1"
    assert seen(address, "198.51.100.1", "9.9.9.9") == "198.51.100.1"
    assert seen(address, "::ffff:10.0.0.1", "10.0.0.9") == "10.0.0.9", "a client within them"
    assert seen(address, "10.0.0.1", "9.9.9.9, unknown, 10.0.0.5") == "10.0.0.5", "what follows cannot be known"
    assert seen(address, None, "9.9.9.9") == "unknown"
    socket = ClientAddress(networks=["unix", "10.0.0.0/8"])
    assert seen(socket, None, "9.9.9.9, 198.51.100.1, 10.0.0.5") == "198.51.100.1"
    assert seen(socket, "", "198.51.100.1") == "198.51.100.1"
    assert seen(socket, "testclient", "9.9.9.9") == "testclient"


SPOOFS = st.lists(
    st.one_of(
        st.ip_addresses().map(str),
        st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=30),
        st.sampled_from(['for="', 'for="[', "for=1.2.3.4;for=", ",,,,", '"', "10.0.0.1", "for=10.0.0.1", "x" * 9000]),
    ),
    max_size=8,
)


@given(SPOOFS, st.booleans())
def test_nothing_that_a_client_writes_changes_its_address(spoofed: list[str], joined: bool) -> None:
    """The proxy adds the address of its peer to the list, on the client's line or on one of its own."""
    for header, added in (("X-Forwarded-For", "198.51.100.1"), ("Forwarded", "for=198.51.100.1;proto=https")):
        lines = [", ".join([*spoofed, added])] if joined else [*spoofed, added]
        for address in (ClientAddress(hops=1, header=header), ClientAddress(networks="10.0.0.0/8", header=header)):
            assert seen(address, "10.0.0.1", *lines, header=header) == "198.51.100.1"


HOSTS = st.lists(
    st.sampled_from([",", ";", "for=9.9.9.9", 'for=\\"9.9.9.9', '\\"', "\\\\", "host=", " ", "a.example"]), max_size=8
)


@given(HOSTS, SPOOFS, st.sampled_from(['for=198.51.100.1;host="{}"', 'host="{}";For="198.51.100.1:4711"']))
def test_text_of_the_client_that_a_proxy_repeats_in_quotes_is_no_address(
    host: list[str], spoofed: list[str], form: str
) -> None:
    """A Host such as "a,for=9.9.9.9" is a valid name (RFC 3986: sub-delims); a proxy may write it into `Forwarded`."""
    lines = [", ".join([*spoofed, form.format("".join(host))])]
    for address in (
        ClientAddress(hops=1, header="Forwarded"),
        ClientAddress(networks="10.0.0.0/8", header="Forwarded"),
    ):
        assert seen(address, "10.0.0.1", *lines, header="Forwarded") == "198.51.100.1"
    behind_two = ", ".join([*lines, 'for=10.0.0.2;host="a,b"'])
    assert seen(ClientAddress(hops=2, header="Forwarded"), "10.0.0.1", behind_two, header="Forwarded") == "198.51.100.1"


def test_headers_that_no_proxy_writes_are_not_read() -> None:
    names = (
        "forwarded",
        "x-real-ip",
        "client-ip",
        "cf-connecting-ip",
        "true-client-ip",
        "x-forwarded",
        "x_forwarded_for",
    )
    more = [(name.encode(), b"for=9.9.9.9" if name == "forwarded" else b"9.9.9.9") for name in names]
    random.Random(7).shuffle(more)
    assert seen(ClientAddress(hops=1), "10.0.0.1", "198.51.100.1", more=more) == "198.51.100.1"
    assert seen(ClientAddress(), "198.51.100.1", "9.9.9.9", more=more) == "198.51.100.1"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"hops": -1}, r"hops=-1\): give the proxies in front, 0 to 16"),
        ({"hops": True}, "hops=True"),
        ({"hops": 17}, "hops=17"),
        ({"hops": 1, "networks": "10.0.0.0/8"}, "give the one or the other"),
        ({"networks": "10.0.0.0/33"}, r"'10.0.0.0/33' is none: give networks such as"),
        ({"networks": ["proxy.internal"]}, "'proxy.internal' is none"),
        ({"networks": [None]}, "None is none"),
        ({"networks": 7}, "7 is none"),
        ({"networks": "::ffff:10.0.0.0/104"}, "such peers count as IPv4: give the IPv4 network"),
        ({"networks": ["0.0.0.0/0"]}, "holds every client, who could then say any address"),
        ({"networks": ["::/0"]}, "holds every client"),
        ({"header": "x forwarded"}, "give the header that the proxies write"),
        ({"header": ""}, "give the header"),
        ({"header": None}, "give the header"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        ClientAddress(**options)
