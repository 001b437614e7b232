"""What a URL of RabbitMQ says, and what it may not say."""

from __future__ import annotations

import pytest

from outlast.clients.amqp.address import AmqpAddress, AmqpHost
from outlast.core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "shown", "told"),
    [
        ("amqp://", "amqp://127.0.0.1:5672/", {"user": "guest", "password": "guest", "vhost": "/"}),
        ("amqp://localhost/", "amqp://localhost:5672/", {"user": "guest", "heartbeat": 60, "name": "outlast"}),
        ("amqp://[::1]:7/%2F", "amqp://[::1]:7/", {"vhost": "/"}),
        ("amqp://127.1.2.3/a%2Fb", "amqp://127.1.2.3:5672/a/b", {"vhost": "a/b"}),
        ("amqp://ann:p%40%2Fss@rabbit:7/shop", "amqp://rabbit:7/shop", {"user": "ann", "password": "p@/ss"}),
        ("amqp://a:b:c@rabbit", "amqp://rabbit:5672/", {"user": "a", "password": "b:c"}),
        ("amqp://ann:@rabbit", "amqp://rabbit:5672/", {"password": ""}),
        ("amqps://u:p@a,b:9,[::2]/v", "amqps://a:5671,b:9,[::2]:5671/v", {"secure": True}),
        ("amqp://u:p@a?heartbeat=2m&timeout=1.5", "amqp://a:5672/", {"heartbeat": 120, "timeout": 1.5}),
        ("amqp://u:p@a?connect_timeout=500ms&name=shop:api", "amqp://a:5672/", {"connect_timeout": 0.5}),
        ("amqps://u:p@a?ca=/etc/hosts", "amqps://a:5671/", {"ca": "/etc/hosts"}),
        (" amqp://u:%1b%C3%A9@a/%C3%A9\n", "amqp://a:5672/\u00e9", {"password": "\x1b\u00e9"}),
    ],
)
def test_a_url_says_where_and_how(url: str, shown: str, told: dict[str, object]) -> None:
    address = AmqpAddress.of(url)
    assert address.shown == shown
    assert repr(address) == f"AmqpAddress({shown!r})"
    assert {name: getattr(address, name) for name in told} == told


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://a", "the scheme is none of amqp, amqps"),
        ("amqp://u:secret@a:port", "is no 'host:port'"),
        ("amqp://u:secret@a:0", "is no 'host:port'"),
        ("amqp://u:secret@[::1", "cannot be read"),
        ("amqp://u:p[secret]s@a", "cannot be read"),
        ("amqp://u:secret/b@a", "write / . # @ as %2F"),
        ("amqp://u:12/secret@a", "write / . # @ as %2F"),
        ("amqp://u:secret#b@a/0", "write / . # @ as %2F"),
        ("amqp://a/v#secret", "write / . # @ as %2F"),
        ("amqp://u:secret?b@a", "write / . # @ as %2F"),
        ("amqp://secret@a", "is no 'user:password'"),
        ("amqp://:secret@a", "is no 'user:password'"),
        ("amqp://rabbit", "there is no user: give 'amqp://user:password@host'"),
        ("amqp://localhost,rabbit", "there is no user"),
        ("amqp://u:p@a/v/w", "one name, such as '/shop', and write / in it as %2F"),
        (f"amqp://u:p@a/{'v' * 256}", "longer than 255 bytes"),
        (f"amqp://{'u' * 256}:p@a", "longer than 255 bytes"),
        ("amqp://u:p@a?hartbeat=1", r"\?hartbeat= is unknown; give one of heartbeat"),
        ("amqp://u:p@a?pw=secret", "an option is unknown"),
        ("amqp://u:p@a?heartbeat=0", "more than 0 seconds"),
        ("amqp://u:p@a?heartbeat=500ms", "whole number of 1 to 3600 seconds"),
        ("amqp://u:p@a?heartbeat=2h", "whole number of 1 to 3600 seconds"),
        ("amqp://u:p@a?timeout=soon", "timeout='soon'"),
        ("amqp://u:p@a?name=a b", "1 to 64 letters"),
        ("amqp://u:p@a?ca=/etc/hosts", "need TLS: give 'amqps://'"),
        ("amqps://u:p@a?ca=/nowhere", "no such file"),
        ("amqps://u:p@a?key=/etc/hosts", "needs \\?cert="),
        (f"amqps://u:p@a?ca=/{'a' * 5000}", "no such file"),
        ("amqp://u\udcff:secret@a", "bytes that are not UTF-8"),
        ("amqp://u:secret\udcff@a", "bytes that are not UTF-8"),
        ("amqp://u:secret@a/v\udcff", "bytes that are not UTF-8"),
        ("amqp://u:secret@a/%ff", "bytes that are not UTF-8"),
        ("amqp://u:secret%00@a", "a control character"),
        ("amqp://u:secret@a/%1b[31m", "a control character"),
        ("amqp://u:secret@a/v\tw", "a control character"),
    ],
)
def test_a_wrong_url_is_refused_with_the_fix(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        AmqpAddress.of(url)
    assert "secret" not in str(raised.value)


def test_a_file_that_is_no_certificate_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\?ca=/etc/hosts: .*give readable PEM files"):
        AmqpAddress.of("amqps://u:p@a?ca=/etc/hosts").tls()


@pytest.mark.parametrize(("host", "loopback"), [("localhost", True), ("127.9.9.9", True), ("::1", True), ("a", False)])
def test_this_machine_is_known(host: str, loopback: bool) -> None:
    assert AmqpHost(host).loopback is loopback
