"""`outlast observe write`: what it writes, prints, and refuses."""

from __future__ import annotations

import pytest

from outlast.observe.writing import shipped
from tests.support.command import ROOT, Project


def test_it_writes_the_files_of_the_package(project: Project) -> None:
    done = project.run("observe", "write", "monitoring")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [f"written    monitoring/{name}" for name in shipped()]
    for name, text in shipped().items():
        assert (project.folder / "monitoring" / name).read_text(encoding="utf-8") == text
    assert not project.file.exists()


@pytest.mark.parametrize("page", ["cli.md", "alerts.md"])
def test_the_pages_list_what_it_writes(page: str) -> None:
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    listed = [each.removeprefix("written    monitoring/") for each in lines if each.startswith("written ")]
    assert listed == list(shipped())


def test_a_changed_file_stays_without_force(project: Project) -> None:
    project.run("observe", "write", "monitoring")
    changed = project.folder / "monitoring" / "prometheus" / "outlast.rules.yml"
    changed.write_text("groups: []\n", encoding="utf-8")
    done = project.run("observe", "write", "monitoring")
    assert (done.code, done.out) == (2, "")
    assert "prometheus/outlast.rules.yml" in done.err
    assert "--force" in done.err
    assert changed.read_text(encoding="utf-8") == "groups: []\n"
    done = project.run("observe", "write", "monitoring", "--force", "--json")
    assert done.json["written"] == ["prometheus/outlast.rules.yml"]
    assert done.json["folder"] == str(project.folder / "monitoring")
    assert len(done.json["unchanged"]) == len(shipped()) - 1
    assert changed.read_text(encoding="utf-8") == shipped()["prometheus/outlast.rules.yml"]


def test_alerts_lead_to_a_grafana(project: Project) -> None:
    done = project.run("observe", "write", "monitoring", "--grafana", "https://grafana.example")
    assert done.code == 0
    rules = (project.folder / "monitoring" / "prometheus" / "outlast.rules.yml").read_text(encoding="utf-8")
    assert 'dashboard: "https://grafana.example/d/outlast-queue?' in rules
    refused = project.run("observe", "write", "monitoring", "--grafana", "grafana.example")
    assert refused.code == 2
    assert refused.err.startswith("outlast: --grafana 'grafana.example': ")
