"""Traces by OpenTelemetry: the extra `[otel]`. Only this folder imports it, and only when a process is traced."""
