"""docs/cli.md says what the command line does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from msgspec.structs import fields
from typer.main import get_command

from outlast.cli.output.answers import explain
from outlast.cli.root import build
from outlast.core.exitcodes import MEANING
from outlast.core.store.broker import QueueStats
from outlast.core.store.control import Why
from outlast.core.store.records import JobRecord

PAGE = (Path(__file__).parents[3] / "docs" / "cli.md").read_text(encoding="utf-8")


def test_the_exit_codes_are_the_documented_ones() -> None:
    table = PAGE.partition("### Exit codes")[2].partition("A command that is given")[0]
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", table, re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == MEANING


def test_every_command_and_option_is_documented() -> None:
    common = {"--help", "--url", "--app", "--json", "--limit", "--debug"}
    for name, command in get_command(build()).commands.items():  # type: ignore[attr-defined]
        assert f"outlast {name}" in PAGE
        for below in [command, *getattr(command, "commands", {}).values()]:
            assert f"`{below.name}" in PAGE or f"outlast {name}" in PAGE
            for option in (each for param in below.params for each in param.opts if each.startswith("--")):
                shown = {option, option.replace("--reload", "--no-reload").replace("--integrity", "--no-integrity")}
                assert option in common or any(each in PAGE for each in shown), f"{name}: {option}"


def test_the_keys_of_the_documents_are_documented() -> None:
    job = PAGE.partition("A job as JSON has the keys")[2].partition(";")[0]
    assert re.findall(r"`(\w+)`", job) == [field.encode_name for field in fields(JobRecord)]
    queue = PAGE.partition('`--json`: `{"queues": [{"name",')[2].partition("}")[0]
    assert re.findall(r'"(\w+)"', queue) == [*(field.name for field in fields(QueueStats)), "waits_for"]


def test_every_reason_has_words() -> None:
    assert [why for why in get_args(Why) if why and " " not in explain(why)] == []
