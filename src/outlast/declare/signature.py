"""Read the signature of a handler and refuse functions that cannot be a job."""

from __future__ import annotations

import inspect
import string
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_origin

from msgspec import Struct

from outlast.core.errors import ConfigurationError
from outlast.core.registry import Need
from outlast.declare.annotations import globals_of, is_context, parameters, resolve
from outlast.declare.marks import InjectedDefault, is_mark

__all__ = ["Signature", "check_importable", "hints_of", "read", "template_names"]


class Signature(Struct, frozen=True):
    """The arguments of a job, in order, without the context. defaults: of those that may be left out.

    needs: the parameters after `*`, which are injected.
    """

    names: tuple[str, ...]
    defaults: Mapping[str, Any]
    takes_context: bool
    is_async: bool
    needs: tuple[Need, ...] = ()


def read(handler: Callable[..., Any]) -> Signature:
    """Return the signature of a handler; raise ConfigurationError that names the parameter and the fix."""
    where = f"{getattr(handler, '__module__', '?')}.{getattr(handler, '__qualname__', repr(handler))}"
    if isinstance(handler, staticmethod | classmethod):
        raise ConfigurationError(f"{where}: put @staticmethod above @job; a class method cannot be a job")
    if not (inspect.isfunction(handler) or inspect.ismethod(handler)):
        raise ConfigurationError(f"{where}: a job must be a function, 'def' or 'async def'")
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise ConfigurationError(f"{where}: a job cannot be a generator: return a value instead of yielding")
    positional: list[inspect.Parameter] = []
    keyword_only: list[inspect.Parameter] = []
    for parameter in parameters(handler):
        (keyword_only if parameter.kind is inspect.Parameter.KEYWORD_ONLY else positional).append(parameter)
    if positional and _is_method(handler, positional[0].name):
        raise ConfigurationError(
            f"{where}: a method cannot be a job: a worker has no object for {positional[0].name!r}. Declare a function "
            "that gets what it needs as arguments (an id, not the object) or as dependencies, and calls the method"
        )
    takes_context = bool(positional) and is_context(positional[0].annotation, globals_of(handler))
    if positional and positional[0].annotation is inspect.Parameter.empty:
        raise ConfigurationError(
            f"{where}: its first parameter {positional[0].name!r} needs a type, which distinguishes a context "
            f"from an argument ('{positional[0].name}: Context')"
        )
    for index, parameter in enumerate(positional):
        _check(where, parameter, handler, first=index == 0)
    names = tuple(parameter.name for parameter in positional[takes_context:])
    defaults = {
        parameter.name: parameter.default
        for parameter in positional[takes_context:]
        if parameter.default is not inspect.Parameter.empty
    }
    needs: tuple[Need, ...] = ()
    if keyword_only:
        from outlast.declare.dependencies import needs_of

        needs = needs_of(handler, where, keyword_only)
    return Signature(names, defaults, takes_context, inspect.iscoroutinefunction(handler), needs)


def _is_method(handler: Callable[..., Any], first: str) -> bool:
    """Return whether a function was defined in the body of a class, to be called with its object or its class."""
    scope = handler.__qualname__.rpartition(".")[0]
    return first in ("self", "cls") and bool(scope) and not scope.endswith("<locals>") and not inspect.ismethod(handler)


def _check(where: str, parameter: inspect.Parameter, handler: Callable[..., Any], *, first: bool) -> None:
    name = parameter.name
    match parameter.kind:
        case inspect.Parameter.VAR_POSITIONAL | inspect.Parameter.VAR_KEYWORD:
            raise ConfigurationError(
                f"{where}: *args and **kwargs cannot be stored by name: declare each parameter, or one list or dict"
            )
        case inspect.Parameter.POSITIONAL_ONLY:
            raise ConfigurationError(
                f"{where}: parameter {name!r} is positional-only, and a job stores arguments by name: remove the '/'"
            )
    if not first and is_context(parameter.annotation, globals_of(handler)):
        raise ConfigurationError(f"{where}: the context {name!r} must be the first parameter")
    if _may_be_injected(parameter, globals_of(handler)):
        from outlast.declare.dependencies import refuse_mark

        refuse_mark(handler, where, parameter)


def _may_be_injected(parameter: inspect.Parameter, names: dict[str, Any]) -> bool:
    """Return False at little cost for most parameters; True when `refuse_mark` must check one."""
    hint = parameter.annotation
    if isinstance(hint, str):
        hint = names.get(hint, hint)
    annotated = "Annotated[" in hint if isinstance(hint, str) else get_origin(hint) is Annotated
    return annotated or isinstance(parameter.default, InjectedDefault) or is_mark(parameter.default)


def hints_of(handler: Callable[..., Any], signature: Signature, kind: str) -> dict[str, Any]:
    """Return the resolved types of the arguments and of "return"; Any where there is no annotation.

    Raise ConfigurationError when a name in an annotation cannot be found.
    """
    if sys.version_info >= (3, 14):
        from annotationlib import Format, get_annotations

        known = get_annotations(handler, format=Format.FORWARDREF)
    else:
        known = handler.__annotations__
    hints: dict[str, Any] = {}
    for name in (*signature.names, "return"):
        try:
            # One by one: the type of the context, which only a type checker may import, is not resolved.
            hints[name] = resolve(known.get(name, Any), globals_of(handler))
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
            f"{handler.__module__}.{name}: isolate='process' runs in a child process that imports the module, so the "
            "function must be defined at the module's top level"
        )


def template_names(template: str, setting: str) -> set[str]:
    """Return the parameter names in a template such as "receipt:{order_id}"; raise ConfigurationError."""
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    except ValueError as error:
        raise ConfigurationError(f"{setting}={template!r} is not a template: {error}") from None
    names = {field.partition(".")[0].partition("[")[0] for field in fields}
    if "" in names or any(name.isdecimal() for name in names):
        raise ConfigurationError(f"{setting}={template!r}: name the parameters, such as '{{order_id}}'")
    return names
