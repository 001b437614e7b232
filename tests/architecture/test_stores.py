"""Only `brokers/` and `clients/` know the stores: elsewhere nothing branches on a URL or on a store's name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "outlast"
ELSEWHERE = sorted(
    path for path in SOURCE.rglob("*.py") if path.relative_to(SOURCE).parts[0] not in ("brokers", "clients")
)
of_source = pytest.mark.parametrize("path", ELSEWHERE, ids=lambda path: str(path.relative_to(SOURCE)))

STORE = re.compile(r"(sqlite|rediss?|memory|memcached|amqps?|postgres(ql)?)(\+\w*)?(:.*)?", re.DOTALL)
URL = re.compile(r"(sqlite|rediss?(\+\w+)?|amqps?|postgres(ql)?):")
TESTS = {"startswith", "endswith", "removeprefix", "removesuffix", "partition", "rpartition", "split", "rsplit"}

BRANCHES = {
    "settings.py": ["sqlite:"],
    "toolkit/objects/places.py": ["sqlite:", "memory", "sqlite:", "memory:"],
    "toolkit/stores.py": ["amqp:", "amqps:", "memory", "memcached", "sqlite:", "redis", "rediss"],
}
"""The one documented default, and the places where the toolkit chooses its stores."""
IMPORTS = {
    "cli/version.py": {"outlast.brokers.sqlite.inspection"},
    "testing/harness.py": {"outlast.brokers.memory"},
}
"""What uses a part of one store on purpose: the version of SQLite, the file of the spool, the store of a test."""


def texts(node: ast.AST) -> Iterator[str]:
    """Return the constants of an expression, of the tuples and sets in it too."""
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def branches(tree: ast.AST) -> list[str]:
    """Return the names and URLs of stores that are compared, cut from a text, or put in front of one."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            operands: list[ast.AST] = [node.left, *node.comparators]
            found += [text for each in operands for text in texts(each) if STORE.fullmatch(text)]
        elif isinstance(node, ast.MatchValue):
            found += [text for text in texts(node) if STORE.fullmatch(text)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TESTS:
            found += [text for each in node.args for text in texts(each) if STORE.fullmatch(text)]
        elif isinstance(node, ast.JoinedStr) and node.values:
            found += [text for text in texts(node.values[0]) if URL.match(text)]
    return found


@of_source
def test_nothing_branches_on_a_store(path: Path) -> None:
    assert branches(ast.parse(path.read_text())) == BRANCHES.get(str(path.relative_to(SOURCE)), [])


@of_source
def test_no_store_is_imported_by_name(path: Path) -> None:
    wanted: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            wanted |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            wanted |= {alias.name for alias in node.names}
    stores = {each.name for each in (SOURCE / "brokers").iterdir() if each.is_dir() and each.name != "__pycache__"}
    named = {each for each in wanted if each.startswith("outlast.brokers.") and each.split(".")[2] in stores}
    allowed = IMPORTS.get(str(path.relative_to(SOURCE)), set())
    assert {each for each in named if not any(each == one or each.startswith(f"{one}.") for one in allowed)} == set()


@pytest.mark.parametrize(
    "code",
    [
        "url == 'memory:'",
        "url.startswith('sqlite:')",
        "scheme in ('redis', 'rediss')",
        "name != 'sqlite'",
        "f'sqlite:{path}'",
        "url.removeprefix('redis+unix://')",
    ],
)
def test_a_branch_is_seen(code: str) -> None:
    assert branches(ast.parse(code))
