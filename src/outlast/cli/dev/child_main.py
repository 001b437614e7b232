"""The child of `outlast dev`: the API and the jobs in one loop: `python -m outlast.cli.dev.child_main CONFIG`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from outlast.cli.dev.apps import Loaded, load
from outlast.cli.dev.log import JobLines, log_for_people, show_banner
from outlast.cli.dev.messages import DevChildConfig, Order, orders
from outlast.cli.output.show import note
from outlast.core.errors import ConfigurationError, OutlastError, StoreError, UnsafeStore
from outlast.core.exitcodes import CLEAN, CONFIG, FAILED, STORE
from outlast.core.text import clean

if TYPE_CHECKING:
    from outlast.app import Outlast
    from outlast.worker import Worker

__all__ = ["main"]

_RELOAD_GRACE: Final = 1.0
"""Seconds that running jobs have before a successor takes over; they are given back then, with their attempts."""
_EXIT: Final = 5.0


def main() -> None:
    """Import the app, serve it and work until told to stop; exit with a code of worker.exitcodes."""
    config = msgspec.json.decode(sys.argv[1].encode(), type=DevChildConfig)
    # Ctrl-C on a terminal reaches every process in front: the parent decides what it means.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    ears = _ParentMessages(config.orders_fd)
    log_for_people()
    try:
        loaded = load(config.target, config.jobs)
        code = asyncio.run(_serve(config, loaded, ears))
    except (ConfigurationError, StoreError) as error:
        if error.__cause__ is not None and not isinstance(error.__cause__, OutlastError):
            traceback.print_exception(error.__cause__)
        note(f"outlast: {clean(str(error))}")
        code = STORE if isinstance(error, StoreError | UnsafeStore) else CONFIG
        if error.__cause__ is not None and code == CONFIG:
            code = FAILED  # the user's code is at fault: the next save may mend it
    except Exception:
        traceback.print_exc()
        code = FAILED
    # A thread of the app's own that never ends must not keep a stopped child alive.
    threading.Thread(target=_leave, args=(code,), daemon=True).start()
    sys.exit(code)


def _leave(code: int) -> None:
    time.sleep(_EXIT)
    os._exit(code)


class _ParentMessages:
    """Hears the parent in a thread, so that it is heard during a long import, and by a loop that is blocked."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._told: list[Order] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._obey: Any = None
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, name="outlast-dev-orders", daemon=True).start()

    def _listen(self) -> None:
        while True:
            got = os.read(self._pipe, 64)
            for what in orders(got):
                with self._lock:
                    if self._loop is None:
                        os._exit(CLEAN)  # nothing was opened yet
                    with contextlib.suppress(RuntimeError):  # the loop is closed: it is leaving
                        self._loop.call_soon_threadsafe(self._obey, what)
            if not got:
                _leave(CLEAN)
                return

    def tell(self, obey: Any) -> None:
        """From now on call `obey(order)` on the running loop."""
        with self._lock:
            self._loop, self._obey = asyncio.get_running_loop(), obey


async def _serve(config: DevChildConfig, loaded: Loaded, ears: _ParentMessages) -> int:
    side = _DevServices()
    ears.tell(side.obey)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, side.obey, "stop")
    lines = JobLines()
    for shop in loaded.shops:
        shop.observe(lines.observe)
        await side.employ(shop)
    if config.first:
        listener = None if loaded.asgi is None else socket.socket(fileno=os.dup(config.port_fd))
        show_banner(loaded.shops, listener)
    api = None if loaded.asgi is None else _start_api(loaded.asgi, config.port_fd)
    try:
        return await side.work(api)
    finally:
        for shop in loaded.shops:
            await shop.close()


def _start_api(asgi: Any, port_fd: int) -> tuple[Any, asyncio.Task[None]]:
    import uvicorn

    class Server(uvicorn.Server):
        """Leaves the signals to us, and tells a failed start-up apart from the end of the process."""

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
    """The app's own start-up raised; the server has logged how."""


class _DevServices:
    """The workers of one child, and what the parent has told it."""

    def __init__(self) -> None:
        self._workers: list[Worker] = []
        self._stop = asyncio.Event()

    def obey(self, what: Order) -> None:
        """Do what the parent says."""
        self._stop.set()
        if what == "reload":
            asyncio.get_running_loop().call_later(_RELOAD_GRACE, self._hurry)
        elif what == "hurry":
            self._hurry()

    def _hurry(self) -> None:
        for worker in self._workers:
            worker.end_grace()

    async def employ(self, shop: Outlast) -> None:
        """Open the app's store and make a worker for it; raise StoreError, ConfigurationError."""
        from outlast.worker import Worker

        self._workers.append(Worker(await shop.runtime()))

    async def work(self, api: tuple[Any, asyncio.Task[None]] | None) -> int:
        """Serve and work until told to stop, or until one of them fails; return the exit code."""
        loop = asyncio.get_running_loop()
        working = [loop.create_task(worker.run(self._stop)) for worker in self._workers]
        stopping = loop.create_task(self._stop.wait())
        serving = [] if api is None else [api[1]]
        await asyncio.wait((stopping, *working, *serving), return_when=asyncio.FIRST_COMPLETED)
        # Workers first: the API's shutdown closes the store that both use, and jobs may still call the API.
        self._stop.set()
        stopping.cancel()
        await asyncio.gather(stopping, *working, return_exceptions=True)
        if api is not None:
            api[0].should_exit = True
        ends = await asyncio.gather(*working, *serving, return_exceptions=True)
        return _code(ends)


def _code(ends: Sequence[BaseException | None]) -> int:
    for end in ends:
        if isinstance(end, _StartupFailed):
            return FAILED
        if isinstance(end, StoreError):
            return STORE
        if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
            logging.getLogger("outlast.dev").error("this should not happen", exc_info=end)
            return FAILED
    return CLEAN


if __name__ == "__main__":
    main()
