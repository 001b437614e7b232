"""Bindings as text and as JSON."""

from __future__ import annotations

from typing import Any

from msgspec import to_builtins
from msgspec.json import encode

from outlast.core.exchanges.values import Binding, ExchangeType

__all__ = ["binding_document", "binding_text"]


def binding_text(type_: ExchangeType, binding: Binding) -> str:
    """Return what a binding asks: its key in quotes, or its arguments; "all" for one that asks nothing."""
    if type_ == "fanout":
        return "all"
    if type_ == "headers":
        return " ".join(f"{name}={encode(value).decode()}" for name, value in binding.arguments.items()) or "all"
    return encode(binding.key).decode()


def binding_document(binding: Binding) -> dict[str, Any]:
    """Return a binding as it is printed as JSON."""
    document: dict[str, Any] = to_builtins(binding)
    return document
