"""A real S3 server of a test's own, SeaweedFS: started on free ports of this host, ended with the process."""

from __future__ import annotations

import atexit
import json
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from functools import cache
from pathlib import Path

__all__ = ["BUCKET", "S3Server", "shared_s3"]

PATIENCE = 60.0
"""Seconds that a server may take to start."""
BUCKET = "outlast-test"
_PORTS = ("master.port", "volume.port", "filer.port", "s3.port")


class S3Server:
    """One server in a folder of its own, on loopback ports, with credentials of its own."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="outlast-s3-"))
        self.ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        self._grpc = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        self.environment = {"AWS_ACCESS_KEY_ID": "outlast", "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16)}
        self.process: subprocess.Popen[bytes] | None = None
        identity = {
            "name": "outlast",
            "credentials": [
                {
                    "accessKey": self.environment["AWS_ACCESS_KEY_ID"],
                    "secretKey": self.environment["AWS_SECRET_ACCESS_KEY"],
                }
            ],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (self.folder / "data").mkdir()

    @property
    def endpoint(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.ports['s3.port']}"

    def url(self, prefix: str) -> str:
        """Return the URL of objects below a prefix of the bucket."""
        return f"s3://{BUCKET}/{prefix}?endpoint={self.endpoint}&region=us-east-1"

    def start(self) -> None:
        """Start it, again after a stop, and wait until it has the bucket."""
        ports = [f"-{name}={port}" for name, port in self.ports.items()]
        ports += [f"-{name}.grpc={port}" for name, port in self._grpc.items()]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(str(Path(sys.executable).with_name("weed")), "server", f"-dir={self.folder / 'data'}"),
                    *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", *ports, "-master.telemetry=false"),
                    *("-master.volumeSizeLimitMB=64", "-volume.max=32"),
                    *("-s3", f"-s3.config={self.folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"weed did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Kill it, and wait for its end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def remove(self) -> None:
        """Kill it, and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        """Put an object into the bucket, which makes the bucket."""
        import obstore
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        try:
            with urllib.request.urlopen(f"{self.endpoint}/healthz", timeout=1):
                pass
        except urllib.error.HTTPError:
            pass
        except OSError:
            return False
        store = S3Store(
            BUCKET,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            client_options={"allow_http": True, "timeout": "2s"},
            retry_config={"max_retries": 0},
        )
        try:
            obstore.put(store, "started", b"")
        except BaseError:
            return False
        return True


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        ports = []
        for _ in range(number):
            free = stack.enter_context(socket.socket())
            free.bind(("127.0.0.1", 0))
            ports.append(int(free.getsockname()[1]))
        return ports


@cache
def shared_s3() -> S3Server:
    """Return the one server of this test process, started on first use: each test has a prefix of its own."""
    server = S3Server()
    server.start()
    atexit.register(server.remove)
    return server
