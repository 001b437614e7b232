"""What a dashboard is: rows of panels with their queries."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["Chart", "Chosen", "Dashboard", "PromQuery", "Unit"]

Unit = Literal["short", "s", "percentunit", "bytes", "ops", "bool_on_off"]


class PromQuery(Struct, frozen=True):
    """One query and the name of its series; `{{label}}` in it is a label."""

    expr: str
    legend: str


class Chart(Struct, frozen=True, kw_only=True):
    """One panel. form: one number, lines over time, or areas that add up. bad: from here on a number is red."""

    title: str
    about: str
    queries: tuple[PromQuery, ...]
    unit: Unit = "short"
    form: Literal["number", "lines", "areas"] = "lines"
    bad: float | None = None


class Chosen(Struct, frozen=True):
    """A variable of a dashboard: the values of a label, as `expr` has them."""

    label: str
    expr: str


class Dashboard(Struct, frozen=True, kw_only=True):
    """One dashboard: rows of panels."""

    name: str
    title: str
    about: str
    chosen: tuple[Chosen, ...]
    rows: tuple[tuple[str, tuple[Chart, ...]], ...]
