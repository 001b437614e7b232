"""The files of the package are those that the code makes, and fit every Grafana."""

from __future__ import annotations

import json
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from outlast.observe.dashboards.build import made
from outlast.observe.writing import shipped

BOARDS = {name: json.loads(text) for name, text in shipped().items() if name.startswith("grafana/")}
every_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)


def test_the_package_has_what_the_code_makes() -> None:
    """After a change of rules or dashboards: make observe."""
    have = shipped()
    assert {name: have.get(name) for name in made()} == made()
    assert {name for name in have if name.startswith(("grafana/", "prometheus/"))} == set(made())


def test_there_is_one_for_all_for_a_queue_and_for_dependencies() -> None:
    assert sorted(board["title"] for board in BOARDS.values()) == [
        "Outlast / Dependency",
        "Outlast / Overview",
        "Outlast / Queue",
    ]


def sources(value: Any) -> list[Any]:
    """Return every reference to a data source in a document."""
    if isinstance(value, dict):
        own = [value["datasource"]] if "datasource" in value else []
        return [*own, *(each for name, item in value.items() if name != "datasource" for each in sources(item))]
    return [each for item in value for each in sources(item)] if isinstance(value, list) else []


@every_board
def test_the_data_source_is_a_variable(board: dict[str, Any]) -> None:
    found = sources(board)
    assert len(found) > 20
    assert all(each == {"type": "prometheus", "uid": "${datasource}"} for each in found)
    variables = {each["name"]: each for each in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"


@every_board
def test_grafana_gives_the_uid(board: dict[str, Any]) -> None:
    assert not {"uid", "id", "version"} & set(board)


@every_board
def test_every_variable_of_a_query_is_declared(board: dict[str, Any]) -> None:
    declared = {each["name"] for each in board["templating"]["list"]}
    text = json.dumps(board["panels"])
    assert {name for name in ("app", "queue", "guard") if f"${name}" in text} <= declared


@every_board
def test_panels_have_places_of_their_own(board: dict[str, Any]) -> None:
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = {"x": 0, "y": 0, **panel["gridPos"]}
        own = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not own & cells, panel["title"]
        assert all(x < 24 for x, _ in own)
        cells |= own


@every_board
def test_panels_tell_what_they_show(board: dict[str, Any]) -> None:
    shown = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert all(panel["title"] and panel["description"].endswith(".") and panel["targets"] for panel in shown)


@every_board
def test_the_dashboards_lead_to_each_other(board: dict[str, Any]) -> None:
    [link] = board["links"]
    assert (link["type"], link["tags"], link["includeVars"], link["keepTime"]) == (
        "dashboards",
        ["outlast"],
        True,
        True,
    )
    assert board["tags"] == ["outlast"]


@every_board
def test_grafanas_own_model_reads_it_without_a_loss(board: dict[str, Any]) -> None:
    read = models.Dashboard.from_json(board)
    assert json.loads(json.dumps(read, cls=JSONEncoder)) == board
