"""What removes expired rows from the toolkit's file, a step of each piece that keeps rows there."""

from __future__ import annotations

from outlast.toolkit.boards.file import tidy_boards
from outlast.toolkit.cache.file import tidy_cache
from outlast.toolkit.file import Tidy
from outlast.toolkit.idempotency.file import tidy_keys
from outlast.toolkit.limiter import file as limits
from outlast.toolkit.lock import file as lock_file
from outlast.toolkit.sessions.file import tidy_sessions

__all__ = ["tidies"]


def tidies() -> tuple[Tidy, ...]:
    """Return the steps; each removes at most a few ms of rows, and says whether more remain."""
    return (lock_file.tidy, limits.tidy, tidy_keys, tidy_cache, tidy_sessions, tidy_boards)
