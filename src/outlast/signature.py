"""What a handler's signature says, and the refusal of what cannot be a job."""

from __future__ import annotations

import inspect
import string
import sys
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Final, get_type_hints

from msgspec import Struct

from outlast.core.errors import ConfigurationError

__all__ = ["Signature", "check_importable", "hints_of", "read", "template_names"]

_CONTEXT_MODULE: Final = "outlast.worker.context"


class Signature(Struct, frozen=True):
    """The arguments of a job, in order, without the context. `defaults` holds those that may be left out."""

    names: tuple[str, ...]
    defaults: Mapping[str, Any]
    takes_context: bool
    is_async: bool


def read(handler: Callable[..., Any]) -> Signature:
    """Return the signature of a handler; raise ConfigurationError that names the parameter and the fix."""
    where = f"{getattr(handler, '__module__', '?')}.{getattr(handler, '__qualname__', repr(handler))}"
    if not (inspect.isfunction(handler) or inspect.ismethod(handler)):
        raise ConfigurationError(f"{where}: a job must be a function, 'def' or 'async def'")
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise ConfigurationError(f"{where}: a job cannot be a generator: return a value instead of yielding")
    parameters = list(_parameters(handler))
    takes_context = bool(parameters) and _is_context(parameters[0].annotation, handler)
    if parameters and parameters[0].annotation is inspect.Parameter.empty:
        raise ConfigurationError(
            f"{where}: its first parameter {parameters[0].name!r} needs a type: a context is told from an argument "
            f"by it ('{parameters[0].name}: Context')"
        )
    for index, parameter in enumerate(parameters):
        _check(where, parameter, handler, first=index == 0)
    names = tuple(parameter.name for parameter in parameters[takes_context:])
    defaults = {
        parameter.name: parameter.default
        for parameter in parameters[takes_context:]
        if parameter.default is not inspect.Parameter.empty
    }
    return Signature(names, defaults, takes_context, inspect.iscoroutinefunction(handler))


def _parameters(handler: Callable[..., Any]) -> list[inspect.Parameter]:
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return list(inspect.signature(handler, annotation_format=Format.FORWARDREF).parameters.values())
    return list(inspect.signature(handler).parameters.values())


def _check(where: str, parameter: inspect.Parameter, handler: Callable[..., Any], *, first: bool) -> None:
    name = parameter.name
    match parameter.kind:
        case inspect.Parameter.VAR_POSITIONAL | inspect.Parameter.VAR_KEYWORD:
            raise ConfigurationError(
                f"{where}: *args and **kwargs cannot be kept by name: declare each parameter, or one list or dict"
            )
        case inspect.Parameter.POSITIONAL_ONLY:
            raise ConfigurationError(
                f"{where}: parameter {name!r} is positional-only, and a job keeps arguments by name: remove the '/'"
            )
        case inspect.Parameter.KEYWORD_ONLY:
            raise ConfigurationError(
                f"{where}: parameter {name!r} is keyword-only: that place is kept for injected dependencies, which "
                "come in a later version: remove the '*'"
            )
        case _:
            pass
    if not first and _is_context(parameter.annotation, handler):
        raise ConfigurationError(f"{where}: the context {name!r} must be the first parameter")


def _is_context(annotation: Any, handler: Callable[..., Any]) -> bool:
    if isinstance(annotation, str):
        text = annotation.strip("'\" ")
        if not all(part.isidentifier() for part in text.split(".")):
            return False
        try:
            annotation = eval(text, getattr(handler, "__globals__", {}))  # noqa: S307 - the user's own annotation
        except (NameError, AttributeError, SyntaxError):
            return text.rpartition(".")[2] == "Context"  # imported for the type checker only
    if not isinstance(annotation, type):
        return False
    return annotation.__module__ == _CONTEXT_MODULE and annotation.__name__ == "Context"


def hints_of(handler: Callable[..., Any], signature: Signature, kind: str) -> dict[str, Any]:
    """Return the types of the arguments and of "return", resolved, Any where there is none.

    Raise ConfigurationError when a name in an annotation cannot be found.
    """
    wanted = (*signature.names, "return")
    if sys.version_info >= (3, 14):
        from annotationlib import Format, get_annotations

        known = get_annotations(handler, format=Format.FORWARDREF)
    else:
        known = handler.__annotations__
    hints: dict[str, Any] = {}
    for name in wanted:
        try:
            # One at a time: a context imported for the type checker only is never looked up.
            single = SimpleNamespace(__annotations__={name: known.get(name, Any)})
            hints[name] = get_type_hints(single, getattr(handler, "__globals__", {}), include_extras=True)[name]
        except NameError as error:
            raise ConfigurationError(
                f"job {kind!r}: the type of {name!r} is not found ({error}): import it, or define it at the top of "
                "the module (not under TYPE_CHECKING, not inside a function)"
            ) from None
    return hints


def check_importable(handler: Callable[..., Any]) -> None:
    """Raise ConfigurationError unless a child process finds the handler by importing its module."""
    name = handler.__qualname__
    if "<" in name:  # <locals>, <lambda>
        raise ConfigurationError(
            f"{handler.__module__}.{name}: isolate='process' runs in a child that imports the module, so the function "
            "must be defined at the module's top level"
        )


def template_names(template: str, setting: str) -> set[str]:
    """Return the parameters that a template such as "receipt:{order_id}" names; raise ConfigurationError if wrong."""
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    except ValueError as error:
        raise ConfigurationError(f"{setting}={template!r} is not a template: {error}") from None
    names = {field.partition(".")[0].partition("[")[0] for field in fields}
    if "" in names or any(name.isdecimal() for name in names):
        raise ConfigurationError(f"{setting}={template!r}: name the parameters, such as '{{order_id}}'")
    return names
