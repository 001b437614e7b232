"""What the log of a worker has of a failed run, for people and for error trackers."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Iterator
from typing import Annotated, Any

import pytest

from outlast import CallNext, Constant, Context, Outlast, Redacted, Retry
from outlast.settings import Settings
from outlast.worker.report import FailedRun
from tests.support.apps.hostile_app import ERRORS
from tests.support.apps.isolated_app import build_jobs
from tests.support.command import Project
from tests.support.polling import until
from tests.support.working import record, working

ONCE = Retry(attempts=1)
TWICE = Retry(attempts=2, backoff=Constant(0))
SECRET = "hunter2-Zq9x"
FORGED = "2026-01-01 00:00:00,000 INFO outlast.worker: job q.payment (charge) succeeded"
TYPED = f"x\x1b]0;title\x07\x1b[2J\r\n{FORGED}\u2028{FORGED}\u202e\x9b"


class Kept(logging.Handler):
    """Keeps the records of runs, and the text that a plain formatter makes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.text = io.StringIO()
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "job"):  # on a busy machine, others tell of slow stores
            self.records.append(record)
            self.text.write(self.format(record) + "\n")


@pytest.fixture
def kept() -> Iterator[Kept]:
    """All records of Outlast from INFO on."""
    handler, logger = Kept(), logging.getLogger("outlast")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def shown(record: logging.LogRecord) -> tuple[Any, ...]:
    """Return what an error tracker takes from a record besides its exception."""
    return tuple(getattr(record, name) for name in ("levelname", "job", "queue", "kind", "attempt"))


def frames(record: logging.LogRecord) -> list[str]:
    """Return the names of the functions in its traceback, outermost first."""
    assert record.exc_info is not None
    names, trace = [], record.exc_info[2]
    while trace is not None:
        names.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    return names


async def test_the_record_of_a_failed_run_has_its_exception_and_its_job(app: Outlast, kept: Kept) -> None:
    @app.middleware
    async def around(ctx: Context, call_next: CallNext) -> Any:
        return await call_next()

    @app.job(retry=TWICE)
    async def charge(order: int) -> None:
        raise ConnectionError("the provider is away")

    @app.job(retry=TWICE, queue="slow")
    def scan(order: int) -> None:
        raise LookupError("no such file") from ValueError("x")

    @app.job
    async def works() -> None: ...

    async with working(app):
        first = await record(app, await charge.enqueue(7))
        second = await record(app, await scan.enqueue(7))
        await record(app, await works.enqueue())
    told = [(*shown(each), each.exc_info and type(each.exc_info[1])) for each in kept.records]
    assert told == [
        ("WARNING", first.id, "default", "charge", 1, ConnectionError),
        ("ERROR", first.id, "default", "charge", 2, ConnectionError),
        ("WARNING", second.id, "slow", "scan", 1, LookupError),
        ("ERROR", second.id, "slow", "scan", 2, LookupError),
    ]
    ends = [(names[0], names[-1]) for names in map(frames, kept.records)]
    assert ends == [("around", "charge")] * 2 + [("around", "scan")] * 2
    for each in kept.records:
        assert f"job {each.job} ({each.kind})" in each.getMessage()  # type: ignore[attr-defined]
        assert f"attempt {each.attempt}" in each.getMessage()  # type: ignore[attr-defined]
    assert "was the direct cause" in kept.text.getvalue()


async def test_a_run_without_an_exception_here_is_named_as_well(isolated: Outlast, kept: Kept) -> None:
    @isolated.job(timeout=0.1, retry=ONCE)
    async def hangs() -> None:
        await asyncio.Event().wait()

    async with working(isolated, target="tests.support.apps.isolated_app:app"):
        failed = await record(isolated, await build_jobs["fails"].enqueue("value"))
        died = await record(isolated, await build_jobs["dies"].enqueue("signal"))
        late = await record(isolated, await hangs.enqueue())
    by_job = {shown(record)[1]: record for record in kept.records if record.levelname == "ERROR"}
    assert {job: shown(each)[3:] for job, each in by_job.items()} == {
        failed.id: ("fails", 1),
        died.id: ("dies", 2),
        late.id: ("hangs", 1),
    }
    # The exception is in another process: its text is here.
    info = by_job[failed.id].exc_info
    assert info is not None
    assert isinstance(info[1], FailedRun)
    assert str(info[1]) == "ValueError: not retried"
    assert "isolated_app.py" in kept.text.getvalue()
    assert not by_job[died.id].exc_info
    assert not by_job[late.id].exc_info
    assert "(SIGKILL)" in by_job[died.id].getMessage()
    assert "timeout=0.1" in by_job[late.id].getMessage()


@pytest.mark.parametrize("way", ["async", "thread"])
async def test_a_record_never_has_what_is_redacted(way: str, app: Outlast, kept: Kept) -> None:
    """Error trackers send the variables of each frame, so there are no frames."""

    def fails(login: dict[str, str]) -> None:
        password = login.pop("password")
        error = type(f"No_{password}", (Exception,), {})(password.strip())
        error.add_note(f"tried {password!r}")
        raise error from ExceptionGroup(password.upper(), [KeyError(password)])

    if way == "async":

        @app.job(retry=TWICE)
        async def logs_in(login: Annotated[dict[str, str], Redacted]) -> None:
            fails(login)

    else:

        @app.job(retry=TWICE)
        def logs_in(login: Annotated[dict[str, str], Redacted]) -> None:
            fails(login)

    async with working(app):
        found = await record(app, await logs_in.enqueue({"user": "anna", "password": f" {SECRET}\n"}))
    assert [each.type for each in found.failures] == ["No_[redacted]"] * 2
    assert SECRET.lower() not in repr(found.failures).lower()
    assert len(kept.records) == 2
    for each in kept.records:
        assert each.exc_info is not None
        assert isinstance(each.exc_info[1], FailedRun)
        assert frames(each) == []
        assert each.exc_info[1].__context__ is None
        assert shown(each)[1:4] == (found.id, "default", "logs_in")
    assert SECRET.lower() not in kept.text.getvalue().lower()
    assert "No_[redacted]: [redacted]" in kept.text.getvalue()
    assert "in fails" in kept.text.getvalue()


async def test_the_message_of_a_record_is_one_line_whatever_a_job_says(app: Outlast, kept: Kept) -> None:
    """Also where the app has a format of its own."""

    @app.job(retry=TWICE)
    async def greet(name: str) -> None:
        raise type(name, (ValueError,), {})(f"no such visitor: {name}")

    async with working(app):
        await record(app, await greet.enqueue(TYPED))
    assert len(kept.records) == 2
    for each in kept.records:
        assert each.getMessage().isprintable()
        assert "no such visitor" in each.getMessage()


@pytest.mark.parametrize("word", ERRORS)
async def test_the_exception_of_a_record_can_be_formatted(word: str, app: Outlast, kept: Kept) -> None:
    """A group that is in itself many times would take a handler of the log for ever, half a character raises."""

    @app.job(retry=ONCE)
    async def fails() -> None:
        raise ERRORS[word]()

    async with working(app):
        found = await record(app, await fails.enqueue())
    (told,) = kept.records
    assert shown(told) == ("ERROR", found.id, "default", "fails", 1)
    assert told.exc_info
    assert kept.text.getvalue().encode()


MAIN = """import logging
import logging.config
from outlast import Outlast, Retry
{setup}
shop = Outlast("shop")

@shop.job(retry=Retry(attempts=1))
async def greet(name: str) -> None:
    logging.getLogger("myapp.orders").info("a line with a handler")
    logging.getLogger("other").warning("a line without one: %s", name)
    raise ValueError(f"no such visitor: {{name}}")
"""
OWN = """
handler = logging.StreamHandler()
handler.setFormatter(logging.Formatter("OWN %(message)s"))
logging.getLogger("myapp").addHandler(handler)
logging.getLogger("myapp").setLevel("INFO")
"""
DISABLING = "logging.config.dictConfig({'version': 1})"


@pytest.mark.parametrize(
    "command", [("worker", "main:shop"), ("dev", "main:shop", "--port", "0")], ids=["worker", "dev"]
)
@pytest.mark.parametrize("setup", ["", OWN, DISABLING], ids=["nothing", "a handler", "dictConfig"])
async def test_the_log_of_a_command(command: tuple[str, ...], setup: str, project: Project) -> None:
    """Each line comes once, none is lost, and a job writes none that begins as the log's own do."""
    project.write("main.py", MAIN.format(setup=setup))
    with project.running(*command) as worker:
        sender = Outlast("shop", settings=Settings(url=project.url))

        @sender.job(retry=ONCE)
        async def greet(name: str) -> None: ...

        async with sender:
            await record(sender, await greet.enqueue(TYPED))
        await until(lambda: "is dead" in worker.text and "raise ValueError" in worker.text, "the failure is told")
    text = worker.log.read_bytes().decode()
    assert text.count("a line with a handler") == 1
    assert text.count("a line without one") == 1
    assert ("OWN a line with a handler" in text) == (setup == OWN)
    assert text.count("is dead (attempts) after attempt 1: ValueError: no such visitor") == 1
    assert not [line for line in text.splitlines() if line.startswith(FORGED)]
    assert not {"\x1b", "\x07", "\r", "\u202e", "\x9b", "\u2028"} & set(text)
