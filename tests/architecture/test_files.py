"""Each file does one thing and says it; none does what the project rules out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "outlast").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
SEPARATE = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
"""They run what they load: no job ever passes through one of them."""

of_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src" / "outlast")))
of_test = pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT / "tests")))


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module.partition(".")[0])
    return names


@of_source
def test_it_is_short_enough_to_be_one_thing(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= 450, f"{lines} lines: look for the second thing from 400 on"


@of_source
def test_its_first_line_says_its_job(path: Path) -> None:
    text = path.read_text()
    said = ast.get_docstring(ast.parse(text))
    assert text.startswith('"""')
    assert said
    assert len(said.splitlines()[0]) > 12, "say what the file does"


@of_source
def test_it_says_what_others_may_use(path: Path) -> None:
    tree = ast.parse(path.read_text())
    public = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    if path.name != "__main__.py" and any(not node.name.startswith("_") for node in public):
        names = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        names |= {
            node.target.id
            for node in tree.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
        assert "__all__" in names


@of_source
def test_it_loads_nothing_that_could_run_code(path: Path) -> None:
    assert not imported(ast.parse(path.read_text())) & SEPARATE


WITH_JOBS = [
    path for path in SOURCES if path.parts[path.parts.index("outlast") + 1] not in ("cli", "demo", "supervisor")
]
"""What runs in processes in which jobs run too."""


@pytest.mark.parametrize("path", WITH_JOBS, ids=lambda path: str(path.relative_to(ROOT / "src" / "outlast")))
def test_a_job_that_replaces_a_function_of_time_changes_no_other_job(path: Path) -> None:
    """What is bound at the import stays as it was: `from time import sleep`."""
    used = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
    of_time = {each.attr for each in used if isinstance(each.value, ast.Name) and each.value.id == "time"}
    assert of_time <= {"tzname", "timezone", "tzset"}, "the time zone is read as it is"


def test_the_facade_stays_a_facade() -> None:
    assert len((ROOT / "src" / "outlast" / "app.py").read_text().splitlines()) <= 250


@of_test
def test_no_test_sleeps(path: Path) -> None:
    """A handler under test may sleep; the test itself waits on events."""
    sleeps: list[int] = []

    def walk(node: ast.AST, tests: bool) -> None:
        for child in ast.iter_child_nodes(node):
            inside = tests
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                fixture = any("fixture" in ast.unparse(decorator) for decorator in child.decorator_list)
                inside = child.name.startswith("test_") or fixture
            if inside and isinstance(child, ast.Call) and ast.unparse(child.func) in ("time.sleep", "asyncio.sleep"):
                yields = child.args and isinstance(child.args[0], ast.Constant) and child.args[0].value == 0
                sleeps.extend([] if yields else [child.lineno])
            walk(child, inside)

    walk(ast.parse(path.read_text()), False)
    assert sleeps == []


@of_test
def test_no_test_is_skipped(path: Path) -> None:
    text = path.read_text()
    found = [
        word for word in ("mark." + "skip", "pytest." + "skip(", "mark." + "xfail", "import" + "orskip") if word in text
    ]
    assert found == []


def test_every_path_in_the_internals_exists() -> None:
    page = (ROOT / "docs" / "internals.md").read_text()
    named = set(re.findall(r"`((?:[\w.-]+/)+(?:[\w-]+\.\w+)?|[\w-]+\.py)`", page)) - {"-bell/"}
    assert len(named) > 60
    stores = ("brokers/memory", "brokers/sqlite", "brokers/redis")  # `kind.py` and `findings.py` of each store
    roots = [ROOT, ROOT / "src" / "outlast", *(ROOT / "src" / "outlast" / store for store in stores)]
    assert sorted(name for name in named if not any((root / name).exists() for root in roots)) == []
