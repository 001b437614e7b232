"""No import cycle, imports inside functions included: a module can be read after those that it uses."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"


def modules() -> dict[str, Path]:
    """Return every module by its dotted name."""
    paths = (SOURCE / "outlast").rglob("*.py")
    return {".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def run_time_imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Find all imports but those under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        else:
            yield from run_time_imports(child)


def graph() -> dict[str, set[str]]:
    """Return which modules each module imports; of a package, the submodule where one has the name."""
    known = modules()
    edges: dict[str, set[str]] = {name: set() for name in known}
    for name, path in known.items():
        for node in run_time_imports(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                wanted = [alias.name for alias in node.names]
            else:
                of = node.module or ""
                wanted = [f"{of}.{alias.name}" if f"{of}.{alias.name}" in known else of for alias in node.names]
            edges[name].update(each for each in wanted if each in known and each != name)
    return edges


def cycles(edges: dict[str, set[str]]) -> set[frozenset[str]]:
    """Return the strongly connected components of more than one module (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: set[frozenset[str]] = set()

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for to in edges[name]:
            if to not in index:
                visit(to)
            if to in stack:
                low[name] = min(low[name], low[to])
        if low[name] == index[name]:
            members = stack[stack.index(name) :]
            del stack[-len(members) :]
            if len(members) > 1:
                found.add(frozenset(members))

    for name in edges:
        if name not in index:
            visit(name)
    return found


def test_there_is_no_cycle() -> None:
    assert cycles(graph()) == set()


def test_a_cycle_is_seen() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set[str]()}
    assert cycles(edges) == {frozenset({"b", "c"})}
