"""Random bindings and events against a real RabbitMQ: `python -m tests.faults.proofs.routing --cases 5000 --seed 1`.

A case is one event with a random key and random headers, published to an exchange with a random set of bindings. The
server gives copies to its queues; the router must name exactly those queues, and explain each binding alike. The types
and alphabets are small, so that matches are frequent: empty words, words beyond ASCII and of 60 letters, `*` and `#` in
patterns and in keys; header values of each type, with numbers that are equal and nearly equal.
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pika

from outlast.core.exchanges.router import Router
from outlast.core.exchanges.values import Binding, Exchange, ExchangeType, HeaderValue
from tests.support.origin import origin
from tests.support.servers.rabbitmq_server import RabbitServer, shared_rabbit

__all__ = ["Verdict", "compare"]

QUEUES: Final = tuple(f"queue-{n}" for n in range(12))
EACH: Final = 20
"""Events for one set of bindings."""
WORDS: Final = ("", "a", "a", "b", "b", "c", "größe", "w" * 60)
SIGNS: Final = ("*", "*", "#", "#")
NAMES: Final = ("a", "b", "c", "aa", "A", "größe", "x-a", "x-b", "x-", "X-a", "xa")
VALUES: Final[tuple[HeaderValue, ...]] = (
    *("", "a", "1", "true", "undefined", "größe", 0, 1, 1, 2, -1, True, True, False, None, None, 0.0, -0.0, 1.0, 1.5),
    *(2**53, 2**53 + 1, float(2**53), 2**63 - 1, -(2**63), float(2**63), 1e300),
)

MATCHES: Final = ("all", "any", "all-with-x", "any-with-x")
SENTINEL: Final = b"end"
PATIENCE: Final = 60.0


@dataclass(frozen=True)
class _Event:
    key: str
    headers: Mapping[str, HeaderValue]


@dataclass
class Verdict:
    """What came of the events of one type. copies: that the server made; unroutable: events without a copy.

    repeated: bindings that match and whose queue had its copy by another. differences: in words, with the case.
    """

    type: ExchangeType
    events: int = 0
    sets: int = 0
    compared: int = 0
    copies: int = 0
    repeated: int = 0
    unroutable: int = 0
    differences: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.type}: {self.events:,} events through {self.sets:,} sets of bindings, {self.compared:,} pairs of "
            f"event and binding: {self.copies:,} copies, {self.repeated:,} bindings more that match, "
            f"{self.unroutable:,} events unroutable; {len(self.differences)} differences"
        )


def compare(server: RabbitServer, type_: ExchangeType, *, cases: int, seed: int) -> Verdict:
    """Publish so many random events to exchanges of this type; compare the router with what the server did."""
    rng, verdict = random.Random(f"{type_} {seed}"), Verdict(type_)
    with server.vhost() as vhost, _Drain(server, vhost) as drain:
        while verdict.events < cases:
            exchange = Exchange(name=f"exchange-{verdict.sets}", type=type_)
            bindings = [_binding(rng, exchange) for _ in range(rng.randint(0, 40))]
            events = [_event(rng) for _ in range(min(EACH, cases - verdict.events))]
            drain.declare(exchange, bindings)
            _judge(verdict, Router([exchange], bindings), exchange, events, drain.publish(exchange, events))
    return verdict


def _judge(
    verdict: Verdict, router: Router, exchange: Exchange, events: Sequence[_Event], copies: Sequence[Counter[str]]
) -> None:
    verdict.sets += 1
    for event, by_server in zip(events, copies, strict=True):
        routed = router.route(exchange.name, event.key, event.headers)
        explained = router.explain(exchange.name, event.key, event.headers)
        verdict.events += 1
        verdict.compared += len(explained)
        verdict.copies += by_server.total()
        verdict.repeated += sum(each.repeated for each in explained)
        verdict.unroutable += not by_server
        ours = [each.queue for each in routed]
        if Counter(ours) != by_server or ours != sorted(ours):
            verdict.differences.append(f"{event}: {ours}, the server {dict(by_server)}")
        if [each.binding for each in explained if each.matches and not each.repeated] != list(routed):
            verdict.differences.append(f"{event}: {ours}, explained as {explained}")


def _binding(rng: random.Random, exchange: Exchange) -> Binding:
    queue = rng.choice(QUEUES)
    if exchange.type == "headers":
        arguments = _pairs(rng, 3)
        if how := rng.choice((None, *MATCHES)):
            arguments["x-match"] = how
        return Binding(exchange=exchange.name, queue=queue, kind="k", parameter="event", arguments=arguments)
    alphabet = WORDS + SIGNS if exchange.type == "topic" else WORDS[:4] + SIGNS[-1:]
    return Binding(
        exchange=exchange.name, queue=queue, kind="k", parameter="event", key=_text(rng, alphabet, most=3, rare=5)
    )


def _event(rng: random.Random) -> _Event:
    headers = _pairs(rng, 6)
    if rng.random() < 0.05:
        headers["x-match"] = rng.choice(MATCHES)
    return _Event(_text(rng, WORDS + WORDS + SIGNS[-2:], most=4, rare=60), headers)


def _text(rng: random.Random, alphabet: Sequence[str], *, most: int, rare: int) -> str:
    """Return words of the alphabet, at most `most` of them, seldom `rare`, that fit into 255 bytes."""
    count = rng.randint(0, rare) if rng.random() < 0.05 else rng.randint(0, most)
    text = ".".join(rng.choice(alphabet) for _ in range(count))
    while len(text.encode()) > 255:
        text = text[: len(text) // 2]
    return text


def _pairs(rng: random.Random, most: int) -> dict[str, HeaderValue]:
    return {rng.choice(NAMES): rng.choice(VALUES) for _ in range(rng.randint(0, most))}


class _Drain:
    """Publishes events on one connection and takes their copies out of all queues."""

    def __init__(self, server: RabbitServer, vhost: str) -> None:
        self._server, self._vhost = server, vhost
        self._copies: list[Counter[str]] = []
        self._ended: set[str] = set()

    def __enter__(self) -> _Drain:
        self._connection = pika.BlockingConnection(pika.URLParameters(self._server.url_of(self._vhost)))
        self._channel = self._connection.channel()
        for queue in QUEUES:
            self._channel.queue_declare(queue)
            self._channel.basic_consume(queue, self._taker(queue), auto_ack=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def declare(self, exchange: Exchange, bindings: Iterable[Binding]) -> None:
        """Declare the exchange with its bindings, which the server does not answer: the channel keeps the order."""
        self._channel.exchange_declare(exchange.name, exchange.type)
        for each in bindings:
            self._channel._impl._send_method(_Bind(each))

    def publish(self, exchange: Exchange, events: Sequence[_Event]) -> list[Counter[str]]:
        """Publish them; return for each the number of copies in each queue that has any. The exchange is gone then."""
        self._copies, self._ended = [Counter() for _ in events], set()
        for number, event in enumerate(events):
            self._channel.basic_publish(exchange.name, event.key, str(number).encode(), _Headers(event.headers))
        for queue in QUEUES:
            self._channel.basic_publish("", queue, SENTINEL)  # behind all copies: one channel keeps the order
        deadline = time.monotonic() + PATIENCE
        while len(self._ended) < len(QUEUES):
            self._connection.process_data_events(time_limit=1)
            if time.monotonic() > deadline:
                raise TimeoutError(f"queues without an end: {sorted(set(QUEUES) - self._ended)}")
        self._channel.exchange_delete(exchange.name)
        return self._copies

    def _taker(self, queue: str) -> Any:
        def take(_channel: object, _method: object, _properties: object, body: bytes) -> None:
            if body == SENTINEL:
                self._ended.add(queue)
            else:
                self._copies[int(body)][queue] += 1

        return take


class _Headers(pika.BasicProperties):  # type: ignore[misc]  # pika has no types
    """Properties with nothing but headers, in an encoding of our own: pika cannot send a float."""

    def __init__(self, headers: Mapping[str, HeaderValue]) -> None:
        super().__init__()
        self._table = _table(headers)

    def encode(self) -> list[bytes]:
        """Return the flags and the table."""
        return [struct.pack(">H", pika.BasicProperties.FLAG_HEADERS), self._table]


class _Bind(pika.spec.Queue.Bind):  # type: ignore[misc]  # pika has no types
    """`queue.bind` that wants no answer, with the arguments in an encoding of our own."""

    def __init__(self, binding: Binding) -> None:
        super().__init__(queue=binding.queue, exchange=binding.exchange, routing_key=binding.key, nowait=True)
        self._table = _table(binding.arguments)

    def encode(self) -> list[bytes]:
        """Return the fields up to the arguments, which pika writes as an empty table, and the arguments."""
        *pieces, empty = super().encode()
        assert empty == bytes(4)
        return [*pieces, self._table]


def _table(headers: Mapping[str, HeaderValue]) -> bytes:
    """Return a table as AMQP 0-9-1 has it (4.2.5.5), with the types of fields of RabbitMQ's errata."""
    fields = b"".join(_field(name, value) for name, value in headers.items())
    return struct.pack(">I", len(fields)) + fields


def _field(name: str, value: HeaderValue) -> bytes:
    """Return one field of a table."""
    encoded = name.encode()
    begin = bytes([len(encoded)]) + encoded
    match value:
        case None:
            return begin + b"V"
        case bool():
            return begin + struct.pack(">cB", b"t", value)
        case int():
            return begin + struct.pack(">cq", b"l", value)
        case float():
            return begin + struct.pack(">cd", b"d", value)
        case str():
            text = value.encode()
            return begin + struct.pack(">cI", b"S", len(text)) + text


def main(cases: int, seed: int) -> int:
    """Run it for each type; return the exit code: 0 when nothing differs."""
    server, faults = shared_rabbit(), 0
    types: tuple[ExchangeType, ...] = ("topic", "headers", "direct", "fanout")
    for type_ in types:
        begun = time.monotonic()
        verdict = compare(server, type_, cases=cases if type_ in types[:2] else cases // 10, seed=seed)
        faults += len(verdict.differences)
        print(f"{verdict} ({time.monotonic() - begun:.0f} s)", flush=True)
        for each in verdict.differences[:10]:
            print(f"  {each}", flush=True)
    return int(faults > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(origin(options.seed), flush=True)
    sys.exit(main(options.cases, options.seed))
