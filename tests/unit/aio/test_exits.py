"""A process ends in bounded time, whatever its log and its threads do."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import logging, threading, time
from outlast.aio.exits import exit_within

class Stuck(logging.Handler):
    def flush(self):
        {flush}

handler = Stuck()
held = threading.Event()

def hold():
    with handler.lock:
        held.set()
        threading.Event().wait()

if {locked}:
    threading.Thread(target=hold, daemon=True).start()
    held.wait()
exit_within(0, 7)
threading.Event().wait()
"""


@pytest.mark.parametrize(
    ("flush", "locked"), [("pass", False), ("raise RuntimeError", False), ("raise SystemExit", False), ("pass", True)]
)
def test_a_handler_of_the_log_keeps_no_process_alive(flush: str, locked: bool) -> None:
    program = _PROGRAM.format(flush=flush, locked=locked)
    assert subprocess.run([sys.executable, "-c", program], stderr=subprocess.DEVNULL, timeout=60).returncode == 7
