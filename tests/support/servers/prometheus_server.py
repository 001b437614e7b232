"""A real Prometheus of a test's own: on a free loopback port, with rules, scraping what the test names."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

__all__ = ["PrometheusServer"]

PATIENCE = 60.0
"""Seconds that it may take to start."""
_DIRECT = build_opener(ProxyHandler({}))
"""Asks this machine itself: a proxy of the environment is not for it."""


class PrometheusServer:
    """One server. folder: of its own, for its data. rules: files. scrape: the time between scrapes, such as "1s"."""

    def __init__(self, folder: Path, *, rules: Sequence[Path] = (), scrape: str = "250ms") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._rules = [str(path) for path in rules]
        self._scrape = scrape
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def scrape(self, *targets: str) -> None:
        """Scrape these addresses from now on, `host:port`, and no others; it reads the list again when that changes."""
        file = self._folder / "targets.json"
        beside = file.with_suffix(".new")
        beside.write_text(json.dumps([{"targets": list(targets)}]), encoding="utf-8")
        beside.replace(file)

    def start(self) -> None:
        """Start it, again after a stop, and wait until it answers."""
        config = {
            "global": {"scrape_interval": self._scrape, "scrape_timeout": self._scrape, "evaluation_interval": "250ms"},
            "rule_files": self._rules,
            "scrape_configs": [
                {"job_name": "outlast", "file_sd_configs": [{"files": [str(self._folder / "targets.json")]}]}
            ],
        }
        (self._folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML too
        if not (self._folder / "targets.json").exists():
            self.scrape()
        log = (self._folder / "log").open("ab")
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                f"--web.external-url={self.url}",
                "--storage.tsdb.retention.time=1d",
            ],
            stdout=log,
            stderr=log,
            cwd=self._folder,
        )
        log.close()
        deadline = time.monotonic() + PATIENCE
        while not self._is_ready():
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.stop()
                raise RuntimeError(f"prometheus did not start: {(self._folder / 'log').read_text(errors='replace')}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Kill it, and wait for its end; its data stays."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def query(self, expr: str) -> list[Any]:
        """Return the result of an expression, now: series with `metric` and `value`. RuntimeError for a wrong one."""
        answer = self._ask("/api/v1/query", {"query": expr})
        found: list[Any] = answer["data"]["result"]
        return found

    def numbers(self, expr: str) -> list[float]:
        """Return the values of an expression, now."""
        return [float(each["value"][1]) for each in self.query(expr)]

    def alerts(self) -> list[Any]:
        """Return the alerts that fire, with `labels` and `annotations`."""
        return [each for each in self._ask("/api/v1/alerts")["data"]["alerts"] if each["state"] == "firing"]

    def targets(self) -> list[Any]:
        """Return what it scrapes, with `health` and `lastError`."""
        found: list[Any] = self._ask("/api/v1/targets")["data"]["activeTargets"]
        return found

    def rule_faults(self) -> dict[str, str]:
        """Return the last error of each rule that has one."""
        groups = self._ask("/api/v1/rules")["data"]["groups"]
        return {rule["name"]: rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")}

    def _ask(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        asked = f"{self.url}{path}?{urlencode(parameters or {})}"
        try:
            with _DIRECT.open(asked, timeout=PATIENCE) as answer:
                return json.loads(answer.read())
        except URLError as error:
            told = error.read().decode() if hasattr(error, "read") else str(error)
            raise RuntimeError(f"{asked}: {told}") from None

    def _is_ready(self) -> bool:
        try:
            with _DIRECT.open(f"{self.url}/-/ready", timeout=PATIENCE) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
