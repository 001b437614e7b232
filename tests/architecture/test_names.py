"""One word, one idea: no class name is declared twice in the source, and plain words are used."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "outlast").rglob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_PLAIN = re.compile(r"\b(?:whoever|whom|anew|nobody|somebody|lest)\b", re.IGNORECASE)
"""Words for which a plain one serves."""
REMARKS = {
    '        remarks.append("nobody")',
    "payments  12/50     12          0        0       0     0  4 min    0.0/s         -        0  nobody",
}
"""The remark of `outlast queues` at a queue without workers, as scripts look for it, and its example in the docs."""


def test_no_class_name_is_declared_twice() -> None:
    declared: dict[str, list[str]] = defaultdict(list)
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                declared[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert len(declared) > 100
    assert {name: places for name, places in declared.items() if len(places) > 1} == {}


def test_plain_words_are_used() -> None:
    scripts = sorted(
        path for path in (ROOT / "src" / "outlast").rglob("*") if path.suffix in (".lua", ".sql", ".js", ".html")
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in [*SOURCES, *scripts, *PAGES]
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if NOT_PLAIN.search(line) and line not in REMARKS
    ]
    assert found == []
