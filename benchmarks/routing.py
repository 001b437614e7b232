"""What it costs to find the queues of an event: `python -m benchmarks.routing`.

Prints a table: for 1 to 10,000 bindings of each type the microseconds that the router takes, and those of a loop that
asks each binding in turn, with a compiled regular expression for a pattern. The median of several turns; each event
finds about as many queues at each number of bindings.
"""

from __future__ import annotations

import random
import re
import statistics
import time
from collections.abc import Callable, Sequence

from outlast.core.exchanges.header_pairs import equal
from outlast.core.exchanges.router import Router
from outlast.core.exchanges.values import Binding, Exchange, ExchangeType

__all__ = ["cost", "made", "naive"]

TYPES: Sequence[ExchangeType] = ("direct", "topic", "headers", "fanout")
SIZES = (1, 100, 1_000, 10_000)
EVENTS = 200
TURNS = 7
FACTS = ("paid", "sent", "returned", "cancelled")

_Event = tuple[str, dict[str, str]]


def made(type_: ExchangeType, count: int, rng: random.Random) -> tuple[list[Binding], list[_Event]]:
    """Return so many bindings, of a queue each, as a shop with many regions has them, and events for them."""
    bindings = []
    for number in range(count):
        region, fact = f"region{number // len(FACTS)}", FACTS[number % len(FACTS)]
        patterns = (f"order.{region}.{fact}", f"order.{region}.*", f"order.#.{region}.{fact}", f"*.{region}.{fact}")
        key = {"direct": patterns[0], "topic": patterns[number % 4]}.get(type_, "")
        arguments = {"kind": "order", "region": region, "fact": fact} if type_ == "headers" else {}
        queue = f"queue{number}"
        bindings.append(Binding(exchange="x", queue=queue, kind="k", parameter="event", key=key, arguments=arguments))
    regions = [f"region{rng.randrange(-(-count // len(FACTS)))}" for _ in range(EVENTS)]
    facts = [rng.choice(FACTS) for _ in range(EVENTS)]
    return bindings, [
        (f"order.{region}.{fact}", {"kind": "order", "region": region, "fact": fact, "trace": f"{number}"})
        for number, (region, fact) in enumerate(zip(regions, facts, strict=True))
    ]


def naive(type_: ExchangeType, bindings: Sequence[Binding]) -> Callable[[_Event], list[str]]:
    """Return a function that asks each binding in turn: the queues of an event."""
    parts = {"*": r"[^.]*", "#": r".*"}
    patterns = [
        (re.compile(r"\.".join(parts.get(word, re.escape(word)) for word in each.key.split("."))), each)
        for each in bindings
    ]

    def fits(pattern: re.Pattern[str], binding: Binding, event: _Event) -> bool:
        key, headers = event
        if type_ == "topic":
            return pattern.fullmatch(key) is not None
        if type_ == "headers":
            return all(name in headers and equal(wanted, headers[name]) for name, wanted in binding.arguments.items())
        return type_ == "fanout" or binding.key == key

    return lambda event: sorted({each.queue for pattern, each in patterns if fits(pattern, each, event)})


def cost(call: Callable[[_Event], object], events: Sequence[_Event]) -> float:
    """Return the microseconds of a call, the median of TURNS turns over all events."""
    turns = []
    for _ in range(TURNS):
        begun = time.process_time()
        for event in events:
            call(event)
        turns.append((time.process_time() - begun) / len(events) * 1e6)
    return statistics.median(turns)


def main() -> None:
    """Print the table."""
    print("| type | bindings | queues of an event | router, µs | loop, µs | compiled in, ms |")
    print("|---|---|---|---|---|---|")
    for type_ in TYPES:
        for count in SIZES:
            bindings, events = made(type_, count, random.Random(1))
            begun = time.process_time()
            router = Router([Exchange(name="x", type=type_)], bindings)
            compiled = (time.process_time() - begun) * 1e3
            queues = statistics.mean(len(router.route("x", *event)) for event in events)
            ours = cost(lambda event, route=router.route: route("x", *event), events)  # type: ignore[misc]
            loop = cost(naive(type_, bindings), events[: max(5, EVENTS * 100 // max(count, 100))])
            print(f"| {type_} | {count:,} | {queues:.1f} | {ours:.1f} | {loop:,.1f} | {compiled:.1f} |", flush=True)


if __name__ == "__main__":
    main()
