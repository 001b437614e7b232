"""Files by which other tools read the log: Grafana Alloy for Loki, Filebeat and Logstash for Elasticsearch.

They are made from the schema (`logs.FIELDS`) and lie in `files/logs/`; a test compares them: `python -m
outlast.observe.log_files` writes them again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from outlast.observe.logs import FIELDS

__all__ = ["FOLDER", "log_files", "write_log_files"]

FOLDER: Final = Path(__file__).with_name("files") / "logs"
_LABELS: Final = ("level", "app", "event", "queue")
"""Fields with few values: of these Loki makes streams."""
_LOKI_NAMES: Final = {"job": "job_id", "key": "guard_key"}
"""Names in Loki where the field's own is taken: a stream has the label `job` by custom."""
_ELASTIC_NAMES: Final = {
    "level": "[log][level]",
    "logger": "[log][logger]",
    "trace_id": "[trace][id]",
    "span_id": "[span][id]",
}
"""Names of the Elastic Common Schema."""


def log_files() -> dict[str, str]:
    """Return the text of each file by its name."""
    return {
        "loki.alloy": _alloy(),
        "filebeat.yml": _filebeat(),
        "logstash.conf": _logstash(),
        "elasticsearch-template.json": _template(),
    }


def write_log_files(folder: Path = FOLDER) -> list[Path]:
    """Write the files; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in log_files().items():
        path = folder / name
        path.write_text(text)
        written.append(path)
    return written


def _alloy() -> str:
    names = ["time", "level", "logger", *FIELDS]
    expressions = "\n".join(f'      {_LOKI_NAMES.get(name, name)} = "{name}",' for name in names)
    labels = "\n".join(f'      {name} = "",' for name in _LABELS)
    rest = [_LOKI_NAMES.get(name, name) for name in names if name not in (*_LABELS, "time")]
    metadata = "\n".join(f'      {name} = "",' for name in rest)
    return f"""// Grafana Alloy: reads the lines that `outlast worker --log json` writes, and sends them to Loki.
// OUTLAST_LOG_PATH: the files. LOKI_URL: where Loki takes lines.
// Labels are fields with few values; ids, names and numbers are structured metadata, which makes no streams.

local.file_match "outlast" {{
  path_targets = [{{
    "__path__" = coalesce(sys.env("OUTLAST_LOG_PATH"), "/var/log/outlast/*.log"),
    "job"      = "outlast",
  }}]
}}

loki.source.file "outlast" {{
  targets    = local.file_match.outlast.targets
  forward_to = [loki.process.outlast.receiver]
}}

loki.process "outlast" {{
  forward_to = [loki.write.outlast.receiver]

  stage.json {{
    expressions = {{
{expressions}
    }}
  }}

  stage.timestamp {{
    source = "time"
    format = "RFC3339Nano"
  }}

  stage.labels {{
    values = {{
{labels}
    }}
  }}

  stage.structured_metadata {{
    values = {{
{metadata}
    }}
  }}
}}

loki.write "outlast" {{
  endpoint {{
    url = coalesce(sys.env("LOKI_URL"), "http://localhost:3100/loki/api/v1/push")
  }}
}}
"""


def _filebeat() -> str:
    return """# Filebeat: reads the lines that `outlast worker --log json` writes, and sends them to Logstash.
# OUTLAST_LOG_PATH: the files. LOGSTASH_HOST: host and port of Logstash (logstash.conf beside this file).

filebeat.inputs:
  - type: filestream
    id: outlast
    paths:
      - "${OUTLAST_LOG_PATH:/var/log/outlast/*.log}"
    parsers:
      - ndjson:
          target: "outlast"
          message_key: "message"
          add_error_key: true
    fields:
      service.type: "outlast"
    fields_under_root: true

output.logstash:
  hosts: ["${LOGSTASH_HOST:localhost:5044}"]
"""


def _logstash() -> str:
    renames = "\n".join(f'      "[outlast][{name}]" => "{told}"' for name, told in _ELASTIC_NAMES.items())
    numbers = "\n".join(
        f'      "[outlast][{name}]" => "{"float" if field.kind is float else "boolean"}"'
        for name, field in FIELDS.items()
        if field.kind is not str
    )
    return f"""# Logstash: takes the lines from Filebeat, gives each field its type, and sends them to Elasticsearch.
# LOGSTASH_PORT: where Filebeat sends to. ELASTICSEARCH_HOST: the URL of Elasticsearch.

input {{
  beats {{
    port => "${{LOGSTASH_PORT:5044}}"
  }}
}}

filter {{
  date {{
    match => ["[outlast][time]", "ISO8601"]
    target => "@timestamp"
    remove_field => ["[outlast][time]"]
  }}
  mutate {{
    convert => {{
{numbers}
    }}
  }}
  mutate {{
    rename => {{
      "[outlast][message]" => "message"
{renames}
    }}
  }}
}}

output {{
  elasticsearch {{
    hosts => ["${{ELASTICSEARCH_HOST:http://localhost:9200}}"]
    index => "outlast-%{{+YYYY.MM.dd}}"
    manage_template => false
  }}
}}
"""


def _template() -> str:
    """Return an index template of Elasticsearch: one type for each field, so that no line is refused for another."""
    kinds = {str: "keyword", float: "double", bool: "boolean"}
    fields = {name: {"type": kinds[field.kind]} for name, field in FIELDS.items() if name not in _ELASTIC_NAMES}
    template = {
        "index_patterns": ["outlast-*"],
        "template": {
            "mappings": {
                "properties": {
                    "message": {"type": "text"},
                    "log": {"properties": {"level": {"type": "keyword"}, "logger": {"type": "keyword"}}},
                    "trace": {"properties": {"id": {"type": "keyword"}}},
                    "span": {"properties": {"id": {"type": "keyword"}}},
                    "outlast": {
                        "properties": {
                            **fields,
                            "process": {"type": "long"},
                            "error": {
                                "properties": {
                                    "type": {"type": "keyword"},
                                    "message": {"type": "text"},
                                    "stack": {"type": "text", "index": False},
                                }
                            },
                            "extra": {"type": "flattened", "ignore_above": 1024},
                        }
                    },
                }
            }
        },
    }
    return json.dumps(template, indent=2) + "\n"


if __name__ == "__main__":
    for made in write_log_files():
        print(made)  # noqa: T201 - it is a command of developers
