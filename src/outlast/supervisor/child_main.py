"""The main program of a worker process: `python -m outlast.supervisor.child_main CONFIG`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
import sys
from collections.abc import Sequence
from random import Random
from typing import Final, NoReturn

import msgspec

from outlast.aio.exits import closed_within, exit_within
from outlast.aio.frames import pack, read_frame
from outlast.aio.loops import complete
from outlast.aio.signals import ignore_stops
from outlast.aio.tasks import cancel
from outlast.core.backoff import Exponential
from outlast.core.errors import ConfigurationError, StoreCorrupt, StoreError, StoreMoved
from outlast.core.exitcodes import CLEAN, CONFIG, FAILED, STALLED, STORE
from outlast.core.message import Holder
from outlast.core.text import counted
from outlast.core.urls import redact_url
from outlast.meters import meters
from outlast.observe.log_form import log_as_asked, log_events_as_asked
from outlast.supervisor.messages import Losses, QueueAlarm, StopWorker, WorkerConfig, WorkerHello, decode, encode
from outlast.worker.job_map import SharedJobMap
from outlast.worker.lifecycle import HookFailed
from outlast.worker.ports import RuntimePort
from outlast.worker.purpose import lacks_jobs
from outlast.worker.slot_groups import AHEAD
from outlast.worker.store_link import StoreStalled
from outlast.worker.target import AppPort, load_app
from outlast.worker.worker import Worker

__all__ = ["collect_less", "main"]

_logger = logging.getLogger("outlast.worker")
_PAUSE: Final = Exponential(base=0.2, cap=5.0)
_EXIT: Final = 5.0
_CLOSE: Final = 1.0
_REPARENTED_TRIES: Final = 100
_REPARENTED_PAUSE: Final = 0.02


_SWITCH: Final = 0.0001
"""Seconds after which the store's thread gets the GIL from a busy event loop, many times per transaction. With Python's
own 5 ms it waited until the batch had run, so that the two took turns instead of running concurrently."""
_GC_THRESHOLD: Final = 10_000
"""Objects made, beyond those freed, between two searches for cycles."""
_GC_DEFAULTS: Final = frozenset((700, 2000))
"""Python's own thresholds, by version."""


def main() -> None:
    """Import the app, work until stopped, and exit with a code of `exitcodes`."""
    ignore_stops()
    config = msgspec.json.decode(sys.argv[1].encode(), type=WorkerConfig)
    _share_meters(config.meters_fd)
    try:
        app = _load(config.target)
        log_as_asked()
        log_events_as_asked(app)
        ignore_stops()  # again: the app may have set handlers
        sys.setswitchinterval(_SWITCH)
        collect_less()
    except ConfigurationError as error:
        log_as_asked()
        _logger.error("%s", error)  # noqa: TRY400 - the message is for the operator
        code = CONFIG
    except Exception:
        log_as_asked()
        _logger.exception("the worker process failed")
        code = FAILED
    else:
        code = _work(_SupervisedWorker(config, app))
    sys.exit(code)


def _share_meters(fd: int) -> None:
    """Count in memory that the supervisor reads, from now on, also after the end of this process. fd: below 0 for none.

    What fails here costs the metrics of this process only.
    """
    if fd < 0:
        return
    try:
        meters.share(fd)
        os.close(fd)
    except (OSError, ValueError) as error:
        _logger.warning("the metrics of this worker process cannot be read: %s", error)


def collect_less() -> None:
    """Let the garbage collector look less often, and never at what the import made, unless the app has tuned it.

    A batch makes thousands of objects that reference counts free; with Python's threshold (700 in 3.11) the searches
    for cycles among them took a tenth of the CPU of a drain.
    """
    if gc.isenabled() and gc.get_threshold()[0] in _GC_DEFAULTS:
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD, *gc.get_threshold()[1:])


def _work(worker: _SupervisedWorker) -> int:
    """Run the worker to the end that it chose, and return its exit code."""
    runner = asyncio.Runner()
    try:
        code = complete(runner.get_loop(), worker.run())
    except BaseException as error:  # its task was cancelled, or the event loop itself failed
        with contextlib.suppress(BaseException):
            _logger.critical("the event loop of the worker failed", exc_info=error)
        _die(f"its event loop ended with {type(error).__name__}")
    # A thread or a task of the app that never ends must not keep a stopped worker alive.
    exit_within(_EXIT, code)
    with contextlib.suppress(BaseException):  # such as the SystemExit of a task that is cancelled now
        runner.close()
    return code


def _die(why: str) -> NoReturn:
    """End this process at once, because the code of a job has broken the worker.

    Nothing more is written to the store, and the job map stays as it is: by it the supervisor finds out which jobs had
    started, and counts a crash for them.
    """
    with contextlib.suppress(BaseException):  # a handler of the log is the app's
        _logger.critical("the worker process ends at once: %s", why)
    os._exit(FAILED)


def _load(target: str) -> AppPort:
    try:
        return load_app(target)
    except (SyntaxError, ImportError, AttributeError) as error:
        # The next start would fail too. Other errors, such as a server that is away, may be temporary.
        log_as_asked()
        _logger.exception("the target cannot be imported")
        raise ConfigurationError(f"target {target!r} cannot be imported: {type(error).__name__}: {error}") from error


class _SupervisedWorker:
    """Connects the worker with the supervisor's messages and with signals, on the event loop."""

    def __init__(self, config: WorkerConfig, app: AppPort) -> None:
        self._config = config
        self._app = app
        self._stop = asyncio.Event()
        self._worker: Worker | None = None
        self._job_map: SharedJobMap | None = None

    async def run(self) -> int:
        """Run the worker until an order to stop, or its own verdict; return the exit code: FAILED is no verdict.

        Only the supervisor stops it. A signal does nothing: sent to the whole service it reaches the supervisor too,
        and sent to this process alone, by the code of a job, it must not end the other jobs.
        """
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=self._config.control_fd))
        messages = loop.create_task(self._handle_messages(reader), name="outlast messages")
        messages.add_done_callback(_check_messages)
        code = await self._run(writer)
        if self._job_map is not None and code != FAILED:
            self._job_map.leave()
        messages.remove_done_callback(_check_messages)
        await cancel(messages)
        if not await closed_within(_CLOSE, self._app.close()):
            exit_within(_CLOSE / 2, code)
        writer.close()
        return code

    async def _run(self, writer: asyncio.StreamWriter) -> int:
        head = SharedJobMap(self._config.map_fd, 0)
        head.opens()
        head.close()
        try:
            runtime = await self._open()
            if runtime is not None:
                await self._work(runtime, writer)
        except (ConfigurationError, StoreCorrupt, StoreMoved) as error:
            _logger.error("%s", error)  # noqa: TRY400 - the message is for the operator
            return STORE if isinstance(error, StoreCorrupt) else CONFIG
        except StoreStalled:
            return STALLED
        except HookFailed:
            return FAILED
        except Exception:
            _logger.exception("the worker process failed")
            return FAILED
        return CLEAN

    async def _open(self) -> RuntimePort | None:
        """Open the store, also after an outage; return None when the worker is stopped before."""
        attempt, logged = 0, ""
        while not self._stop.is_set():
            try:
                runtime = await self._app.runtime()
                return None if self._stop.is_set() else runtime
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

    async def _work(self, runtime: RuntimePort, writer: asyncio.StreamWriter) -> None:
        config, settings = self._config, runtime.settings
        if not runtime.store.broker.capabilities.shared:
            raise ConfigurationError(
                f"url={settings.url!r} is seen by one process only, so a worker process finds no jobs in it: "
                "give 'sqlite:PATH', or use `outlast dev`, which runs the API and the worker in one process"
            )
        if why := lacks_jobs(runtime.registry):
            raise ConfigurationError(why)
        concurrency = settings.concurrency if config.concurrency is None else config.concurrency
        size = 2 * concurrency * (1 + AHEAD)  # the jobs held, and a batch that is being settled
        SharedJobMap.grow(config.map_fd, size)
        job_map = self._job_map = SharedJobMap(config.map_fd, size)
        worker = self._worker = Worker(
            runtime,
            queues=config.queues,
            concurrency=concurrency,
            threads=config.threads,
            processes=config.isolated,
            holder=Holder(config.holder, f"{socket.gethostname()}:{os.getpid()}"),
            job_map=job_map,
            target=config.target,
            torn=_die,
        )
        hello = WorkerHello(
            url=settings.url,
            max_body=settings.max_body,
            map_size=size,
            lease=settings.lease,
            drain_grace=settings.drain_grace,
            queues=worker.queues,
            recycle_jobs=settings.recycle_jobs,
            recycle_age=settings.recycle_age,
            recycle_memory=settings.recycle_memory,
            about=_about(runtime, config.queues),
            leases=runtime.store.broker.capabilities.leases,
            app=runtime.app_name,
            objectives={name: queue.objective for name, queue in runtime.registry.queues.items()},
            kinds=runtime.registry.kinds_by_queue(),
            listen=settings.listen,
        )
        writer.write(pack(encode(hello)))
        await worker.run(self._stop)

    async def _handle_messages(self, reader: asyncio.StreamReader) -> None:
        while (frame := await read_frame(reader)) is not None:
            worker = self._worker
            match decode(frame):
                case StopWorker(end_grace):
                    self._stop.set()
                    if end_grace and worker is not None:
                        worker.end_grace()
                case Losses(lost) if worker is not None:
                    worker.lose(lost)
                case QueueAlarm(event) if worker is not None:
                    worker.emit(event)
        if not await self._is_orphan():
            _die("its socket to the supervisor was closed, which only the code of a job can cause")
        _logger.warning("the supervisor has ended: this worker finishes its running jobs and exits")
        if self._worker is not None:
            self._worker.orphaned()
        self._stop.set()

    async def _is_orphan(self) -> bool:
        """Return whether the supervisor has ended: its sockets close a moment before its children get a new parent."""
        for _ in range(_REPARENTED_TRIES):
            if os.getppid() != self._config.supervisor:
                return True
            await asyncio.sleep(_REPARENTED_PAUSE)
        return False


def _about(runtime: RuntimePort, queues: Sequence[str] | None) -> str:
    """Return the app, its queues and its store in one line."""
    registry, store = runtime.registry, runtime.store
    kinds = counted(len(registry.kinds), "kind")
    named = ", ".join(sorted(registry.queues if queues is None else queues)) or "none"
    bridge = runtime.settings.amqp_url
    events = f", events by {redact_url(bridge)}" if bridge else ""
    return f"app {runtime.app_name}, {kinds}, queues {named}, store {redact_url(store.url)}, " + (
        f"durability {store.broker.capabilities.durability}{events}"
    )


def _check_messages(task: asyncio.Task[None]) -> None:
    if task.cancelled() or task.exception() is not None:
        _die(f"the task {task.get_name()!r} was ended")


if __name__ == "__main__":
    main()
