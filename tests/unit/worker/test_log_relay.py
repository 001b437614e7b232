"""The relay of log records from a child process to the handlers of its worker."""

from __future__ import annotations

import logging
import os
from typing import Any

import pytest
from msgspec import Raw

from outlast.worker.isolation.log_relay import apply_setup, handle_record, log_setup
from outlast.worker.isolation.messages import ChildLog, LogSetup, decode_child, encode


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


class Kept(logging.Handler):
    """Keeps what it gets; raises at the word."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == "raise":
            raise RuntimeError
        self.records.append(record)


@pytest.fixture
def relayed(request: pytest.FixtureRequest) -> Any:
    """A logger whose records go through a relay to the handler of another."""
    there = logging.getLogger(request.node.name)
    kept = Kept()
    there.addHandler(kept)
    there.setLevel(logging.DEBUG)
    (setup,) = (each for each in log_setup().loggers if each.name == there.name)
    there.removeHandler(kept)

    def send(message: ChildLog) -> None:
        again = decode_child(encode(message))
        assert isinstance(again, ChildLog)
        relays = there.handlers[:]
        there.handlers[:] = [kept]
        try:
            handle_record(again)
        finally:
            there.handlers[:] = relays

    apply_setup(LogSetup((setup,)), send)
    here = logging.Logger("child")  # outside of the tree, where pytest listens
    here.handlers = there.handlers[:]
    there.handlers.clear()
    return here, kept


@pytest.mark.parametrize(
    ("text", "extra"),
    [
        ("plain", {"job": "q.1", "attempt": 2}),
        ("lone \ud800", {"file": "caf\udce9"}),
        ("big", {"number": 10**400, "set": {1}, "nan": float("nan"), "bytes": b"\xff"}),
        ("broken", {"value": object(), "nested": [object()], "worse": [[[]]]}),
        ("x" * 3_000_000, {}),
    ],
    ids=["plain", "surrogates", "odd", "objects", "long"],
)
def test_every_record_arrives(relayed: tuple[logging.Logger, Kept], text: str, extra: dict[str, Any]) -> None:
    logger, kept = relayed
    logger.info("%s", text, extra=extra)
    (record,) = kept.records
    assert record.name == logger.name
    assert record.levelno == logging.INFO
    shown = text.encode("utf-8", "backslashreplace").decode()
    assert record.getMessage() == shown[: 1 << 20]
    assert extra.keys() <= vars(record).keys()


def test_a_record_that_cannot_be_written_and_a_handler_that_raises_end_nothing(
    relayed: tuple[logging.Logger, Kept], capsys: pytest.CaptureFixture[str]
) -> None:
    logger, kept = relayed
    logger.info("%s", Broken())
    logger.info("raise")
    logger.info("last", extra={"value": Broken()})
    assert capsys.readouterr().err.count("--- Logging error ---") >= 1
    assert [each.getMessage() for each in kept.records][-1:] == ["last"]


def test_a_forked_copy_of_a_child_process_writes_into_no_socket(
    relayed: tuple[logging.Logger, Kept], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger, kept = relayed
    monkeypatch.setattr(os, "getpid", lambda: 1)
    logger.warning("from a fork")
    assert "WARNING" in (said := capsys.readouterr().err)
    assert "from a fork" in said
    assert not kept.records


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt, GeneratorExit, ValueError])
def test_no_handler_of_the_worker_ends_the_connection_to_the_child(end: type[BaseException]) -> None:
    class Hostile(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise end

        def handleError(self, record: logging.LogRecord) -> None:
            raise end

    logger, hostile, kept = logging.getLogger(f"test.{end.__name__}"), Hostile(), Kept()
    logger.handlers = [hostile, kept]
    for text in ('{"msg":"a","levelno":20}', '{"msg":"b","levelno":"x"}'):
        handle_record(ChildLog(logger.name, [id(hostile), id(kept)], Raw(text.encode())))
    assert [each.msg for each in kept.records] == ["a"]
