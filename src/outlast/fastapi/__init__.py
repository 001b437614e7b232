"""Connect an Outlast app to a FastAPI app: lifespan, error responses, two routes, and a load shedder."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("fastapi") is None:
    raise ImportError("outlast.fastapi needs FastAPI: pip install 'outlast[fastapi]'")

from outlast.core.shedding import RequestClass, Shed, health_first
from outlast.fastapi.cached_routes import CachedRoute, CachedRoutes, by_credentials
from outlast.fastapi.install import install
from outlast.fastapi.problems import Problem
from outlast.fastapi.routes import Health, JobView
from outlast.fastapi.shedder import LoadShedder

__all__ = [
    "CachedRoute",
    "CachedRoutes",
    "Health",
    "JobView",
    "LoadShedder",
    "Problem",
    "RequestClass",
    "Shed",
    "by_credentials",
    "health_first",
    "install",
]
