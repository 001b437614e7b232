"""One word, one idea: no class name is declared twice in the source."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "outlast").rglob("*.py"))


def test_no_class_name_is_declared_twice() -> None:
    declared: dict[str, list[str]] = defaultdict(list)
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                declared[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert len(declared) > 100
    assert {name: places for name, places in declared.items() if len(places) > 1} == {}
