"""One turn of the guards' benchmark, in a process of its own: `python -m benchmarks.guard_calls CALLS [peers]`.

Prints the microseconds of processor time that each policy of each library adds to a call that does nothing and fails
never. Processor time, as other work on the machine would be part of any other.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

from outlast import Breaker, Bulkhead, Fallback, Guard, Retry

__all__ = ["Cases", "answer", "answer_plain"]

REPEATS = 7
"""The lowest of so many is kept: what the processor's caches lose to other work is not the library's."""


@dataclass(frozen=True)
class Cases:
    """The calls of one library, by policy. awaited: of an `async def`; plain: of a plain function in its thread."""

    awaited: Mapping[str, Callable[[int], Awaitable[object]]] = field(default_factory=dict)
    plain: Mapping[str, Callable[[int], object]] = field(default_factory=dict)


async def answer(number: int) -> int:
    """Return at once: what is measured is around it."""
    return number


def answer_plain(number: int) -> int:
    """Return at once, too."""
    return number


async def _limited(number: int) -> int:
    async with asyncio.timeout(2):
        return await answer(number)


def _ours() -> Cases:
    no_timeout = {"retry": Retry(attempts=3), "breaker": Breaker(), "bulkhead": Bulkhead(20), "fallback": Fallback(0)}
    guards = {
        "timeout": Guard("timeout", timeout=2),
        "retry": Guard("retry", retry=Retry(attempts=3)),
        "breaker": Guard("breaker", breaker=Breaker()),
        "bulkhead": Guard("bulkhead", bulkhead=Bulkhead(20)),
        "fallback": Guard("fallback", fallback=Fallback(0)),
        "all but the timeout": Guard("most", **no_timeout),  # type: ignore[arg-type]
        "all": Guard("all", timeout=2, **no_timeout),  # type: ignore[arg-type]
    }
    return Cases(
        awaited={name: _call_of(guard) for name, guard in guards.items()},
        plain={name: _plain_call_of(guards[name]) for name in ("retry", "breaker", "all but the timeout")},
    )


def _call_of(guard: Guard) -> Callable[[int], Awaitable[object]]:
    call = guard.call
    return lambda number: call(answer, number)


def _plain_call_of(guard: Guard) -> Callable[[int], object]:
    call = guard.call_sync
    return lambda number: call(answer_plain, number)


async def _time(call: Callable[[int], Awaitable[object]], calls: int) -> float:
    begin = time.thread_time_ns()
    for number in range(calls):
        await call(number)
    return (time.thread_time_ns() - begin) / calls / 1000


def _time_plain(call: Callable[[int], object], calls: int) -> float:
    begin = time.thread_time_ns()
    for number in range(calls):
        call(number)
    return (time.thread_time_ns() - begin) / calls / 1000


def _all_cases(libraries: Mapping[str, Cases]) -> Iterator[tuple[str, str, Callable[[int], Awaitable[object]] | None]]:
    for library, cases in libraries.items():
        yield from ((library, policy, call) for policy, call in cases.awaited.items())
        yield from ((library, f"plain {policy}", None) for policy in cases.plain)


async def measured(libraries: Mapping[str, Cases], calls: int) -> dict[str, dict[str, float]]:
    """Return the microseconds that each policy adds, by library; of "bare" those of the call itself.

    The cases take turns, so that all meet alike what the machine does meanwhile.
    """
    found: dict[tuple[str, str], float] = {}
    for repeat in range(REPEATS + 1):
        for library, policy, call in _all_cases(libraries):
            plain = libraries[library].plain
            taken = _time_plain(plain[policy[6:]], calls) if call is None else await _time(call, calls)
            if repeat:  # the first is to warm up
                found[library, policy] = min(taken, found.get((library, policy), taken))
    bare = {"plain ": found["bare", "plain call"], "": found["bare", "call"]}
    result: dict[str, dict[str, float]] = {}
    for (library, policy), taken in found.items():
        less = 0.0 if library == "bare" else bare["plain " if policy.startswith("plain ") else ""]
        result.setdefault(library, {})[policy] = taken - less
    return result


async def _turn(calls: int, *, with_peers: bool) -> dict[str, dict[str, float]]:
    libraries = {
        "bare": Cases(awaited={"call": answer}, plain={"call": answer_plain}),
        "asyncio": Cases(awaited={"timeout": _limited}),
        "outlast": _ours(),
    }
    if with_peers:
        from benchmarks.peers import guards  # they are only in the environment of this benchmark

        libraries.update(guards.cases())
    return await measured(libraries, calls)


def main() -> None:
    """Measure one turn and print it."""
    figures = asyncio.run(_turn(int(sys.argv[1]), with_peers=sys.argv[2:] == ["peers"]))
    print("RESULT", json.dumps(figures))


if __name__ == "__main__":
    main()
