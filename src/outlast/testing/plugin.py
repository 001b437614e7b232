"""Pytest fixtures, which pytest finds where Outlast is installed. Outlast is imported only when a test uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from outlast.app import Outlast
    from outlast.testing.harness import Testing

__all__ = ["outlast_testing"]


@pytest.fixture
def outlast_testing() -> Iterator[Callable[[Outlast], Testing]]:
    """Test an app until the test ends: `t = outlast_testing(shop)`, as `with shop.testing() as t:` does."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(app.testing())
