"""Errors of RabbitMQ: what it refuses, with its code, and what the codes of a refused connection mean."""

from __future__ import annotations

from typing import Final

from outlast.core.errors import StoreError

__all__ = ["ACCESS_REFUSED", "NOT_ALLOWED", "NOT_FOUND", "PRECONDITION_FAILED", "AmqpRefused", "refused_connection"]

ACCESS_REFUSED: Final = 403
NOT_FOUND: Final = 404
PRECONDITION_FAILED: Final = 406
NOT_ALLOWED: Final = 530


class AmqpRefused(StoreError):
    """RabbitMQ refused a request and closed its channel or its connection. code, text: the server's own.

    404: no such queue or exchange. 405: locked by another connection. 406: it exists with other arguments, or the
    consumer timeout passed. 403: the user may not do it, or the login was refused. 530: no such virtual host.
    """

    def __init__(self, where: str, code: int, text: str, fix: str = "") -> None:
        super().__init__(f"{where}: {code} {text}{': ' if fix else ''}{fix}")
        self.code = code
        self.text = text


def refused_connection(shown: str, vhost: str, code: int, text: str) -> AmqpRefused:
    """Return the error for a connection that the server closed while it was made."""
    fix = ""
    if code == ACCESS_REFUSED and "vhost" not in text:
        fix = "give the user and the password of the URL, or make the user: rabbitmqctl add_user"
    elif code == NOT_ALLOWED and "not found" in text:
        fix = f"make it with rabbitmqctl add_vhost {vhost!r}, or give another virtual host in the URL"
    elif code in (ACCESS_REFUSED, NOT_ALLOWED):
        fix = f"give the user permissions: rabbitmqctl set_permissions -p {vhost!r}"
    return AmqpRefused(shown, code, text, fix)
