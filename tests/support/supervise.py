"""A supervisor as a process of its own: `python -m tests.support.supervise TARGET OPTIONS`, options as JSON."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.support.family import end_all, family_of

__all__ = ["Supervised", "supervised"]


class Supervised:
    """A running supervisor and what it writes."""

    def __init__(
        self, target: str, environ: Mapping[str, str], log: Path, options: dict[str, Any], stdin: int | None = None
    ) -> None:
        self.log = log
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.supervise", target, json.dumps(options)],
                env={**os.environ, **environ},
                stdin=stdin,
                stderr=sink,
                start_new_session=True,
            )
        self.everyone = psutil.Process(self.process.pid)

    def workers(self) -> list[int]:
        """The pids of its worker processes."""
        with suppress(psutil.NoSuchProcess):
            return [each.pid for each in self.everyone.children()]
        return []

    def family(self) -> list[psutil.Process]:
        """The supervisor and everything below it."""
        return family_of(self.everyone)

    def signal_all(self, number: int) -> None:
        """Send a signal to each of them, the supervisor first."""
        for each in self.family():
            with suppress(psutil.NoSuchProcess):
                each.send_signal(number)


@contextmanager
def supervised(
    target: str, environ: Mapping[str, str], log: Path, *, stdin: int | None = None, **options: Any
) -> Iterator[Supervised]:
    """Run a supervisor within the block; whatever of it is left at the end is killed.

    subreaper=True: orphans below it become its children, as those of PID 1 in a container do.
    """
    running = Supervised(target, environ, log, options, stdin)
    try:
        yield running
    finally:
        end_all(running.process, running.everyone)


if __name__ == "__main__":
    from outlast.supervisor.supervisor import Supervisor
    from outlast.worker.plain_log import log_plainly

    log_plainly()
    options = json.loads(sys.argv[2])
    if options.pop("subreaper", False):
        assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
    sys.exit(Supervisor(sys.argv[1], **options).serve())
