"""Tables on terminals of any width: all that a pipe shows can be read."""

from __future__ import annotations

import pytest

from outlast.cli.output import show

HEADS = ("queue", "depth", "state", "what")
ROWS: list[tuple[show.Cell, ...]] = [
    ("invoices-europe-overnight", 12, ("dead", "red"), "ConnectionError: refused by the server, after three attempts"),
    ("\u8acb\u6c42", 0, "ready", ""),
]


@pytest.mark.parametrize("columns", [1, 10, 20, 40, 60, 80, 200])
def test_no_width_loses_a_value(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(show, "on_terminal", lambda: True)
    show.table(HEADS, ROWS, empty="none")
    words = capsys.readouterr().out.split()
    lost = [word for row in (HEADS, *ROWS) for cell in row for word in str(cell).split() if word not in " ".join(words)]
    assert [word for word in lost if word != "('dead'," and word != "'red')"] == []


def test_what_does_not_fit_is_on_a_second_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(show, "on_terminal", lambda: True)
    show.table(HEADS, ROWS, empty="none")
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "queue                      depth  state",
        "invoices-europe-overnight     12  dead",
        "  what ConnectionError: refused by the server, after three attempts",
        "\u8acb\u6c42                           0  ready",
    ]
