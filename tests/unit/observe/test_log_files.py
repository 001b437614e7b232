"""The files for other tools are those that the code makes of the schema, and name each field that a line may have."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from outlast.observe.log_files import FOLDER, log_files, write_log_files
from outlast.observe.logs import FIELDS


def test_the_package_has_the_files_as_the_code_makes_them() -> None:
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == log_files()


def test_they_are_written_to_any_folder(tmp_path: Path) -> None:
    written = write_log_files(tmp_path / "new")
    assert {path.name for path in written} == set(log_files())


@pytest.mark.parametrize("name", sorted(log_files()))
def test_each_names_what_it_reads_from_the_environment_only(name: str) -> None:
    text = log_files()[name]
    assert set(re.findall(r"https?://([^/\"}]+)", text)) <= {"localhost:3100", "localhost:9200"}


def test_loki_gets_each_field_and_makes_streams_of_few_values() -> None:
    text = log_files()["loki.alloy"]
    read = dict(re.findall(r'^ {6}(\w+) = "(\w+)",$', text, re.MULTILINE))
    assert set(read.values()) == {"time", "level", "logger", *FIELDS}
    labels, metadata = (
        set(re.findall(r'(\w+) = ""', part)) for part in text.partition("stage.labels")[2].split("structured_metadata")
    )
    assert labels == {"level", "app", "event", "queue"}
    assert metadata == set(read) - labels - {"time"}


def test_elasticsearch_has_one_type_for_each_field() -> None:
    template = json.loads(log_files()["elasticsearch-template.json"])
    properties = template["template"]["mappings"]["properties"]
    found = properties["outlast"]["properties"]
    kinds = {str: "keyword", float: "double", bool: "boolean"}
    for name, field in FIELDS.items():
        if name not in ("trace_id", "span_id"):
            assert found[name] == {"type": kinds[field.kind]}
    assert found["extra"]["type"] == "flattened", "names of the app make no fields"
    converted = dict(re.findall(r'"\[outlast\]\[(\w+)\]" => "(float|boolean)"', log_files()["logstash.conf"]))
    assert converted == {n: "float" if f.kind is float else "boolean" for n, f in FIELDS.items() if f.kind is not str}
