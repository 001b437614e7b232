"""What a limiter has decided, for code and for the headers of HTTP."""

from __future__ import annotations

from math import ceil

from msgspec import Struct

from outlast.toolkit.limiter.decide import Outcome
from outlast.toolkit.limiter.quotas import Rules

__all__ = ["Decision", "LimitState", "decision_of"]


class LimitState(Struct, frozen=True):
    """One limit after a decision. name: the limiter's, ":", the rate. period, reset, wait, more: seconds.

    remaining: what is admitted at once now. reset: until all is back. wait: until the cost fits; 0 if it did. more:
    until one more than `remaining` would be admitted; 0 if all is there.
    """

    name: str
    count: int
    period: float
    remaining: int
    reset: float
    wait: float
    more: float


class Decision(Struct, frozen=True):
    """Whether a request is admitted, which is its truth value too: `if not await limiter.take(key): ...`.

    remaining: requests of cost 1 that are admitted at once now, by all limits. reset: seconds until all limits are
    whole. retry_after: seconds until the cost fits, if no other request comes first; 0 if it was admitted. limits: each
    limit, that of the shortest period first. approximate: the store was away, and this process decided alone.
    """

    allowed: bool
    remaining: int
    reset: float
    retry_after: float
    limits: tuple[LimitState, ...]
    approximate: bool = False

    def __bool__(self) -> bool:
        return self.allowed

    @property
    def violated(self) -> tuple[str, ...]:
        """The names of the limits that refused the request."""
        return tuple(each.name for each in self.limits if each.wait > 0)

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-11), and Retry-After of a refusal.

        `q` is the count of a policy, `w` its period where that is whole seconds; `r` what remains, `t` the seconds
        in which no more than that is admitted: `Retry-After` is never before the `t` of a limit that has refused. Each
        item of RateLimit has `outlast-approximate` while the store is away.
        """
        mark = ";outlast-approximate" if self.approximate else ""
        policies = [f'"{each.name}";q={each.count}{_window(each.period)}' for each in self.limits]
        states = [f'"{each.name}";r={each.remaining};t={ceil(each.more)}{mark}' for each in self.limits]
        found = [("RateLimit-Policy", ", ".join(policies)), ("RateLimit", ", ".join(states))]
        if not self.allowed:
            found.append(("Retry-After", str(max(1, ceil(self.retry_after)))))
        return tuple(found)


def _window(period: float) -> str:
    return f";w={period:.0f}" if period == int(period) else ""


def decision_of(rules: Rules, outcome: Outcome, *, processes: int = 0) -> Decision:
    """Return the decision of an outcome. processes: those that share the limits; 0: the store has decided."""
    share = processes or 1
    limits = [  # lists, and not generators: most limiters have one limit
        LimitState(
            quota.name,
            quota.count,
            quota.period / 1e6,
            each.remaining // share,
            each.reset / 1e6,
            each.wait / 1e6,
            each.more / 1e6,
        )
        for quota, each in zip(rules.quotas, outcome.standings, strict=True)
    ]
    return Decision(
        outcome.allowed,
        min([each.remaining for each in limits]),
        max([each.reset for each in limits]),
        max([each.wait for each in limits]),
        tuple(limits),
        processes > 0,
    )
