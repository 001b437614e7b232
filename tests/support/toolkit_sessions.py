"""Sessions on a toolkit, for the suites that need no app."""

from __future__ import annotations

from typing import Any

from outlast.declare.value_forms import JsonForms
from outlast.toolkit.access import Toolkit
from outlast.toolkit.sessions.rule import rule_of
from outlast.toolkit.sessions.sessions import Sessions

__all__ = ["begun_session", "sessions_on"]


def sessions_on(kit: Toolkit, name: str = "session", **options: Any) -> Sessions:
    """Return sessions that are declared as `shop.sessions()` does it."""
    given = {"idle": "30m", "absolute": "12h", "max_fields": 64, "max_bytes": 16 * 1024, "per_user": 20, **options}
    return Sessions(lambda: kit, JsonForms, rule_of(**given), name=name)


async def begun_session(sessions: Sessions, user: str | None = None, **fields: Any) -> str:
    """Store a session; return its id."""
    session = await sessions.open(None)
    if user is not None:
        session.login(user)
    for name, value in fields.items():
        session[name] = value
    await session.save()
    assert session.issued
    return session.issued
