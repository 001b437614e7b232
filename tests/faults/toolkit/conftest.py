"""A server of the test's own, and a toolkit on it."""

from __future__ import annotations

from tests.support.toolkit_server import kit, server

__all__ = ["kit", "server"]
