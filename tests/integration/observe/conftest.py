"""The rules as `outlast observe write` writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlast.observe.rules import rules_text


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of rules."""
    file = tmp_path_factory.mktemp("rules") / "outlast.rules.yml"
    file.write_text(rules_text(), encoding="utf-8")
    return file
