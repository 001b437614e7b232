"""The routes of probes and autoscalers in an API process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from outlast.core.calls import unawaited
from outlast.core.errors import OutlastError
from outlast.core.store.broker import QueueStats
from outlast.fastapi.problems import answer
from outlast.observe.health.pages import body_of, scale_of
from outlast.observe.health.views import Check, HealthAnswer
from outlast.resilience.guard import Guard

if TYPE_CHECKING:
    from outlast.app import Outlast

__all__ = ["HEALTH_TIMEOUT", "ApiLife", "add_health_routes", "store_answers"]

HEALTH_TIMEOUT: Final = 2.0
"""Seconds in which all parts must answer."""


class ApiLife:
    """Whether an API process is on its way out: set when the lifespan ends, while open connections are still served."""

    def __init__(self) -> None:
        self.draining = False


async def store_answers(shop: Outlast) -> bool:
    """Return whether all parts of the app answer in time, the store first."""
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT):
            await shop.parts.check()
    except (OutlastError, TimeoutError, OSError):
        return False
    return True


def add_health_routes(routes: APIRouter, shop: Outlast, life: ApiLife, allowed_by: Any, suffix: str) -> None:
    """Add `/livez`, `/readyz`, `/startupz`, which tell nothing that a stranger may not know, and `/autoscale`.

    allowed_by: the dependency that allows `/autoscale`. suffix: of the operations, when an app has several shops.
    """

    def answered(found: HealthAnswer, verbose: bool) -> Response:
        status = 200 if found.ok else 503
        return JSONResponse(body_of(found, verbose=verbose), status, {"Cache-Control": "no-store"})

    @routes.get("/livez", operation_id=f"outlast_livez{suffix}", summary="Whether to leave this process alone")
    async def livez(request: Request) -> Response:
        state = "draining" if life.draining else "live"
        return answered(HealthAnswer(True, state, "it answers"), "verbose" in request.query_params)

    @routes.get("/startupz", operation_id=f"outlast_startupz{suffix}", summary="Whether its start is over")
    async def startupz(request: Request) -> Response:
        # The server sends no request before the lifespan of the app has begun.
        return answered(HealthAnswer(True, "started", "it answers"), "verbose" in request.query_params)

    @routes.get("/readyz", operation_id=f"outlast_readyz{suffix}", summary="Whether jobs can be accepted")
    async def readyz(request: Request) -> Response:
        checks = (await _broker(shop), _guards(shop))
        if life.draining:
            found = HealthAnswer(False, "draining", "it drains", checks)
        elif not checks[0].ok:
            found = HealthAnswer(False, "unready", checks[0].text, checks)
        else:
            found = HealthAnswer(True, "ready", "jobs can be accepted", checks)
        return answered(found, "verbose" in request.query_params)

    @routes.get("/autoscale", operation_id=f"outlast_autoscale{suffix}", summary="Replicas that drain a queue in time")
    async def autoscale(request: Request, allowed: Any = allowed_by) -> Response:
        if unawaited(allowed) or not allowed:
            return answer(403, "forbidden", "the numbers of jobs are for clients that install(authorize=...) allows")

        async def stats(queues: Sequence[str]) -> Mapping[str, QueueStats]:
            async with asyncio.timeout(HEALTH_TIMEOUT):
                return await (await shop.runtime()).store.broker.stats(queues)

        query: dict[str, Any] = {name: request.query_params.getlist(name) for name in request.query_params}
        status, body = await scale_of(stats, query, 1)
        return JSONResponse(body, status, {"Cache-Control": "no-store"})


async def _broker(shop: Outlast) -> Check:
    ok = await store_answers(shop)
    return Check("broker", ok, "it answers" if ok else "the job store does not answer")


def _guards(shop: Outlast) -> Check:
    """Return how many guards of the app are open in this process: told, and no reason to send no request."""
    own = [each for each in shop.registry.guards.values() if isinstance(each, Guard)]
    shut = [each for each in own if each.breaker is not None and not each.keyed and each.view().state != "closed"]
    return Check("guards", not shut, f"{len(shut)} of {len(own)} open", counts=False)
