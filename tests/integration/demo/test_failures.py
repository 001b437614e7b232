"""The failures of docs/why-systems-fail.md: each is made, and survived with a guard."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from outlast.demo.failures import FAILURES, main

PAGE = Path(__file__).parents[3] / "docs" / "why-systems-fail.md"


@pytest.mark.parametrize("name", FAILURES)
def test_it_is_made_and_survived(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name]) == 0, capsys.readouterr().out
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"{name}: ")
    assert [line.split()[0] for line in said[1:]] == ["without", "with"]
    for line in said:
        assert line.strip() in PAGE.read_text(encoding="utf-8"), "the page shows what the command prints"


def test_a_name_that_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-luck"]) == 2
    assert "no failure 'no-luck': give no-timeout, " in capsys.readouterr().out


def test_the_page_names_them_in_order() -> None:
    names = re.findall(r"^\$ python -m outlast.demo.failures (\S+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert names == list(FAILURES)
