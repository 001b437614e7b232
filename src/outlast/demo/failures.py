"""Why systems fail in production, each failure made and then survived: `python -m outlast.demo.failures [NAME]`."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

from outlast import Breaker, Bulkhead, Constant, Guard, GuardOpened, Outlast, QueueFull, Retry, Settings
from outlast.core.exitcodes import CLEAN, CONFIG, FAILED

__all__ = ["FAILURES", "Failure", "main"]

SLOTS: Final = 20
"""The requests that the API of these examples serves at once."""
HANG: Final = 30.0
PATIENCE: Final = 1.5
"""Seconds that a client waits for its page."""


class Provider:
    """A dependency that counts the calls it gets. mode: "works", "down", "slow" or "hangs". flaky: share that fails."""

    def __init__(self, mode: str = "works", *, flaky: float = 0.0) -> None:
        self.mode = mode
        self.calls = 0
        self._flaky = flaky
        self._rng = Random(7)  # noqa: S311 - the same failures in each run

    async def charge(self) -> str:
        """Answer as the mode says."""
        self.calls += 1
        if self.mode == "hangs":
            await asyncio.sleep(HANG)
        if self.mode == "slow":
            await asyncio.sleep(PATIENCE)
        if self.mode == "down" or self._rng.random() < self._flaky:
            raise ConnectionError("connection refused")
        return "charged"


Call = Callable[[], Awaitable[object]]
Result = tuple[str, str, bool]
"""What happens without and with the policy, and whether it is survived."""


async def _succeeded(call: Call, times: int) -> int:
    """Return how many of so many calls succeed, one after the other."""
    done = 0
    for _ in range(times):
        try:
            await call()
            done += 1
        except Exception:  # noqa: S112 - an error is what these examples count
            continue
    return done


async def _pages_served(charge: Call) -> int:
    """Return how many of 20 pages an API serves in time that do not need the provider, beside 40 orders that do."""
    slots = asyncio.Semaphore(SLOTS)

    async def order() -> None:
        async with slots:
            await charge()

    async def page() -> str:
        async with slots:
            return "page"

    orders = [asyncio.create_task(order()) for _ in range(2 * SLOTS)]
    await asyncio.sleep(0)
    pages = [asyncio.create_task(page()) for _ in range(SLOTS)]
    done, _ = await asyncio.wait(pages, timeout=PATIENCE)
    for task in (*orders, *pages):
        task.cancel()
    await asyncio.gather(*orders, *pages, return_exceptions=True)
    return len(done)


async def no_timeout() -> Result:
    """A call that never returns keeps the slot that it has, and soon no slot is free."""
    provider = Provider("hangs")
    guard = Guard("payments", timeout=0.1, breaker=Breaker())
    without = await _pages_served(provider.charge)
    survived = await _pages_served(lambda: guard.call(provider.charge))
    return (
        f"the provider hangs, and {without} of {SLOTS} pages that do not need it are served",
        f"timeout=0.1: {survived} of {SLOTS} are served",
        without == 0 and survived == SLOTS,
    )


async def no_retries() -> Result:
    """An error that is over a moment later fails the caller."""
    alone, repeated = Provider(flaky=0.2), Provider(flaky=0.2)
    guard = Guard("payments", retry=Retry(attempts=4, backoff=Constant(0)), budget=0.5)
    without = await _succeeded(alone.charge, 200)
    survived = await _succeeded(lambda: guard.call(repeated.charge), 200)
    return (
        f"a fifth of the calls fails: {without} of 200 orders are charged",
        f"retry=4, budget=0.5: {survived} of 200 are, with {repeated.calls} calls",
        without < 180 and survived >= 198,
    )


async def retry_storm() -> Result:
    """Each client repeats its calls to what is down, and multiplies the load that keeps it down."""
    stormed, spared = Provider("down"), Provider("down")
    three = Retry(attempts=3, backoff=Constant(0))
    storm = Guard("payments", retry=three, budget=None)
    budgeted = Guard("payments", retry=three)
    await _succeeded(lambda: storm.call(stormed.charge), 500)
    await _succeeded(lambda: budgeted.call(spared.charge), 500)
    return (
        f"500 orders make {stormed.calls:,} calls to a provider that is down",
        f"the budget of the guard: {spared.calls:,} calls",
        stormed.calls == 1500 and spared.calls <= 510,
    )


async def no_breaker() -> Result:
    """Every call to what is down is made, and waits for its error."""
    tried, spared = Provider("down"), Provider("down")
    guard = Guard("payments", breaker=Breaker(open_for=60))
    await _succeeded(tried.charge, 1000)
    await _succeeded(lambda: guard.call(spared.charge), 1000)
    return (
        f"1,000 orders make {tried.calls:,} calls to a provider that is down",
        f"breaker=True: {spared.calls} calls; the others are refused at once",
        tried.calls == 1000 and spared.calls == 10,
    )


class _Pause:
    """A breaker as many are written: after a pause every caller may try again."""

    def __init__(self, pause: float) -> None:
        self._pause, self._until = pause, 0.0

    async def call(self, call: Call) -> object:
        """Make the call unless the pause lasts."""
        if time.monotonic() < self._until:
            raise ConnectionError("open")
        try:
            return await call()
        except ConnectionError:
            self._until = time.monotonic() + self._pause
            raise


async def stampede() -> Result:
    """A breaker whose pause is over lets every caller through at once: the provider that comes up falls again."""

    async def probes(call: Callable[[Call], Awaitable[object]]) -> int:
        provider = Provider("down")
        await _succeeded(lambda: call(provider.charge), 10)
        await asyncio.sleep(0.25)
        provider.mode, provider.calls = "slow", 0
        await asyncio.gather(*(call(provider.charge) for _ in range(50)), return_exceptions=True)
        return provider.calls

    guard = Guard("payments", breaker=Breaker(open_for=0.2))
    without = await probes(_Pause(0.2).call)
    survived = await probes(guard.call)
    return (
        f"after the pause 50 callers make {without} calls to a provider that comes up",
        f"breaker=True: {survived} call, the probe",
        without == 50 and survived == 1,
    )


async def no_bulkhead() -> Result:
    """What is slow takes all slots, and what is fast waits for them."""
    provider = Provider("slow")
    guard = Guard("reports", bulkhead=Bulkhead(5, max_wait=0))
    without = await _pages_served(lambda: _twice(provider.charge))
    survived = await _pages_served(lambda: guard.call(_twice, provider.charge))
    return (
        f"slow reports hold all slots, and {without} of {SLOTS} other pages are served in time",
        f"Bulkhead(5, max_wait=0): {survived} of {SLOTS} are; 5 reports are made, the others refused at once",
        without == 0 and survived == SLOTS,
    )


async def _twice(call: Call) -> None:
    await call()
    await call()


async def no_backpressure() -> Result:
    """A queue without a bound takes all work, and does it when its caller has long gone."""

    async def accepted(max_depth: int | None) -> tuple[int, float]:
        """Return how many of 1,000 jobs are accepted, and the wait that the first refused client is told."""
        shop, retry_after = Outlast("shop", settings=Settings(url="memory:")), 0.0
        shop.queue("mail", max_depth=max_depth)

        @shop.job(queue="mail")
        async def send(n: int) -> None: ...

        number = 0
        with shop.testing():
            for n in range(1000):
                try:
                    await send.enqueue(n)
                    number += 1
                except QueueFull as full:
                    retry_after = retry_after or full.retry_after
        return number, retry_after

    without, _ = await accepted(None)
    survived, after = await accepted(100)
    return (
        f"{without:,} of 1,000 jobs are accepted by a worker that does one a second: the last is 17 minutes late",
        f"max_depth=100: {survived} are; the others learn at once to come back after {after:.0f} s",
        without == 1000 and survived == 100 and after >= 1,
    )


async def no_monitoring() -> Result:
    """The code handles the error, the page is shown, and it stays unknown for days that no order is charged."""
    provider, told = Provider("down"), list[GuardOpened]()
    shop = Outlast("shop", settings=Settings(url="memory:"))
    shop.observe(GuardOpened)(told.append)
    guard = shop.guard("payments", breaker=True)
    quiet = 1000 - await _succeeded(provider.charge, 1000)
    failed = 0
    while not told:
        failed += 1 - await _succeeded(lambda: guard.call(provider.charge), 1)
    return (
        f"{quiet:,} orders fail, and an 'except' hides each of them",
        f"a guard tells after {failed} ({told[0].why}): in the log, to observers, in 'outlast guards'",
        failed == 10,
    )


Failure = Callable[[], Awaitable[Result]]
FAILURES: Final[dict[str, Failure]] = {
    "no-timeout": no_timeout,
    "no-retries": no_retries,
    "retry-storm": retry_storm,
    "no-breaker": no_breaker,
    "stampede": stampede,
    "no-bulkhead": no_bulkhead,
    "no-backpressure": no_backpressure,
    "no-monitoring": no_monitoring,
}
"""Each failure by the name with which it is run."""


def main(names: list[str]) -> int:
    """Make these failures, all without a name; return the exit code: 0 if each is made and survived."""
    unknown = [name for name in names if name not in FAILURES]
    if unknown:
        _say(f"no failure {unknown[0]!r}: give {', '.join(FAILURES)}, or none for all")
        return CONFIG
    logging.getLogger("outlast").addHandler(logging.NullHandler())
    survived = [asyncio.run(_show(name)) for name in names or FAILURES]
    return CLEAN if all(survived) else FAILED


async def _show(name: str) -> bool:
    failure: Any = FAILURES[name]
    without, with_, survived = await failure()
    _say(f"{name}: {failure.__doc__}\n  without  {without}\n  with     {with_}")
    return bool(survived)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
