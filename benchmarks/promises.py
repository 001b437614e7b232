"""What we hold ourselves to, judged by what was measured: a line for each promise."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from benchmarks.figures import Results, cell, number
from benchmarks.systems import SYSTEMS

__all__ = ["rabbitmq", "redis", "sqlite"]


def _line(what: str, holds: bool, figures: str) -> str:
    return f"- {what}: {'holds' if holds else '**does not hold**'} ({figures})"


def sqlite(results: Results) -> Iterator[str]:
    """Yield a line for each promise about SQLite that this run can judge."""
    ours, floor = (results.values(name, "drain", "rate") for name in ("outlast", "floor"))
    ratios = [a / b for a, b in zip(ours, floor, strict=False)]
    if ratios:
        what = "drain at least half as fast as the floor with the same retention"
        yield _line(what, median(ratios) >= 0.5, f"{cell(ratios)} over {len(ratios)} interleaved pairs")
    for measure, least, what in (("bulk", 60_000, "in bulk"), ("gather", 15_000, "from 50 coroutines")):
        rate = results.middle("outlast", measure, "rate")
        if rate is not None:
            yield _line(f"enqueue {what} at least {least:,} jobs/s", rate >= least, number(rate))
    latency = results.middle("outlast", "latency", "p99")
    if latency is not None:
        syncs = median(sample["fdatasync"]["p99"] for sample in results.rows["latency"].samples["outlast"])
        what = "latency p99 at most twice the fdatasync p99 of the same disk in the same run, and 5 ms"
        yield _line(what, latency <= 2 * syncs + 5, f"{number(latency)} ms; fdatasync p99 {number(syncs)} ms")
    few, many = (results.values("outlast", "deep", key) for key in ("few cpu", "many cpu"))
    if few and median(few):
        ratio = median(many) / median(few)
        yield _line("CPU a job with 1,000,000 waiting at most 1.1 times that with 20,000", ratio <= 1.1, number(ratio))
    idle, memory = (results.middle("outlast", "idle", key) for key in ("cpu", "rss"))
    if idle is not None and memory is not None:
        figures = f"{number(idle)}% all processes together; {number(memory)} MB the largest"
        yield _line("an idle worker: below 1% CPU, below 80 MB a process", idle < 1 and memory < 80, figures)
    start = results.middle("outlast", "import", "ms")
    if start is not None:
        yield _line("import and one declared job below 150 ms", start < 150, f"{number(start)} ms")


def redis(results: Results) -> Iterator[str]:
    """Yield a line for each promise about Redis that this run can judge."""
    yield from _ratios(
        results, "drain", "floor-redis", 0.5, "drain at least half as fast as the floor with the same retention"
    )
    yield from _ratios(results, "drain", "bullmq", 2, "drain at least twice as fast as BullMQ on Node")
    bulk = results.middle("outlast-redis", "redis bulk", "rate")
    if bulk is not None:
        yield _line("enqueue in bulk at least 60,000 jobs/s", bulk >= 60_000, number(bulk))
    yield from _enqueue(results)
    latency = results.middle("outlast-redis", "redis latency", "p99")
    if latency is not None:
        yield _line("latency p99 at 200 jobs/s at most 3 ms", latency <= 3, f"{number(latency)} ms")
    few, many = (results.values("outlast-redis", "redis deep", key) for key in ("few cpu", "many cpu"))
    if few and median(few):
        ratio = median(many) / median(few)
        what = "CPU a job, worker and server, with 1,000,000 waiting at most 1.1 times that with 20,000"
        yield _line(what, ratio <= 1.1, number(ratio))
    size = results.middle("outlast-redis", "redis memory", "bytes")
    if size is not None:
        yield _line("at most 300 bytes for a queued job", size <= 300, number(size))
    yield from _two(results)
    asked = results.middle("outlast-redis", "redis idle", "requests")
    if asked is not None:
        yield _line("an idle worker: at most 2 commands a second", asked <= 2, number(asked))


def rabbitmq(results: Results) -> Iterator[str]:
    """Yield a line for each promise about RabbitMQ that this run can judge."""
    transport, bridge = "outlast-rabbitmq", "outlast-bridge"
    what = "drain over the transport at least half as fast as the floor"
    yield from _ratios(results, "drain", "floor-rabbitmq", 0.5, what, ours=transport)
    rates = {
        each.name: results.middle(each.name, "rabbitmq drain", "rate") or 0.0
        for each in SYSTEMS
        if each.store == "rabbitmq" and each.peer
    }
    fastest = max(rates, key=lambda name: rates[name])
    title = next(each.title for each in SYSTEMS if each.name == fastest)
    what = f"drain over the transport at least 2.5 times as fast as the fastest peer, {title}"
    yield from _ratios(results, "drain", fastest, 2.5, what, ours=transport)
    what = f"drain of bridged jobs faster than the fastest peer, {title}"
    yield from _ratios(results, "drain", fastest, 1, what, ours=bridge)
    for other, most, named in (("floor-rabbitmq", 2, "the floor"), (fastest, 1 / 2.5, title)):
        mine, theirs = (results.values(name, "rabbitmq drain", "cpu") for name in (transport, other))
        ratios = [x / y for x, y in zip(mine, theirs, strict=False) if y]  # a quick run may be below the clock's tick
        if ratios:
            what = f"CPU of a job drained over the transport, worker and server, at most {most:g} times that of {named}"
            yield _line(what, median(ratios) <= most, f"{cell(ratios)} over {len(ratios)} interleaved pairs")


def _ratios(
    results: Results, measure: str, other: str, least: float, what: str, *, ours: str = "outlast-redis"
) -> Iterator[str]:
    store = next(each.store for each in SYSTEMS if each.name == ours)
    mine, theirs = (results.values(name, f"{store} {measure}", "rate") for name in (ours, other))
    ratios = [a / b for a, b in zip(mine, theirs, strict=False)]
    if ratios:
        yield _line(what, median(ratios) >= least, f"{cell(ratios)} over {len(ratios)} interleaved pairs")


def _two(results: Results) -> Iterator[str]:
    """Judge the no-op jobs if they left most of a core; else those that work."""
    for key in ("", "worked "):
        ratios, spare = (results.values("outlast-redis", "redis two", key + name) for name in ("ratio", "spare"))
        if ratios and (median(spare) >= 0.7 or key):
            jobs = "jobs of 1 ms of CPU" if key else "jobs that do nothing"
            figures = f"{cell(ratios)} with {jobs}; one left {number(median(spare))} cores unused"
            yield _line(
                "two worker processes at least 1.5 times one while a core is left", median(ratios) >= 1.5, figures
            )
            return


def _enqueue(results: Results) -> Iterator[str]:
    """Each row against the fastest Python peer in the same row."""
    python = [system for system in SYSTEMS if system.store == "redis" and system.peer and not system.node]
    for measure, times, what in (
        ("single", 1, "enqueue one by one at least as fast as the fastest Python peer"),
        ("gather", 3, "enqueue from 50 coroutines at least 3 times as fast as the fastest Python peer does"),
    ):
        ours = results.middle("outlast-redis", f"redis {measure}", "rate")
        rates = {each.title: results.middle(each.name, f"redis {measure}", "rate") or 0.0 for each in python}
        fastest = max(rates, key=lambda name: rates[name])
        if ours is not None and rates[fastest]:
            figures = f"{number(ours)}; {fastest} {number(rates[fastest])}"
            yield _line(what, ours >= times * rates[fastest], figures)
