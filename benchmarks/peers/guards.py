"""The libraries for timeouts, retries, breakers and bulkheads, each as its own documentation uses it."""

from __future__ import annotations

from collections.abc import Mapping

import aiobreaker
import hyx.bulkhead
import hyx.circuitbreaker
import hyx.fallback
import hyx.retry
import hyx.timeout
import interlock
import purgatory
import pybreaker
import stamina
import tenacity

from benchmarks.guard_calls import Cases, answer, answer_plain

__all__ = ["cases"]


def cases() -> Mapping[str, Cases]:
    """Return what each library can do, by its name; in a running event loop, which hyx needs."""
    return {
        "tenacity": _tenacity(),
        "stamina": _stamina(),
        "purgatory": Cases(awaited={"breaker": purgatory.AsyncCircuitBreakerFactory()("payments")(answer)}),
        "aiobreaker": _aiobreaker(),
        "pybreaker": _pybreaker(),
        "interlock-cb": _interlock(),
        "hyx": _hyx(),
    }


def _tenacity() -> Cases:
    again = tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_random_exponential())
    return Cases(awaited={"retry": again(answer)}, plain={"retry": again(answer_plain)})


def _stamina() -> Cases:
    again = stamina.retry(on=Exception, attempts=3)
    return Cases(awaited={"retry": again(answer)}, plain={"retry": again(answer_plain)})


def _aiobreaker() -> Cases:
    breaker = aiobreaker.CircuitBreaker()
    return Cases(
        awaited={"breaker": lambda n: breaker.call_async(answer, n)},
        plain={"breaker": lambda n: breaker.call(answer_plain, n)},
    )


def _pybreaker() -> Cases:
    breaker = pybreaker.CircuitBreaker()  # its call_async raises NameError without tornado
    return Cases(plain={"breaker": lambda n: breaker.call(answer_plain, n)})


def _interlock() -> Cases:
    def breaker() -> interlock.CircuitBreaker:
        return interlock.CircuitBreaker(name="payments")

    def built(part: interlock.PipelineBuilder) -> interlock.Pipeline:
        return part.build()

    new = interlock.Pipeline.builder
    alone = breaker()
    no_timeout = new().fallback(lambda error: 0).retry(attempts=3).circuit_breaker(breaker()).bulkhead(20)
    everything = new().fallback(lambda error: 0).retry(attempts=3).circuit_breaker(breaker()).bulkhead(20).timeout(2)
    return Cases(
        awaited={
            "timeout": built(new().timeout(2))(answer),
            "retry": built(new().retry(attempts=3))(answer),
            "breaker": alone(answer),
            "bulkhead": built(new().bulkhead(20))(answer),
            "fallback": built(new().fallback(lambda error: 0))(answer),
            "all but the timeout": built(no_timeout)(answer),
            "all": built(everything)(answer),
        },
        plain={"retry": built(new().retry(attempts=3))(answer_plain), "breaker": alone(answer_plain)},
    )


def _hyx() -> Cases:
    async def instead(*_: object) -> int:
        return 0

    limit, again = hyx.timeout.timeout(2), hyx.retry.retry(attempts=3)
    breaker, places = hyx.circuitbreaker.consecutive_breaker, hyx.bulkhead.bulkhead
    fallback = hyx.fallback.fallback(instead)
    return Cases(
        awaited={
            "timeout": limit(answer),
            "retry": again(answer),
            "breaker": breaker()(answer),
            "bulkhead": places(20, 120)(answer),
            "fallback": fallback(answer),
            "all but the timeout": fallback(again(places(20, 120)(breaker()(answer)))),
            "all": fallback(again(places(20, 120)(breaker()(limit(answer))))),
        }
    )
