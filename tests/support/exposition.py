"""An HTTP server that shows metrics as a worker does, with the names and values that a test gives it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.metric_names import METRICS, Shown

__all__ = ["Exposition", "exposed"]

_VALUES = {
    "app": ("shop",),
    "queue": ("mail", "pdf"),
    "kind": ("send", "other"),
    "outcome": ("succeeded", "dead"),
    "state": ("ready", "running"),
    "how": ("clean", "recycled", "crashed", "killed", "stalled"),
    "group": ("loop",),
    "status": ("2xx", "5xx"),
    "route": ("/orders/{id}",),
    "method": ("POST",),
}
"""The values of labels; of any other: `a`."""
_EDGES = ("0.1", "1", "10", "+Inf")


class Exposition:
    """What is shown. Counters begin at 0 and grow by `growth` a scrape; a test may set series by `values`.

    values: of a series as it is shown, such as 'outlast_queue_dead{app="shop",queue="mail"}'; None hides it.
    """

    def __init__(self, *, growth: float = 1.0) -> None:
        self.growth = growth
        self.values: dict[str, float | None] = {}
        self.address = ""
        self._scrapes = 0

    def text(self) -> str:
        """Return the text, as the next scrape gets it."""
        found = []
        for name, metric in METRICS.items():
            found += [f"# HELP {name} A metric of the tests.", f"# TYPE {name} {metric.kind}"]
            found += [line for series, usual in self._series(name, metric) if (line := self._line(series, usual))]
        self._scrapes += 1
        return "\n".join(found) + "\n"

    def _line(self, series: str, usual: float) -> str:
        value = self.values.get(series, usual)
        return "" if value is None else f"{series} {value:g}"

    def _series(self, name: str, metric: Shown) -> Iterator[tuple[str, float]]:
        grown = self._scrapes * self.growth
        usual = {"outlast_store_up": 1, "outlast_store_limit_bytes": 1000, "outlast_queue_objective_seconds": 60}
        for labels in _combined(metric.labels):
            if metric.kind == "gauge":
                yield _named(name, labels), usual.get(name, 0)
            elif metric.kind == "counter":
                counts = "dead" not in labels.values() and name != "outlast_lapsed_leases_total" and "how" not in labels
                yield _named(name, labels), grown if counts else 0
            else:
                if metric.kind == "histogram":
                    for edge in _EDGES:
                        yield _named(f"{name}_bucket", {**labels, "le": edge}), grown
                yield _named(f"{name}_count", labels), grown
                yield _named(f"{name}_sum", labels), grown * 0.05


def _combined(labels: tuple[str, ...]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = [{}]
    for label in labels:
        found = [{**each, label: value} for each in found for value in _VALUES.get(label, ("a",))]
    return found


def _named(name: str, labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{inside}}}" if inside else name


@contextmanager
def exposed(shown: Exposition) -> Iterator[Exposition]:
    """Serve it on a free loopback port as /metrics while the block runs; its address is then `shown.address`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = shown.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        shown.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield shown
        finally:
            server.shutdown()
            thread.join()
