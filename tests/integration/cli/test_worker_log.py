"""`outlast worker --log json`: each line that its processes write is one of the schema, with the ids of the job."""

from __future__ import annotations

import json
import signal
from typing import Any

from outlast import Outlast, Settings
from outlast.observe.logs import FIELDS
from tests.support.apps.cli_app import SECRET, declare
from tests.support.command import Project, Running
from tests.support.polling import until

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ALWAYS = {"time", "level", "logger", "message", "process"}


def lines_of(worker: Running) -> list[dict[str, Any]]:
    return [json.loads(line) for line in worker.text.splitlines()]


async def test_every_line_is_json_and_each_event_of_a_job_has_one(project: Project) -> None:
    with project.running("worker", "main:shop", "--log", "json") as worker:
        async with Outlast("shop", settings=Settings(url=project.url)) as shop:
            jobs = declare(shop)
            sent = await jobs.send.with_options(headers={"traceparent": TRACE}).enqueue(1, "a@b.c", SECRET)
            failed = await jobs.fail.with_options(headers={"traceparent": TRACE}).enqueue(2, SECRET)
            await until(lambda: worker.text.count('"job.ended"') == 2, "both have ended")
        worker.process.send_signal(signal.SIGTERM)
        await until(lambda: worker.process.poll() is not None, "it ends")
    lines = lines_of(worker)
    for each in lines:
        assert set(each) <= {*ALWAYS, *FIELDS, "error", "extra"}
        assert set(each) >= ALWAYS
    about = [each for each in lines if each.get("job") == sent.id]
    assert [each["event"] for each in about] == ["job.started", "job.ended"]
    assert (about[1]["state"], about[1]["kind"], about[1]["app"]) == ("succeeded", "send", "shop")
    about = [each for each in lines if each.get("job") == failed.id]
    told = [each["event"] for each in about if "event" in each]
    assert told == ["job.started", "job.retried", "job.started", "job.ended"]
    (dead,) = [each for each in about if each["level"] == "ERROR" and "error" in each]
    assert (dead["logger"], dead["attempt"], dead["error"]["type"]) == ("outlast.worker", 2, "ValueError")
    assert {each["trace_id"] for each in lines if "job" in each} == {TRACE[3:35]}
    assert SECRET not in worker.text


def test_another_form_is_refused_with_the_forms(project: Project) -> None:
    for ran in (
        project.run("worker", "main:shop", "--log", "xml"),
        project.run("worker", "x:y", env={"OUTLAST_LOG": "1"}),
    ):
        assert ran.code == 2
        assert "--log (OUTLAST_LOG)" in ran.err
        assert "give text or json" in ran.err
