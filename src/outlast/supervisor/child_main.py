"""The main program of a worker process: `python -m outlast.supervisor.child_main CONFIG`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from random import Random
from typing import Final

import msgspec

from outlast.aio.frames import pack, read_frame
from outlast.aio.tasks import cancel
from outlast.core.backoff import Exponential
from outlast.core.errors import ConfigurationError, StoreCorrupt, StoreError, StoreMoved
from outlast.core.exitcodes import CLEAN, CONFIG, FAILED, STALLED, STORE
from outlast.core.message import Holder
from outlast.supervisor.messages import Losses, QueueAlarm, StopWorker, WorkerConfig, WorkerHello, decode, encode
from outlast.worker.job_map import SharedJobMap
from outlast.worker.ports import RuntimePort
from outlast.worker.slot_groups import AHEAD
from outlast.worker.store_link import StoreStalled
from outlast.worker.target import AppPort, load_app
from outlast.worker.worker import Worker

__all__ = ["log_plainly", "main"]

_logger = logging.getLogger("outlast.worker")
_PAUSE: Final = Exponential(base=0.2, cap=5.0)
_EXIT: Final = 5.0


_SWITCH: Final = 0.0001
"""Seconds after which the store's thread gets the GIL from a busy event loop, many times per transaction. With Python's
own 5 ms it waited until the batch had run, so that the two took turns instead of running concurrently."""


def main() -> None:
    """Import the app, work until stopped, and exit with a code of `exitcodes`."""
    config = msgspec.json.decode(sys.argv[1].encode(), type=WorkerConfig)
    try:
        app = _load(config.target)
        log_plainly()
        sys.setswitchinterval(_SWITCH)
        code = asyncio.run(_SupervisedWorker(config, app).run())
    except ConfigurationError as error:
        log_plainly()
        _logger.error("%s", error)  # noqa: TRY400 - the message is for the operator
        code = CONFIG
    except Exception:
        log_plainly()
        _logger.exception("the worker process failed")
        code = FAILED
    # A thread of the app's own that never ends must not keep a stopped worker alive.
    threading.Thread(target=_leave, args=(code,), daemon=True).start()
    sys.exit(code)


def _load(target: str) -> AppPort:
    try:
        return load_app(target)
    except (SyntaxError, ImportError, AttributeError) as error:
        # The next start would fail too. Other errors, such as a server that is away, may be temporary.
        log_plainly()
        _logger.exception("the target cannot be imported")
        raise ConfigurationError(f"target {target!r} cannot be imported: {type(error).__name__}: {error}") from error


def log_plainly() -> None:
    """Log INFO and above to stderr, unless the app has set up logging."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def _leave(code: int) -> None:
    time.sleep(_EXIT)
    logging.shutdown()
    os._exit(code)


class _SupervisedWorker:
    """Connects the worker with the supervisor's messages and with signals, on the event loop."""

    def __init__(self, config: WorkerConfig, app: AppPort) -> None:
        self._config = config
        self._app = app
        self._stop = asyncio.Event()
        self._grace_over = False
        self._orphaned = False
        self._worker: Worker | None = None

    async def run(self) -> int:
        """Run the worker; return the exit code."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            # Only stop, also at a second signal: a signal to a whole service reaches this process and the supervisor,
            # so only the supervisor can tell a second one. It sends a message then.
            loop.add_signal_handler(name, self._stop.set)
        # The supervisor handles it: sent to the whole service, it must not kill workers during a run.
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=self._config.control_fd))
        messages = loop.create_task(self._handle_messages(reader))
        try:
            runtime = await self._open()
            if runtime is None:
                return CLEAN
            return await self._work(runtime, writer)
        except (StoreCorrupt, StoreMoved) as error:
            _logger.error("%s", error)  # noqa: TRY400 - the message is for the operator
            return STORE
        except StoreStalled:
            return STALLED
        finally:
            await cancel(messages)
            await self._app.close()
            writer.close()

    async def _open(self) -> RuntimePort | None:
        """Open the store, also after an outage; return None when the worker is stopped before."""
        attempt, logged = 0, ""
        while not self._stop.is_set():
            try:
                return await self._app.runtime()
            except StoreCorrupt:
                raise
            except StoreError as error:
                attempt += 1
                if str(error) != logged:  # once per reason: an outage may last
                    logged = str(error)
                    _logger.warning("the store cannot be opened yet, the worker tries again: %s", error)
            try:
                # No seed: the pause must only differ from that of the other processes.
                await asyncio.wait_for(self._stop.wait(), _PAUSE.delay(attempt, Random()))  # noqa: S311
            except TimeoutError:
                continue
        return None

    async def _work(self, runtime: RuntimePort, writer: asyncio.StreamWriter) -> int:
        config, settings = self._config, runtime.settings
        if not runtime.store.broker.capabilities.shared:
            raise ConfigurationError(
                f"url={settings.url!r} is seen by one process only, so a worker process finds no jobs in it: "
                "give 'sqlite:PATH', or use `outlast dev`, which runs the API and the worker in one process"
            )
        concurrency = settings.concurrency if config.concurrency is None else config.concurrency
        size = 2 * concurrency * (1 + AHEAD)  # the jobs held, and a batch that is being settled
        SharedJobMap.grow(config.map_fd, size)
        job_map = SharedJobMap(config.map_fd, size)
        worker = self._worker = Worker(
            runtime,
            queues=config.queues,
            concurrency=concurrency,
            threads=config.threads,
            processes=config.isolated,
            holder=Holder(config.holder, f"{socket.gethostname()}:{os.getpid()}"),
            job_map=job_map,
            target=config.target,
        )
        hello = WorkerHello(
            url=settings.url,
            max_body=settings.max_body,
            map_size=size,
            lease=settings.lease,
            drain_grace=settings.drain_grace,
            recycle_jobs=settings.recycle_jobs,
            recycle_age=settings.recycle_age,
            recycle_memory=settings.recycle_memory,
        )
        writer.write(pack(encode(hello)))
        if self._orphaned:
            worker.orphaned()
        if self._grace_over:
            worker.end_grace()
        await worker.run(self._stop)
        return CLEAN

    async def _handle_messages(self, reader: asyncio.StreamReader) -> None:
        while (frame := await read_frame(reader)) is not None:
            worker = self._worker
            match decode(frame):
                case StopWorker(end_grace):
                    self._stop.set()
                    self._grace_over = self._grace_over or end_grace
                    if end_grace and worker is not None:
                        worker.end_grace()
                case Losses(lost) if worker is not None:
                    worker.lose(lost)
                case QueueAlarm(event) if worker is not None:
                    worker.emit(event)
        _logger.warning("the supervisor has ended: this worker finishes its running jobs and exits")
        self._orphaned = True
        if self._worker is not None:
            self._worker.orphaned()
        self._stop.set()


if __name__ == "__main__":
    main()
