"""Limits on a Redis or Valkey server: one key a key, one script call a decision, at the time of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outlast.clients.redis.scripts import load_script
from outlast.toolkit.limiter.decide import Outcome, Standing
from outlast.toolkit.limiter.quotas import Rules
from outlast.toolkit.limiter.store import LIVE_FOR

if TYPE_CHECKING:
    from outlast.toolkit.server import ToolkitServer

__all__ = ["ServerLimits"]


class ServerLimits:
    """The limits of a server. Each key expires when all of its limits are whole again."""

    def __init__(self, server: ToolkitServer) -> None:
        self._server = server

    async def take(self, rules: Rules, key: str, cost: int) -> Outcome:
        """Decide, and take the cost if it is admitted."""
        args: list[str | int] = [rules.algorithm, cost, "1" if rules.count_refused else ""]
        for quota in rules.quotas:
            args += (quota.burst, quota.period, quota.part, quota.drain, quota.step)
        script = load_script(__package__, "take")
        answer: Any = await self._server.run(script, [self._server.key("limiter", key)], args)
        standings = tuple(Standing(*answer[at : at + 4]) for at in range(1, len(answer), 4))
        return Outcome(answer[0] == 1, standings, None, 0)

    async def live(self, limiter: str, process: str) -> int:
        """Note that a process uses a limiter; return how many do."""
        script, key = load_script(__package__, "live"), self._server.key("limiter", limiter, "processes")
        return int(await self._server.run(script, [key], [process, LIVE_FOR], again=True))
