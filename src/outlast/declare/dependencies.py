"""The dependencies of a handler as a graph: how each is made, and its own dependencies."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from msgspec import Struct

from outlast.core.errors import ConfigurationError
from outlast.core.registry import Need
from outlast.declare.annotations import globals_of, is_context, parameters, resolve
from outlast.declare.marks import call_name, injected, is_from_request, is_mark

__all__ = ["Maker", "graph", "needs_of", "refuse_mark"]

FORM: Final = "'db: Annotated[Session, Depends(get_db)] = injected'"
_NO_OVERRIDES: Final[Mapping[Any, Callable[..., Any]]] = {}


class Maker(Struct, frozen=True, eq=False):
    """One dependency and its own dependencies. way: how the call gives the value."""

    call: Callable[..., Any]
    key: Hashable
    cached: bool
    way: Literal["returns", "awaits", "yields", "yields async"]
    context: tuple[str, ...]
    needs: tuple[tuple[str, Maker], ...]

    @property
    def is_async(self) -> bool:
        """Whether this dependency, or one of its own, needs an event loop."""
        return self.way in ("awaits", "yields async") or any(maker.is_async for _, maker in self.needs)


def needs_of(handler: Callable[..., Any], where: str, keyword_only: Sequence[inspect.Parameter]) -> tuple[Need, ...]:
    """Return the needs of the parameters after `*`; raise ConfigurationError that names the fix."""
    needs = []
    for parameter in keyword_only:
        name = parameter.name
        hint = _resolved(parameter, globals_of(handler), where)
        mark = _mark(hint)
        if mark is None and is_mark(parameter.default):
            raise ConfigurationError(f"{where}: write the dependency {name!r} as {FORM}, with the mark in the type")
        if mark is None:
            raise ConfigurationError(
                f"{where}: parameter {name!r} is keyword-only, as only dependencies are: mark it as in {FORM}, or "
                "remove the '*'"
            )
        if parameter.default is not injected:
            raise ConfigurationError(
                f"{where}: the dependency {name!r} needs the default 'injected', so that callers may leave it out: "
                f"{FORM}"
            )
        needs.append(Need(name, _dependency(mark, hint, where, name), bool(mark.use_cache)))
    return tuple(needs)


def refuse_mark(handler: Callable[..., Any], where: str, parameter: inspect.Parameter) -> None:
    """Raise ConfigurationError for a dependency that is not after the `*`."""
    hint = parameter.annotation
    try:
        hint = resolve(hint, globals_of(handler))
    except Exception:  # not defined yet: `hints_of` resolves it later and reports the error
        return
    if parameter.default is injected or is_mark(parameter.default) or _mark(hint) is not None:
        raise ConfigurationError(
            f"{where}: the dependency {parameter.name!r} must come after '*', since callers do not pass it: "
            f"(..., *, {FORM[1:-1]})"
        )


def graph(
    needs: Sequence[Need],
    *,
    where: str,
    on_loop: bool,
    overrides: Mapping[Any, Callable[..., Any]] = _NO_OVERRIDES,
) -> tuple[tuple[str, Maker], ...]:
    """Return the maker of each need, with the makers of its dependencies.

    on_loop: whether the handler is `async def`. overrides: replacements by dependency. Raise ConfigurationError for a
    cycle, for an async dependency of a plain handler, and for a parameter of a dependency without a value.
    """
    made = tuple((need.name, _maker(need.call, need.cached, where, (), overrides)) for need in needs)
    for _, maker in made:
        if not on_loop and maker.is_async:
            raise ConfigurationError(
                f"{where}: it is a plain function, which runs in a thread, and its dependency "
                f"{call_name(maker.call)!r} is async or has an async dependency: make the handler 'async def', or the "
                "dependency plain"
            )
    return made


def _maker(
    call: Callable[..., Any],
    cached: bool,
    where: str,
    above: tuple[Callable[..., Any], ...],
    overrides: Mapping[Any, Callable[..., Any]],
) -> Maker:
    key = _key(call)
    call = overrides.get(key, call)
    if call in above:
        cycle = " -> ".join(map(call_name, (*above[above.index(call) :], call)))
        raise ConfigurationError(f"{where}: dependencies form a cycle: {cycle}: remove one of them")
    try:
        found = parameters(call)
    except (TypeError, ValueError):
        raise ConfigurationError(f"{where}: the dependency {call_name(call)!r} has no readable signature") from None
    names = globals_of(call)
    context: list[str] = []
    needs: list[tuple[str, Maker]] = []
    here = f"{where}: dependency {call_name(call)!r}"
    for parameter in found:
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise ConfigurationError(f"{here}: its parameter {parameter.name!r} is positional-only: remove the '/'")
        if is_context(parameter.annotation, names):
            context.append(parameter.name)
            continue
        hint, mark = _looked_up(parameter, names, here)
        if mark is not None:
            inner = _dependency(mark, hint, here, parameter.name)
            needs.append((parameter.name, _maker(inner, bool(mark.use_cache), where, (*above, call), overrides)))
        elif parameter.default is inspect.Parameter.empty or is_from_request(parameter.default):
            raise ConfigurationError(
                f"{here}: its parameter {parameter.name!r} has no value: give it a default, the type Context, or a "
                "Depends (a job has no request)"
            )
    return Maker(call, key, cached, _way(call), tuple(context), tuple(needs))


def _looked_up(parameter: inspect.Parameter, names: dict[str, Any], where: str) -> tuple[Any, Any]:
    """Return the type and the mark of a parameter of a dependency. The default may be the mark, as in FastAPI."""
    try:
        hint = _resolved(parameter, names, where)
    except ConfigurationError:
        if parameter.default is inspect.Parameter.empty or is_mark(parameter.default):
            raise
        return Any, None  # it keeps its default, so its type is not needed
    mark = _mark(hint)
    return hint, parameter.default if mark is None and is_mark(parameter.default) else mark


def _resolved(parameter: inspect.Parameter, names: dict[str, Any], where: str) -> Any:
    if parameter.annotation is inspect.Parameter.empty:
        return Any
    try:
        return resolve(parameter.annotation, names)
    except NameError as error:
        raise ConfigurationError(
            f"{where}: the type of {parameter.name!r} is not found ({error}): import it, or define it, before the "
            "function and at the top of the module (not under TYPE_CHECKING, not inside a function)"
        ) from None


def _mark(hint: Any) -> Any:
    """Return the last mark of a type; None if it has none."""
    while hasattr(hint, "__value__") and not isinstance(hint, type):  # a `type X = ...` alias
        hint = hint.__value__
    if get_origin(hint) is not Annotated:
        return None
    return next((item for item in reversed(hint.__metadata__) if is_mark(item)), None)


def _dependency(mark: Any, hint: Any, where: str, name: str) -> Callable[..., Any]:
    call: Any = mark.dependency
    if call is None:
        call = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        call = get_origin(call) or call
    if not callable(call) or call is Any:
        raise ConfigurationError(f"{where}: Depends({call!r}) of {name!r}: give a function, a class or a callable")
    found: Callable[..., Any] = call
    return found


def _way(call: Callable[..., Any]) -> Literal["returns", "awaits", "yields", "yields async"]:
    while isinstance(call, functools.partial):
        call = call.func
    inner = None if isinstance(call, type) else getattr(call, "__call__", None)  # noqa: B004 - a callable object
    for each in (call, inner):
        if inspect.isasyncgenfunction(each):
            return "yields async"
        if inspect.isgeneratorfunction(each):
            return "yields"
        if inspect.iscoroutinefunction(each):
            return "awaits"
    return "returns"


def _key(call: Callable[..., Any]) -> Hashable:
    try:
        hash(call)
    except TypeError:
        return id(call)
    return call
