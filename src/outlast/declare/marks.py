"""The marks of dependencies, ours and FastAPI's, and the default of a parameter that is injected."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

__all__ = ["Depends", "InjectedDefault", "injected", "is_from_request", "is_mark", "call_name"]


class Depends:
    """`db: Annotated[Session, Depends(get_db)] = injected`, after `*`: what makes the parameter for each run.

    dependency: a function, plain or async, one that yields once (what follows the `yield` runs when the handler has
    ended, however it did), or a class; the annotated type itself when left out. use_cache: whether one run shares what
    was made among all that need it. `fastapi.Depends` marks are read just the same.
    """

    __slots__ = ("dependency", "use_cache")

    def __init__(self, dependency: Callable[..., Any] | None = None, *, use_cache: bool = True) -> None:
        self.dependency: Final = dependency
        self.use_cache: Final = use_cache

    def __repr__(self) -> str:
        return f"Depends({'' if self.dependency is None else call_name(self.dependency)})"


class InjectedDefault:
    """The default of a parameter that gets a dependency."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "injected"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{name!r} of a dependency that nobody injected: run the job with 'await job(...)', or pass the dependency "
            "to its handler yourself"
        )


injected: Final[Any] = InjectedDefault()
"""The default of a parameter that is injected: callers leave it out, and type checkers see that they may."""


def is_mark(item: object) -> bool:
    """Tell whether it is a Depends, ours or FastAPI's; Security is one of FastAPI's."""
    return isinstance(item, (Depends, _of_fastapi("Depends")))


def is_from_request(default: object) -> bool:
    """Tell whether it is FastAPI's Header(), Query(), Body() and the like, which are read from a request."""
    return isinstance(default, (_of_fastapi("Param"), _of_fastapi("Body"), _of_fastapi("Depends")))


def call_name(call: object) -> str:
    """Return the name of a callable, for errors."""
    return getattr(call, "__name__", None) or repr(call)


def _of_fastapi(name: str) -> Any:
    """Return a class of FastAPI, or () where FastAPI is not imported, so that there is no value of the class."""
    return getattr(sys.modules.get("fastapi.params"), name, ())
