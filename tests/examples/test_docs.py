"""Every Python block of the README and the docs runs, and every link between the pages leads somewhere."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support import prepared

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?://)(?P<path>[^)#\s]*)(?:#(?P<part>[^)\s]+))?\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")], ids=_name)
def test_every_python_block_runs(page: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OUTLAST")}
    environment["PYTHONPATH"] = str(ROOT)
    run = prepared.run(["tests.examples.run_page", str(page)], cwd=tmp_path, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_fence_is_one_that_is_known(page: Path) -> None:
    fences = re.findall(r"^```(\S+.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    kinds = {fence.split(" ")[0] for fence in fences}
    assert kinds <= {
        "python",
        "console",
        "text",
        "json",
        "toml",
        "yaml",
        "sql",
        "http",
        "js",
        "ini",
        "logql",
        "mermaid",
    }, kinds


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.finditer(page.read_text(encoding="utf-8")):
        target = (page.parent / link["path"]) if link["path"] else page
        assert target.exists(), f"{_name(page)}: {link[0]}"
        if link["part"] is not None:
            headings = HEADING.findall(target.read_text(encoding="utf-8"))
            slugs = {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
            assert link["part"] in slugs, f"{_name(page)}: {link[0]}"


def test_the_index_lists_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    listed = {index}
    for link in LINK.finditer(index.read_text(encoding="utf-8")):
        target = (index.parent / link["path"]).resolve()
        listed |= set(target.glob("*.md")) if target.is_dir() else {target}
    pages = [page for page in PAGES if page.is_relative_to(index.parent)]
    assert len(pages) > 30
    assert [_name(page) for page in pages if page not in listed] == []
