"""The parts of pika that this client uses, with types: pika has none that a type checker finds."""

from __future__ import annotations

from typing import Protocol

__all__ = ["AmqpMethod", "CloseMethod", "ConsumeReply", "CountReply", "DeclareReply"]


class AmqpMethod(Protocol):
    """A method of AMQP, to be sent or received."""

    NAME: str
    INDEX: int

    def encode(self) -> list[bytes]:
        """Return its fields as bytes."""
        ...


class CloseMethod(AmqpMethod, Protocol):
    """The end of a channel or a connection."""

    reply_code: int
    reply_text: str


class DeclareReply(AmqpMethod, Protocol):
    """The answer to queue.declare."""

    queue: str
    message_count: int
    consumer_count: int


class CountReply(AmqpMethod, Protocol):
    """The answer to queue.purge and queue.delete."""

    message_count: int


class ConsumeReply(AmqpMethod, Protocol):
    """The answer to basic.consume and basic.cancel."""

    consumer_tag: str
