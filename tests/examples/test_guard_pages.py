"""The pages of the guards begin with what happens when something fails, and tell each setting as the code has it."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import NODEFAULT, Struct, structs

import outlast
from outlast import Breaker, Bulkhead, Exponential, Fallback, Retry, RetryBudget
from outlast.core.durations import seconds
from outlast.core.shedding import Shed

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted((DOCS / "guards").glob("*.md"))
FAILURES = "| when this fails | this happens | what you see |"
POLICIES: tuple[tuple[str, type[Struct]], ...] = (
    ("retry", Retry),
    ("retry", Exponential),
    ("retry", RetryBudget),
    ("breaker", Breaker),
    ("bulkhead", Bulkhead),
    ("fallback", Fallback),
    ("backpressure", Shed),
)


def _stem(page: Path) -> str:
    return page.stem


def _rows(text: str, head: str) -> dict[str, list[str]]:
    """Return the cells of the table with this first cell in its head, by the names of the settings."""
    table = text.split(f"| {head} | unit | default | bounds |\n", 1)[1].split("\n\n", 1)[0]
    rows = [re.split(r" (?<!\\)\| ?", line.removeprefix("| ").removesuffix("|")) for line in table.splitlines()[1:]]
    return {cells[0].strip("`"): [cell.strip() for cell in cells[1:]] for cells in rows}


def _same(told: str, default: object) -> bool:
    """Tell whether the text in a cell is the default of the code."""
    if default is NODEFAULT:
        return told == "required"
    value: Any = eval(told.strip("`"), vars(outlast))
    if isinstance(value, str | timedelta) and isinstance(default, float):
        value = seconds(value, "default")
    return bool(value == default or (value,) == default)


@pytest.mark.parametrize("page", PAGES, ids=_stem)
def test_each_page_begins_with_what_happens_when_something_fails(page: Path) -> None:
    text = page.read_text()
    before, _, after = text.partition(FAILURES)
    assert after, FAILURES
    assert before.startswith("# ")
    assert not re.search(r"^(?:##|```|\|)", before, re.MULTILINE), "the table of failures is the first one"
    heads = re.findall(r"^## (.*)$", after, re.MULTILINE)
    assert heads[-1] == "What it does not do"
    assert "Settings" in heads
    assert "Refused with `ConfigurationError`" in " ".join(after.split())


def test_the_entry_leads_to_each_page() -> None:
    entry = (DOCS / "guards.md").read_text()
    assert [page.name for page in PAGES if f"](guards/{page.name})" not in entry] == []


@pytest.mark.parametrize(("page", "policy"), POLICIES, ids=lambda each: getattr(each, "__name__", each))
def test_each_setting_is_told_with_its_default(page: str, policy: type[Struct]) -> None:
    rows = _rows((DOCS / "guards" / f"{page}.md").read_text(), f"setting of `{policy.__name__}`")
    defaults = {
        field.name: field.default if field.default_factory is NODEFAULT else field.default_factory()
        for field in structs.fields(policy)
    }
    assert set(rows) == set(defaults)
    wrong = {name: (rows[name][1], default) for name, default in defaults.items() if not _same(rows[name][1], default)}
    assert wrong == {}
