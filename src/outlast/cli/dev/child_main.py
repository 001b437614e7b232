"""The child of `outlast dev`: API and worker in one loop; runs as `python -m outlast.cli.dev.child_main CONFIG`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from outlast.aio.exits import exit_within
from outlast.aio.loops import complete
from outlast.aio.signals import handle
from outlast.aio.tasks import cancel
from outlast.cli.dev.apps import DevApps, load
from outlast.cli.dev.ignored import advise_ignoring, missing_file
from outlast.cli.dev.log import JobLines, log_for_people, show_banner, show_end
from outlast.cli.dev.messages import DevChildConfig, Order, decode
from outlast.cli.output.show import note
from outlast.core.errors import ConfigurationError, OutlastError, StoreError, UnsafeStore
from outlast.core.exitcodes import CLEAN, CONFIG, FAILED, STORE
from outlast.core.text import clean

if TYPE_CHECKING:
    from outlast.app import Outlast
    from outlast.observe.history import HistoryKeeper
    from outlast.worker import Worker

__all__ = ["main"]

_RELOAD_GRACE: Final = 1.0
"""Seconds that running jobs have to end before a reload; then they are released and keep their attempts."""
_EXIT_TIMEOUT: Final = 5.0


def main() -> None:
    """Import the app, serve it and run its jobs until an order to stop; exit with a code of core.exitcodes."""
    config = msgspec.json.decode(sys.argv[1].encode(), type=DevChildConfig)
    # Ctrl-C on a terminal reaches every foreground process: the parent handles it.
    handle(lambda *_: None, signal.SIGINT)
    orders = _ParentOrders(config.orders_fd)
    log_for_people()
    try:
        found = load(config.target, config.jobs)
        with asyncio.Runner() as runner:
            code = complete(runner.get_loop(), _serve(config, found, orders))
    except (ConfigurationError, StoreError) as error:
        if error.__cause__ is not None and not isinstance(error.__cause__, OutlastError):
            traceback.print_exception(error.__cause__)
        note(f"outlast: {clean(str(error))}")
        code = STORE if isinstance(error, StoreError | UnsafeStore) else CONFIG
        if error.__cause__ is not None and code == CONFIG:
            code = FAILED  # an error of the user's code: the next change may fix it
    except Exception:
        traceback.print_exc()
        code = FAILED
    # Otherwise a thread of the app that never ends would keep the child alive.
    exit_within(_EXIT_TIMEOUT, code)
    sys.exit(code)


class _ParentOrders:
    """Reads the parent's orders in a thread, so that they arrive during a long import and while the loop is blocked."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: Callable[[Order], None] | None = None
        self._lock = threading.Lock()
        threading.Thread(target=self._read, name="outlast-dev-orders", daemon=True).start()

    def _read(self) -> None:
        while True:
            data = os.read(self._pipe, 64)
            for order in decode(data):
                with self._lock:
                    if self._loop is None or self._handle is None:
                        os._exit(CLEAN)  # no store is open yet
                    with contextlib.suppress(RuntimeError):  # the loop is closed: the child is exiting
                        self._loop.call_soon_threadsafe(self._handle, order)
            if not data:
                exit_within(_EXIT_TIMEOUT, CLEAN)
                return

    def deliver_to(self, handle: Callable[[Order], None]) -> None:
        """Call `handle` with each further order, on the running loop."""
        with self._lock:
            self._loop, self._handle = asyncio.get_running_loop(), handle


async def _serve(config: DevChildConfig, found: DevApps, orders: _ParentOrders) -> int:
    services = _DevServices()
    orders.deliver_to(services.on_order)
    loop = asyncio.get_running_loop()
    handle(lambda *_: loop.call_soon_threadsafe(services.on_order, "stop"), signal.SIGTERM)
    lines = JobLines()
    created = [file for app in found.apps if (file := missing_file(app)) is not None]
    for app in found.apps:
        app.observe(lines.observe)
        await services.add_worker(app, found.module)
    for file in created:
        await asyncio.to_thread(advise_ignoring, file)
    if config.first:
        listener = None if found.asgi is None else socket.socket(fileno=os.dup(config.port_fd))
        await show_banner(found.apps, listener)
    api = None if found.asgi is None else _start_api(found.asgi, config.port_fd)
    try:
        return await services.run(api)
    finally:
        for app in found.apps:
            await app.close()
        if not services.reloading:
            show_end(lines)


def _start_api(asgi: Any, port_fd: int) -> tuple[Any, asyncio.Task[None]]:
    import uvicorn

    class Server(uvicorn.Server):
        """Handles no signals, and raises _StartupFailed if the start-up fails."""

        @contextlib.contextmanager
        def capture_signals(self) -> Any:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            try:
                await super().startup(sockets=sockets)
            except SystemExit:
                raise _StartupFailed from None

    server = Server(uvicorn.Config(asgi, log_config=None, timeout_graceful_shutdown=2))
    sockets = [socket.socket(fileno=port_fd)]
    return server, asyncio.get_running_loop().create_task(server.serve(sockets=sockets), name="outlast dev api")


class _StartupFailed(Exception):
    """The start-up of the app raised; the server has logged the error."""


class _DevServices:
    """Runs the API and the workers of one child until an order to stop."""

    def __init__(self) -> None:
        self._workers: list[Worker] = []
        self._histories: list[HistoryKeeper] = []
        self._stop = asyncio.Event()
        self.reloading = False
        """Whether a successor starts when this process ends."""

    def on_order(self, order: Order) -> None:
        """Handle an order of the parent."""
        self._stop.set()
        if order == "reload":
            self.reloading = True
            asyncio.get_running_loop().call_later(_RELOAD_GRACE, self._end_grace)
        elif order == "hurry":
            self._end_grace()

    def _end_grace(self) -> None:
        for worker in self._workers:
            worker.end_grace()

    async def add_worker(self, app: Outlast, module: str) -> None:
        """Open the app's store and add a worker for it; raise StoreError, ConfigurationError.

        module: what its child processes import too.
        """
        from outlast.observe.history import history_of
        from outlast.worker import Worker

        runtime = await app.runtime()
        self._workers.append(Worker(runtime, imports=[module]))
        self._histories.append(history_of(runtime))

    async def run(self, api: tuple[Any, asyncio.Task[None]] | None) -> int:
        """Run the API and the workers until an order to stop, or until one of them ends; return the exit code."""
        loop = asyncio.get_running_loop()
        workers = [loop.create_task(worker.run(self._stop)) for worker in self._workers]
        stop = loop.create_task(self._stop.wait())
        histories = [loop.create_task(each.run("outlast dev")) for each in self._histories]
        server = [] if api is None else [api[1]]
        await asyncio.wait((stop, *workers, *server), return_when=asyncio.FIRST_COMPLETED)
        # Workers first: the shutdown of the API closes the shared store, and jobs may still call the API.
        self._stop.set()
        stop.cancel()
        await asyncio.gather(stop, *workers, return_exceptions=True)
        await cancel(*histories)
        if api is not None:
            api[0].should_exit = True
        results = await asyncio.gather(*workers, *server, return_exceptions=True)
        return _exit_code(results)


def _exit_code(results: Sequence[BaseException | None]) -> int:
    for result in results:
        if isinstance(result, _StartupFailed):
            return FAILED
        if isinstance(result, StoreError):
            return STORE
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            logging.getLogger("outlast.dev").error("the API or a worker failed", exc_info=result)
            return FAILED
    return CLEAN


if __name__ == "__main__":
    main()
