"""Connect an Outlast app to a FastAPI app: lifespan, error responses, routes, a load shedder, rate limits."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("fastapi") is None:
    raise ImportError("outlast.fastapi needs FastAPI: pip install 'outlast[fastapi]'")

from outlast.core.shedding import RequestClass, Shed, health_first
from outlast.fastapi.cached_routes import CachedRoute, CachedRoutes, by_credentials
from outlast.fastapi.client_address import ClientAddress
from outlast.fastapi.idempotency import (
    Idempotency,
    IdempotencyKeyMissing,
    IdempotencyMiddleware,
    require_idempotency_key,
)
from outlast.fastapi.install import install
from outlast.fastapi.metrics_page import Metrics
from outlast.fastapi.problems import Problem
from outlast.fastapi.rate_limit import RateLimitMiddleware, rate_limit
from outlast.fastapi.routes import Health, JobView
from outlast.fastapi.sessions import SessionMiddleware, current_session
from outlast.fastapi.shedder import LoadShedder

__all__ = [
    "CachedRoute",
    "CachedRoutes",
    "ClientAddress",
    "Health",
    "Idempotency",
    "IdempotencyKeyMissing",
    "IdempotencyMiddleware",
    "JobView",
    "LoadShedder",
    "Metrics",
    "Problem",
    "RateLimitMiddleware",
    "RequestClass",
    "SessionMiddleware",
    "Shed",
    "by_credentials",
    "current_session",
    "health_first",
    "install",
    "rate_limit",
    "require_idempotency_key",
]
