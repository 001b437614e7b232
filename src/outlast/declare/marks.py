"""The marks of dependencies, Outlast's and FastAPI's, and the default of an injected parameter."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

__all__ = ["Depends", "InjectedDefault", "injected", "is_from_request", "is_mark", "call_name"]


class Depends:
    """`db: Annotated[Session, Depends(get_db)] = injected`, after `*`: makes the parameter for each run.

    dependency: a plain or async function, a generator that yields once (the code after `yield` always runs when the
    handler has ended), or a class; by default the annotated type. use_cache: whether one run makes the value once and
    shares it. `fastapi.Depends` marks work too.
    """

    __slots__ = ("dependency", "use_cache")

    def __init__(self, dependency: Callable[..., Any] | None = None, *, use_cache: bool = True) -> None:
        self.dependency: Final = dependency
        self.use_cache: Final = use_cache

    def __repr__(self) -> str:
        return f"Depends({'' if self.dependency is None else call_name(self.dependency)})"


class InjectedDefault:
    """The type of `injected`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "injected"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{name!r} of a dependency that was not injected: run the job with 'await job(...)', or pass the "
            "dependency to its handler"
        )


injected: Final[Any] = InjectedDefault()
"""The default of an injected parameter: callers leave it out, and type checkers accept that."""


def is_mark(item: object) -> bool:
    """Return whether `item` is a Depends of Outlast or FastAPI (or a Security of FastAPI)."""
    return isinstance(item, (Depends, _of_fastapi("Depends")))


def is_from_request(default: object) -> bool:
    """Return whether FastAPI fills the parameter for a request: Header(), Query(), Body(), BackgroundTasks() ..."""
    return type(default).__module__.partition(".")[0] == "fastapi"


def call_name(call: object) -> str:
    """Return the name of a callable, for errors."""
    return getattr(call, "__name__", None) or repr(call)


def _of_fastapi(name: str) -> Any:
    """Return a class of FastAPI, or () if FastAPI is not imported: then no value of the class exists."""
    return getattr(sys.modules.get("fastapi.params"), name, ())
