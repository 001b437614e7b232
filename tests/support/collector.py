"""A collector of traces: a real HTTP server that takes OTLP in protobuf, and keeps what it was sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from tests.support.polling import until

__all__ = ["Collector", "Received", "collector"]

KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


class Received(NamedTuple):
    """One span as it was sent. links: the ids of traces and spans. events: names and attributes."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: tuple[tuple[str, str], ...]
    failed: bool
    attributes: Mapping[str, Any]
    events: tuple[tuple[str, Mapping[str, Any]], ...]
    service: str
    scope: str
    raw: bytes


class Collector:
    """Where the spans arrive. status: of each answer; open: a test clears it to let requests wait."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.status = 200
        self.open = threading.Event()
        self.open.set()
        self.asked = threading.Event()
        """Set by each request."""
        self._lock = threading.Lock()
        self._spans: list[Received] = []

    @property
    def environ(self) -> dict[str, str]:
        """The variables that lead here; spans are sent at once."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}", "OTEL_BSP_SCHEDULE_DELAY": "50"}

    def take(self, body: bytes) -> None:
        """Keep the spans of a request."""
        request = ExportTraceServiceRequest.FromString(body)
        found = []
        for resource in request.resource_spans:
            service = _values(resource.resource.attributes).get("service.name", "")
            for scope in resource.scope_spans:
                found += [_received(span, service, scope.scope.name) for span in scope.spans]
        with self._lock:
            self._spans += found

    @property
    def spans(self) -> list[Received]:
        """All that have arrived."""
        with self._lock:
            return list(self._spans)

    def named(self, name: str) -> list[Received]:
        """Those of one name, in the order of their arrival."""
        return [each for each in self.spans if each.name == name]

    async def got(self, name: str, number: int = 1) -> list[Received]:
        """Wait until so many of a name have arrived."""
        await until(
            lambda: len(self.named(name)) >= number, f"{number} spans {name!r}: {sorted(x.name for x in self.spans)}"
        )
        return self.named(name)


def _received(span: Any, service: str, scope: str) -> Received:
    return Received(
        name=span.name,
        kind=KINDS.get(span.kind, ""),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        failed=span.status.code == 2,
        attributes=_values(span.attributes),
        events=tuple((event.name, _values(event.attributes)) for event in span.events),
        service=service,
        scope=scope,
        raw=span.SerializeToString(),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: AnyValue) -> Any:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [_value(each) for each in value.array_value.values]
    return None if which is None else getattr(value, which)


@contextmanager
def collector() -> Iterator[Collector]:
    """Serve a collector within the block, at a port that the kernel chooses."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.asked.set()
            found.open.wait()
            if found.status == 200 and self.path == "/v1/traces":
                found.take(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(found.status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Write nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that was killed has broken its connection."""

    server = Server(("127.0.0.1", 0), Handler)
    found = Collector(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield found
    finally:
        found.open.set()
        server.shutdown()
        thread.join()
        server.server_close()
