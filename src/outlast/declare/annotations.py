"""Read the annotations of parameters, also annotations that are text and cannot be resolved yet."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, get_type_hints

from outlast.declare.context import Context

__all__ = ["globals_of", "is_context", "parameters", "resolve"]


def parameters(call: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a callable; raise ValueError or TypeError when it has no signature."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return list(inspect.signature(call, annotation_format=Format.FORWARDREF).parameters.values())
    return list(inspect.signature(call).parameters.values())


def globals_of(call: Callable[..., Any]) -> dict[str, Any]:
    """Return the namespace in which the annotations of a callable are resolved."""
    while isinstance(call, functools.partial):
        call = call.func
    call = inspect.unwrap(call)
    if not hasattr(call, "__globals__"):
        inner = getattr(call, "__init__" if isinstance(call, type) else "__call__", None)
        call = inspect.unwrap(inner) if inner is not None else call
    found: dict[str, Any] = getattr(getattr(call, "__func__", call), "__globals__", {})
    return found


def resolve(annotation: Any, names: dict[str, Any]) -> Any:
    """Return the type of an annotation, with its `Annotated` marks; raise NameError for an unknown name."""
    single = SimpleNamespace(__annotations__={"it": annotation})
    return get_type_hints(single, names, include_extras=True)["it"]


def is_context(annotation: Any, names: dict[str, Any]) -> bool:
    """Return whether an annotation is `outlast.Context`, even if only a type checker imports it."""
    if isinstance(annotation, str):
        text = annotation.strip("'\" ")
        if not all(part.isidentifier() for part in text.split(".")):
            return False
        try:
            annotation = eval(text, names)  # noqa: S307 - the user's own annotation
        except (NameError, AttributeError, SyntaxError):
            return text.rpartition(".")[2] == Context.__name__  # imported for the type checker only
    return annotation is Context
