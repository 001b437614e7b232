"""The pages of probes and autoscalers: what is asked over HTTP, and how it is answered, in JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from outlast.core.durations import seconds
from outlast.core.errors import ConfigurationError, OutlastError
from outlast.core.store.broker import QueueStats
from outlast.observe.autoscale import WITHIN, Scale, replicas_for
from outlast.observe.health.judge import is_live, is_ready, is_started
from outlast.observe.health.views import HealthAnswer, ServiceView
from outlast.observe.server import Page, PageReply, PageRequest

__all__ = ["StatsOf", "answer_of", "body_of", "health_pages", "scale_of", "scale_page"]

StatsOf = Callable[[Sequence[str]], Awaitable[Mapping[str, QueueStats]]]
"""Returns the counts of queues; raises StoreError."""

_MOST_PROCESSES: Final = 10_000
_QUESTIONS: Final[dict[str, Callable[[ServiceView], HealthAnswer]]] = {
    "live": is_live,
    "ready": is_ready,
    "started": is_started,
}


def answer_of(question: str, seen: ServiceView) -> HealthAnswer | None:
    """Return the answer to "live", "ready" or "started"; None for another word."""
    judge = _QUESTIONS.get(question)
    return None if judge is None else judge(seen)


def body_of(answer: HealthAnswer, *, verbose: bool) -> dict[str, Any]:
    """Return an answer as JSON has it. verbose: with what it depends on."""
    body: dict[str, Any] = {"ok": answer.ok, "state": answer.state, "text": answer.text}
    if verbose:
        body["checks"] = [{"name": each.name, "ok": each.ok, "text": each.text} for each in answer.checks]
    return body


def health_pages(seen: Callable[[], ServiceView]) -> dict[str, Page]:
    """Return `/livez`, `/readyz` and `/startupz`: 200 for yes, 503 for no; `?verbose` tells what it depends on."""

    def page(judge: Callable[[ServiceView], HealthAnswer]) -> Page:
        async def answer(request: PageRequest) -> PageReply:
            view = seen()
            found = judge(view)
            body = body_of(found, verbose="verbose" in request.query)
            if "verbose" in request.query:
                body["workers"] = view.workers
            return PageReply(200 if found.ok else 503, msgspec.json.encode(body))

        return answer

    return {"/livez": page(is_live), "/readyz": page(is_ready), "/startupz": page(is_started)}


def scale_page(stats: StatsOf, processes: int) -> Page:
    """Return `/autoscale?queue=mail`: how many replicas drain it. processes: worker processes of one replica."""

    async def page(request: PageRequest) -> PageReply:
        status, body = await scale_of(stats, request.query, processes)
        return PageReply(status, msgspec.json.encode(body))

    return page


async def scale_of(stats: StatsOf, query: Mapping[str, Sequence[str]], processes: int) -> tuple[int, object]:
    """Return status and body of an answer to an autoscaler: 400 and 404 name the parameter, 503 the store.

    An autoscaler keeps what it has on an error: no number is made up.
    """
    queues = [each for value in query.get("queue", ()) for each in value.split(",") if each]
    if not queues:
        return 400, {"error": "name the queue, such as /autoscale?queue=mail"}
    try:
        within = seconds(_number(query, "within", WITHIN), "within")
    except ConfigurationError as error:
        return 400, {"error": str(error)}
    number = _number(query, "processes", processes)
    of_processes = isinstance(number, int | float) and 1 <= number <= _MOST_PROCESSES
    if within <= 0 or not of_processes or number != int(number):
        return 400, {"error": "within is more than 0 seconds, processes a whole number from 1 on"}
    try:
        found = await stats(queues)
    except (OutlastError, TimeoutError, OSError):
        return 503, {"error": "the store does not answer"}
    missing = [queue for queue in queues if queue not in found]
    if missing:
        return 404, {"error": f"the store has no queue {missing[0]!r}"}
    scale: Scale = replicas_for({queue: found[queue] for queue in queues}, within=within, processes=int(number))
    return 200, msgspec.to_builtins(scale)


def _number(query: Mapping[str, Sequence[str]], name: str, default: float) -> Any:
    values = query.get(name, ())
    if not values:
        return default
    text = values[-1].strip()
    return float(text) if text.replace(".", "", 1).isdecimal() else text
