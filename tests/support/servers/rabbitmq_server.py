"""A real RabbitMQ node of a test's own: on free loopback ports, with an epmd of its own, ended with the process."""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

__all__ = ["Alarm", "RabbitServer", "own_rabbit", "shared_rabbit"]

PATIENCE: Final = 240.0
"""Seconds that a node may take to start."""
_FOLDERS = ("/usr/lib/rabbitmq/bin", "/opt/homebrew/opt/rabbitmq/sbin", "/usr/local/opt/rabbitmq/sbin")
_PROGRAMS: Final = tuple(Path(folder) for folder in _FOLDERS)
"""Where the packages of Debian and of Homebrew have the programs."""


Alarm = Literal["memory", "disk"]
_ALARMS: Final[dict[Alarm, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "memory": (("set_vm_memory_high_watermark", "0.0000001"), ("set_vm_memory_high_watermark", "0.9")),
    "disk": (("set_disk_free_limit", "1000000GB"), ("set_disk_free_limit", "50MB")),
}
"""By what is low: the command that raises the alarm, and the one that ends it."""


class RabbitServer:
    """One node in a folder of its own. options: lines of rabbitmq.conf ("consumer_timeout = 1000").

    known: of another process, which started it. The user `user` may do all. The programs are those of the package, not
    the wrappers that ask for another user.
    """

    def __init__(self, *, options: tuple[str, ...] = (), known: dict[str, Any] | None = None) -> None:
        self.user = "outlast"
        self.process: subprocess.Popen[bytes] | None = None
        self.known: dict[str, Any] = known or {
            "folder": tempfile.mkdtemp(prefix="outlast-rabbit-"),
            "ports": _free_ports(4),
            "password": secrets.token_hex(16),
            "epmd": 0,
        }
        """What another process needs to use it, and to stop it."""
        self.folder, self.password = Path(self.known["folder"]), str(self.known["password"])
        self._options = options
        self._use_ports()
        if known is None:
            self._configure()

    def _use_ports(self) -> None:
        self.port, self.api_port, self._distribution, self._epmd_port = self.known["ports"]
        self.name = f"outlast{self.port}@localhost"

    def _configure(self) -> None:
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        lines = (
            f"listeners.tcp.default = 127.0.0.1:{self.port}",
            "management.tcp.ip = 127.0.0.1",
            f"management.tcp.port = {self.api_port}",
            "management_agent.disable_metrics_collector = false",
            "collect_statistics_interval = 1000",
            f"default_user = {self.user}",
            f"default_pass = {self.password}",
            "log.file.level = warning",
            *self._options,
        )
        (self.folder / "rabbitmq.conf").write_text("".join(f"{line}\n" for line in lines))
        cookie = self.folder / ".erlang.cookie"
        cookie.unlink(missing_ok=True)
        cookie.write_text(secrets.token_hex(16).upper())
        cookie.chmod(0o400)

    @property
    def url(self) -> str:
        """Where the default virtual host is."""
        return self.url_of("/")

    def url_of(self, vhost: str) -> str:
        """Where a virtual host is."""
        return f"amqp://{self.user}:{self.password}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    def start(self) -> None:
        """Start it, again after a stop or a kill, and wait until it serves.

        A connection of another test may have taken one of its ports since they were found free: others are tried then.
        """
        tries = 1 if self.known["epmd"] else 3  # its users know the ports of one that has run before
        for left in reversed(range(tries)):
            try:
                self._start()
            except RuntimeError:
                if left == 0:
                    raise
                self._end_first_try()
            else:
                return

    def _end_first_try(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        _end(self.known["epmd"])
        shutil.rmtree(self.folder)
        self.folder.mkdir(mode=0o700)
        self.known |= {"ports": _free_ports(4), "epmd": 0}
        self._use_ports()
        self._configure()

    def _start(self) -> None:
        if not self.known["epmd"]:
            epmd = ["epmd", "-address", "127.0.0.1", "-port", str(self._epmd_port)]
            started = subprocess.Popen(epmd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.known["epmd"], started.returncode = started.pid, 0  # it is ended by its pid, by any process
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                [str(_programs() / "rabbitmq-server")], env=self._environ(), stdout=output, stderr=output
            )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until it takes connections; raise RuntimeError when it does not in time."""
        deadline = time.monotonic() + PATIENCE
        while not self._serves():
            ended = self.process is not None and self.process.poll() is not None
            if time.monotonic() > deadline or ended:
                said = [self.folder / "output", *(self.folder / "log").glob("*.log")]
                raise RuntimeError(
                    "\n".join(["rabbitmq-server did not start", *(each.read_text()[-2000:] for each in said)])
                )
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it as kill -9 does, and wait for its end."""
        pid = self._pid()
        _end(pid)
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        _await_end(pid)

    def remove(self) -> None:
        """Kill it with its epmd, and remove its folder."""
        self.kill()
        _end(self.known["epmd"])
        shutil.rmtree(self.folder, ignore_errors=True)

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl (stop_app, start_app, close_all_connections ...) and return its output."""
        command = [str(_programs() / "rabbitmqctl"), "--quiet", *arguments]
        return subprocess.run(command, env=self._environ(), check=True, capture_output=True, text=True).stdout

    @contextmanager
    def alarm(self, resource: Alarm) -> Iterator[None]:
        """Have the server low on memory or disk for the block: it takes no messages then."""
        low, high = _ALARMS[resource]
        self.ctl(*low)
        try:
            yield
        finally:
            self.ctl(*high)

    def save_queues(self) -> None:
        """Have the quorum queues on disk that were declared last, and all that is confirmed in them.

        RabbitMQ 3.10 writes their names and terms some time later: a queue that is killed before that has no leader
        after the restart, for ever, and its messages are gone.
        """
        self.ctl("eval", "[dets:sync(Table) || Table <- [ra_directory_reverse, ra_log_meta]].")

    def held(self, vhost: str, queue: str) -> int:
        """Return the number of messages in a quorum queue, those delivered and not settled too, as it is now.

        The HTTP API and `rabbitmqctl list_queues` are up to 10 s behind.
        """
        query = "fun rabbit_fifo:query_messages_total/1"
        return int(
            self.ctl(
                "eval", f"{{ok, {{_, N}}, _}} = ra:leader_query({{'{_raft_name(vhost, queue)}', node()}}, {query}), N."
            )
        )

    @contextmanager
    def stuck(self, vhost: str, queue: str) -> Iterator[None]:
        """Have a quorum queue that answers nothing for the block, as one without a leader."""
        process = f"whereis('{_raft_name(vhost, queue)}')"
        self.ctl("eval", f"sys:suspend({process}).")
        try:
            yield
        finally:
            self.ctl("eval", f"sys:resume({process}).")

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Call the HTTP API: `api("GET", "queues/%2F")`; return its JSON, None for an answer without a body."""
        token = b64encode(f"{self.user}:{self.password}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.api_port}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    @contextmanager
    def vhost(self) -> Iterator[str]:
        """Make a virtual host of a test's own, whose name is yielded; remove it in the end."""
        name = f"test-{secrets.token_hex(6)}"
        self.api("PUT", f"vhosts/{name}", {})
        self.api("PUT", f"permissions/{name}/{self.user}", {"configure": ".*", "write": ".*", "read": ".*"})
        try:
            yield name
        finally:
            self.api("DELETE", f"vhosts/{name}")

    def _environ(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))},
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "no-such-file"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 -start_epmd false"
            ),
        }

    def _pid(self) -> int:
        try:
            return int((self.folder / "pid").read_text())
        except (OSError, ValueError):
            return 0

    def _serves(self) -> bool:
        if b"completed with" not in (self.folder / "output").read_bytes():  # its ports are open some time before
            return False
        try:
            self.api("GET", "overview")
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except (OSError, urllib.error.URLError):
            return False


@cache
def shared_rabbit() -> RabbitServer:
    """Return the one node of this run of the suite, for its test processes together: each test has a virtual host.

    The first process that asks starts it; the last one that ends stops it.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"alone-{os.getpid()}")
    place = Path(tempfile.gettempdir()) / f"outlast-rabbit-of-{run}"
    place.mkdir(mode=0o700, exist_ok=True)
    with _alone_in(place):
        known = place / "node.json"
        if known.exists():
            server = RabbitServer(known=json.loads(known.read_text()))
        else:
            server = RabbitServer()
            server.start()
            known.write_text(json.dumps(server.known))
        (place / f"{os.getpid()}.user").touch()
    atexit.register(_leave, place, server, os.getpid())
    return server


@cache
def own_rabbit() -> RabbitServer:
    """Return a node of this test process alone, for tests that kill it, stop it or raise its alarms."""
    server = RabbitServer()
    atexit.register(server.remove)
    server.start()
    return server


def _leave(place: Path, server: RabbitServer, pid: int) -> None:
    if os.getpid() != pid:  # a fork of the test process ends
        return
    with _alone_in(place):
        (place / f"{pid}.user").unlink()
        if any(_lives(int(user.stem)) for user in place.glob("*.user")):
            return
        server.remove()
        shutil.rmtree(place)


@contextmanager
def _alone_in(place: Path) -> Iterator[None]:
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@cache
def _programs() -> Path:
    for folder in _PROGRAMS:
        if (folder / "rabbitmq-server").exists():
            return folder
    found = shutil.which("rabbitmq-server")
    if found is None:
        raise RuntimeError("rabbitmq-server is not installed: run `make test`")
    return Path(found).resolve().parent


def _raft_name(vhost: str, queue: str) -> str:
    return f"{'%2F' if vhost == '/' else vhost}_{queue}"


def _free_ports(number: int) -> list[int]:
    probes = [socket.socket() for _ in range(number)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _end(pid: int) -> None:
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, 9)


def _await_end(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while pid and _lives(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
