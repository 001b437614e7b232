"""An isolated job logs as jobs on the loop and in threads do: level, format, handlers, extra fields, tracebacks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import Project
from tests.support.polling import until

JOBS = """
import logging
from outlast import Context, Outlast
shop = Outlast("shop")
log = logging.getLogger("myapp.jobs")
def say(ctx, where):
    ctx.logger.info("%s ctx", where)
    log.debug(f"{where} debug")
    log.info(f"{where} info", extra={"order": 7})
    log.warning(f"{where} warning")
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception(f"{where} error")
@shop.job
async def in_loop(ctx: Context) -> None: say(ctx, "here")
@shop.job
def in_thread(ctx: Context) -> None: say(ctx, "here")
@shop.job(isolate="process")
def in_process(ctx: Context) -> None: say(ctx, "here")
class Fields(logging.Formatter):
    def format(self, record):
        line = super().format(record).partition(chr(10))[0]
        return f"{line} {getattr(record, 'order', '-')} {getattr(record, 'attempt', '-')}"
"""
WORK = """
import asyncio, sys
from outlast.worker import Worker
async def main():
    async with shop:
        stop = asyncio.Event()
        worker = asyncio.create_task(Worker(await shop.runtime()).run(stop))
        for job in (in_loop, in_thread, in_process):
            print("--", file=sys.stderr, flush=True)
            await (await job.enqueue()).result(timeout=60)
        print("--", file=sys.stderr, flush=True)
        stop.set()
        await worker
if __name__ == "__main__":
    SETUP
    asyncio.run(main())
"""
DICT = """
import logging.config
CONFIG = {
    "version": 1,
    "formatters": {"fields": {"()": Fields, "format": "%(levelname)s|%(name)s|%(message)s"}},
    "handlers": {
        "out": {"class": "logging.StreamHandler", "formatter": "fields", "level": "INFO"},
        "file": {"class": "logging.FileHandler", "filename": "app.log", "formatter": "fields", "delay": True},
    },
    "root": {"handlers": ["out"], "level": "INFO"},
    "loggers": {"myapp": {"handlers": ["file"], "level": "DEBUG", "propagate": True}},
}
"""
BASIC = "logging.basicConfig(level=logging.INFO, format='%(levelname)s %(name)s %(message)s')"
SETUPS = {
    "none": ("", "pass"),
    "basic in the script": ("", BASIC),
    "basic at import": (BASIC, "pass"),
    "dict in the script": (DICT, "logging.config.dictConfig(CONFIG)"),
    "dict at import": (DICT + "logging.config.dictConfig(CONFIG)\n", "pass"),
    "another one later": (BASIC, "logging.basicConfig(level=logging.DEBUG, format='later %(message)s', force=True)"),
    "a level later": (BASIC, "log.setLevel(logging.WARNING)"),
    "disabled": (BASIC, "logging.disable(logging.INFO)"),
}


@pytest.mark.parametrize("name", SETUPS)
def test_all_jobs_log_the_same(tmp_path: Path, name: str) -> None:
    at_import, in_script = SETUPS[name]
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "main.py").write_text(JOBS + at_import + "\n" + WORK.replace("SETUP", in_script))
    env = {key: value for key, value in os.environ.items() if not key.startswith("OUTLAST_")}
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    said = re.sub(r"(?m)^.*Using selector.*\n", "", done.stderr)  # of asyncio, when a loop is made
    _, loop, thread, process, _ = re.sub(r"job \S+", "job ID", said).split("--\n")
    assert loop == thread == process, done.stderr
    assert "here warning" in process
    if (tmp_path / "app.log").exists():
        lines = (tmp_path / "app.log").read_text().splitlines()
        assert len(lines) == 12
        assert lines[:4] == lines[4:8] == lines[8:]


async def test_under_a_supervisor_an_isolated_job_logs_in_the_commands_format(tmp_path: Path) -> None:
    project = Project(tmp_path, JOBS)
    assert project.run("call", "main:shop", "in_process").code == 0
    with project.running("worker", "main:shop") as running:
        await until(lambda: "here error" in running.text, "it has run")
    lines = [line for line in running.text.splitlines() if "here " in line]
    assert [re.sub(r"^[\d-]+ [\d:,]+ ", "", line) for line in lines] == [
        "INFO outlast.job: here ctx",
        "INFO myapp.jobs: here info",
        "WARNING myapp.jobs: here warning",
        "ERROR myapp.jobs: here error",
    ]
    assert "ZeroDivisionError" in running.text
