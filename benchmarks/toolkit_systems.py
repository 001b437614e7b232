"""The libraries that `--only toolkit` measures, each in an environment of its own, and what each of them has."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OURS", "PIECES", "TOOLKITS", "ToolkitSystem"]

PIECES = ("cache", "limiter", "lock", "session")
OURS = "outlast"
_REDIS = "redis[hiredis]==8.1.0"


@dataclass(frozen=True)
class ToolkitSystem:
    """A library. pieces: what it is measured for. packages: without Starlette, which is ours where `web` is set.

    measures_stampede: it is a cache, and 4 processes miss one key at once.
    """

    name: str
    pieces: tuple[str, ...]
    packages: tuple[str, ...] = ()
    web: bool = False

    @property
    def module(self) -> str:
        """The module with its `cases`."""
        name = self.name.replace("-", "_")
        return "benchmarks.outlast_toolkit" if self.name == OURS else f"benchmarks.peers.toolkit_{name}"

    @property
    def measures_stampede(self) -> bool:
        """Whether it is a cache."""
        return "cache" in self.pieces


TOOLKITS = (
    ToolkitSystem(OURS, PIECES),
    ToolkitSystem("cashews", ("cache",), ("cashews==7.6.0", _REDIS)),
    ToolkitSystem("aiocache", ("cache",), ("aiocache==0.12.3", _REDIS)),
    ToolkitSystem("fastapi-cache2", ("cache",), ("fastapi-cache2==0.2.2", "redis[hiredis]==4.6.0", "jinja2==3.1.6")),
    ToolkitSystem("fastapi-redis-sdk", ("cache",), ("fastapi-redis-sdk==0.9.1", _REDIS)),
    ToolkitSystem("limits", ("limiter",), ("limits==5.8.0", _REDIS)),
    ToolkitSystem("slowapi", ("limiter",), ("slowapi==0.1.10", _REDIS), web=True),
    ToolkitSystem("pyrate-limiter", ("limiter",), ("pyrate-limiter==4.5.1", _REDIS)),
    ToolkitSystem("redis-py", ("lock",), (_REDIS,)),
    ToolkitSystem("portalocker", ("lock",), ("portalocker==4.4.2", _REDIS)),
    ToolkitSystem("starsessions", ("session",), ("starsessions==2.2.1", _REDIS), web=True),
    ToolkitSystem("pottery", ("lock",), ("pottery==3.0.1", _REDIS)),
)
