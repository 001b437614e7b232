"""Connect an Outlast app to a FastAPI app: lifespan, error responses, and two routes."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("fastapi") is None:
    raise ImportError("outlast.fastapi needs FastAPI: pip install 'outlast[fastapi]'")

from outlast.fastapi.install import install
from outlast.fastapi.problems import Problem
from outlast.fastapi.routes import Health, JobView

__all__ = ["Health", "JobView", "Problem", "install"]
