"""The tracing of one app in one process: whether, and with which provider. It imports OpenTelemetry when it is used."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import Raw

from outlast.core.errors import ConfigurationError
from outlast.core.message import Message

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from outlast.observe.tracing.provider import OwnProvider
    from outlast.observe.tracing.tracer import OtelTracer, RunSpan

__all__ = ["FLUSH", "AppTracing", "tracing_of"]

_logger = logging.getLogger("outlast.tracing")

FLUSH: Final = 2.0
"""Seconds that a process that ends has to send its spans."""
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_UNKNOWN: Final = object()
_TRACE_API: Final = "opentelemetry.trace"


class _ProcessTracing:
    """What this process has of its own: at most one provider, whichever app asks first. A fork begins with none."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asked = False
        self.own: OwnProvider | None = None

    def provider(self, app_name: str) -> OwnProvider | None:
        """Return the provider that Outlast makes; None where that fails, which is logged."""
        if not self.asked:
            with self.lock:
                if not self.asked:
                    self.own = self._made(app_name)
                    self.asked = True
        return self.own

    def _made(self, app_name: str) -> OwnProvider | None:
        try:
            from outlast.observe.tracing.provider import OwnProvider

            made = OwnProvider(app_name)
        except Exception as error:
            _logger.error("nothing is traced: %s: %s", type(error).__name__, error)  # noqa: TRY400
            return None
        atexit.register(made.queue.flush, FLUSH, drop=True)
        # Its queue tells of an outage once; the exporter does so at each batch.
        logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter").setLevel(logging.CRITICAL)
        return made


_process = _ProcessTracing()


def _forked() -> None:
    global _process  # noqa: PLW0603 - threads and connections of the parent are not here
    _process = _ProcessTracing()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def tracing_of(app_name: str, wanted: str) -> AppTracing | None:
    """Return the tracing of an app; None with traces="off". Raise ConfigurationError for "on" without the packages.

    wanted: the setting `traces`.
    """
    if wanted == "off":
        return None
    if wanted == "on" and not _has_sdk():
        raise ConfigurationError("traces='on' needs OpenTelemetry: pip install 'outlast[otel]', or traces='off'")
    return AppTracing(app_name, exports=wanted == "on" or _exports(os.environ))


def _has_sdk() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def _exports(environ: Mapping[str, str]) -> bool:
    """Tell whether the environment names a collector, and tracing is not turned off there."""
    if not any(environ.get(name, "").strip() for name in _ENDPOINTS):
        return False
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    if not _has_sdk():
        _logger.info("a collector is named, and nothing is traced: pip install 'outlast[otel]'")
        return False
    return True


class AppTracing:
    """Traces with the app's own global TracerProvider, else (`exports`) with one that Outlast makes in each process."""

    def __init__(self, app_name: str, *, exports: bool) -> None:
        self._app_name = app_name
        self._exports = exports
        self._tracer: OtelTracer | None = None
        self._send: Callable[[Raw], None] | None = None
        self._relaying: TracerProvider | None = None
        self._broken: TracerProvider | None = None
        """One that makes no tracer: it is not asked again."""

    def tracer(self) -> OtelTracer | None:
        """Return the tracer of this process, None while nothing here is traced. Cheap: it is asked at each job."""
        if not self._exports and self._relaying is None and _TRACE_API not in sys.modules:
            return None
        provider = _global_provider() or self._relaying
        if provider is None:
            if not self._exports or self._send is not None:
                return None
            own = _process.provider(self._app_name)
            if own is None:
                return None
            provider = own.provider
        if self._tracer is None or self._tracer.provider is not provider:
            return self._of(provider)
        return self._tracer

    def _of(self, provider: TracerProvider) -> OtelTracer | None:
        if provider is self._broken:
            return None
        try:
            self._tracer = _made(provider)
        except Exception as error:
            self._broken = provider
            _logger.error("nothing is traced: %s: %s", type(error).__name__, error)  # noqa: TRY400
            return None
        return self._tracer

    def own_process(self) -> None:
        """Let the spans of handlers and of libraries take the same way, in a process that is Outlast's alone."""
        if self._exports and _global_provider() is None and (own := _process.provider(self._app_name)) is not None:
            _set_global(own.provider)

    def relay(self, send: Callable[[Raw], None]) -> None:
        """Give the spans of this child process to `send`, one by one, unless the app has a way of its own."""
        self._send = send

    def in_child(self, message: Message, carried: Mapping[str, str]) -> RunSpan | None:
        """Return the run of a child process, whose span is in its worker. carried: of that span."""
        try:
            self._begin_to_relay()
        except Exception as error:
            self._send = None
            _logger.error("the spans of child processes are lost: %s: %s", type(error).__name__, error)  # noqa: TRY400
        tracer = self.tracer()
        return None if tracer is None else tracer.child_run(message, carried)

    def _begin_to_relay(self) -> None:
        if self._send is not None and self._relaying is None and _global_provider() is None:
            from outlast.observe.tracing.provider import provider_with
            from outlast.observe.tracing.relayed import RelayProcessor

            self._relaying = provider_with(RelayProcessor(self._send), self._app_name)
            _set_global(self._relaying)

    def take(self, span: Raw) -> None:
        """Take a span of a child process, to where those of this process go."""
        from outlast.observe.tracing.metrics import DROPPED

        try:
            self._take(span)
        except Exception as error:
            DROPPED["unrelayed"].add()
            _logger.debug("a span of a child process is dropped: %s", error)

    def _take(self, span: Raw) -> None:
        from outlast.observe.tracing.relayed import span_from

        tracer = self.tracer()
        if tracer is None:
            raise LookupError("this process has no provider")
        provider: Any = tracer.provider
        # The SDK has no public way in for a span that was made elsewhere; a provider of another make has none at all.
        provider._active_span_processor.on_end(span_from(span, provider.resource))

    def flush(self, seconds: float) -> None:
        """Send what is not sent yet within `seconds`, from any thread; drop and count what is left of it then."""
        if (own := _process.own) is not None:
            own.queue.flush(seconds, drop=True)
        provider: Any = _global_provider()
        if provider is None or (own is not None and provider is own.provider) or provider is self._relaying:
            return
        flushing = getattr(provider, "force_flush", None)
        if flushing is not None:
            # That of the SDK takes as long as its exporter, whatever it is told.
            thread = threading.Thread(target=_flushed, args=(flushing, seconds), name="outlast-flush", daemon=True)
            thread.start()
            thread.join(seconds)


def _flushed(flush: Callable[[int], object], seconds: float) -> None:
    try:
        flush(int(seconds * 1000))
    except Exception as error:
        _logger.warning("the spans of this process could not be flushed: %s: %s", type(error).__name__, error)


def _global_provider() -> TracerProvider | None:
    """Return the provider that the app, or a library of it, has set; None as long as there is none."""
    api: Any = sys.modules.get(_TRACE_API)
    if api is None:  # who sets one has imported it
        return None
    provider: Any = getattr(api, "_TRACER_PROVIDER", _UNKNOWN)
    if provider is _UNKNOWN:
        # The public function, which costs a microsecond: it looks for a variable each time.
        provider = api.get_tracer_provider()
        if isinstance(provider, api.ProxyTracerProvider):
            return None
    return cast("TracerProvider | None", provider)


def _set_global(provider: TracerProvider) -> None:
    from opentelemetry.trace import set_tracer_provider

    set_tracer_provider(provider)


def _made(provider: TracerProvider) -> OtelTracer:
    from importlib.metadata import version

    from outlast.observe.tracing.tracer import OtelTracer

    return OtelTracer(provider, version("outlast"))
