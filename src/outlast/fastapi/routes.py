"""The routes: the state of a job, and whether this process can accept jobs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Response
from msgspec import structs
from pydantic import BaseModel, Field

from outlast.core.bounds import LAST_MOMENT
from outlast.core.calls import unawaited
from outlast.core.errors import ConfigurationError, InvalidArguments, JobNotFound
from outlast.core.message import State
from outlast.core.store.records import JobRecord
from outlast.core.toolkit_errors import ObjectDamaged, ObjectNotFound
from outlast.fastapi.health_routes import ApiLife, add_health_routes, store_answers
from outlast.fastapi.problems import STORE_RETRY, answer, response_of

if TYPE_CHECKING:
    from outlast.app import Outlast

__all__ = ["Health", "JobView", "router"]


class JobView(BaseModel):
    """A job. The fields after `finished_at` are present only when `authorize` allows them."""

    id: str
    queue: str
    state: State
    enqueued_at: datetime
    run_at: datetime = Field(description="When it is, or was last, due.")
    finished_at: datetime | None = None
    kind: str | None = None
    args: dict[str, Any] | None = Field(None, description="The arguments; marked ones are masked.")
    attempt: int | None = None
    reason: str | None = None
    waits_for: str | None = Field(None, description="The guards that hold it up, and why: 'waits for payments: ...'.")
    result: Any = None
    error: str | None = None
    progress: Any = None


class Health(BaseModel):
    """live: the process answers. ready: its parts answer too, the store first."""

    live: bool
    ready: bool


def router(shop: Outlast, authorize: Callable[..., Any] | None, life: ApiLife, *, name: str = "") -> APIRouter:
    """Return the routes. name: makes them unique when one app serves several shops."""
    routes = APIRouter(tags=[f"outlast {name}".strip()])
    allowed_by = Depends(authorize or (lambda: False))
    suffix = f"_{name}" if name else ""

    # The id of a client may contain a slash, so the parameter takes the rest of the path.
    @routes.get(
        "/jobs/{job_id:path}",
        operation_id=f"outlast_job{suffix}",
        summary="A job's state",
        response_model=JobView,
        response_model_exclude_unset=True,
        responses={
            404: response_of("No such job."),
            503: response_of("The job store cannot be reached.", retry_after=True),
        },
    )
    async def job(job_id: str, response: Response, allowed: Any = allowed_by) -> JobView:
        response.headers["Cache-Control"] = "no-store"
        if unawaited(allowed):  # it would count as true: everybody could read everything
            raise ConfigurationError(
                f"install(authorize={authorize!r}) returned a coroutine, which is not awaited: give an 'async def'"
            )
        try:
            handle = shop.handle(job_id)
        except InvalidArguments:
            raise JobNotFound(f"{job_id!r} is not a job's id") from None
        if not allowed:
            return _view(await handle.record(fetch=False))
        try:
            record = await handle.record()
        except (ObjectNotFound, ObjectDamaged) as error:  # the job is there: a 404 would tell that it is not
            kept = structs.replace(await handle.record(fetch=False), raw_result=None)
            return _view(kept, whole=True).model_copy(update={"error": f"{type(error).__name__}: {error}"})
        return _view(record, whole=True, waits_for=await _waits_for(shop, record))

    @routes.get(
        "/health",
        operation_id=f"outlast_health{suffix}",
        summary="Whether jobs can be accepted",
        response_model=Health,
        responses={503: response_of("Live, and not ready: the store does not answer.", retry_after=True)},
    )
    async def health(response: Response) -> Any:
        response.headers["Cache-Control"] = "no-store"
        if await store_answers(shop):
            return Health(live=True, ready=True)
        return answer(
            503, "not-ready", "the job store does not answer", retry_after=STORE_RETRY, live=True, ready=False
        )

    add_health_routes(routes, shop, life, allowed_by, suffix)
    return routes


async def _waits_for(shop: Outlast, record: JobRecord) -> str | None:
    """Return which guards hold the job up, and why; None if none does."""
    from outlast.admin.guards import waits_of_jobs  # an app whose jobs wait for none does not need it

    needs = shop.registry.needs() if record.queue in shop.registry.queues else None  # it may be another app's queue
    found = await waits_of_jobs((await shop.runtime()).store, [record], needs)
    return found.get(record.id)


def _view(record: JobRecord, *, whole: bool = False, waits_for: str | None = None) -> JobView:
    view: dict[str, Any] = {
        "id": record.id,
        "queue": record.queue,
        "state": record.state,
        "enqueued_at": _moment(record.enqueued_at),
        "run_at": _moment(record.run_at),
        "finished_at": None if record.finished_at is None else _moment(record.finished_at),
    }
    if whole:
        last = record.failures[-1] if record.failures else None
        view |= {
            "kind": record.kind,
            "args": record.args,
            "attempt": record.attempt,
            "reason": record.reason,
            "waits_for": waits_for,
            "result": record.result,
            "error": f"{last.type}: {last.message}" if last else None,
            "progress": record.progress,
        }
    return JobView(**view)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(min(seconds, LAST_MOMENT), UTC)
