"""Finds an app by its target, "module:attribute"."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Protocol, cast

from outlast.core.errors import ConfigurationError
from outlast.settings import current_folder
from outlast.worker.ports import ComposerPort, RuntimePort

__all__ = ["AppPort", "load_app"]


class AppPort(Protocol):
    """The parts of an app that the worker's processes use."""

    @property
    def composer(self) -> ComposerPort:
        """The part that needs no store."""
        ...

    async def runtime(self) -> RuntimePort:
        """Return the runtime of the running event loop, its store open."""
        ...

    async def close(self) -> None:
        """Close the store of the running event loop."""
        ...


def load_app(target: str) -> AppPort:
    """Import "module:attribute" and return the app. Raise ConfigurationError that names the missing part.

    target comes from the operator or from `find_source`, never from a message: the import runs code.
    """
    name, colon, path = target.partition(":")
    if not (name and colon and path):
        raise ConfigurationError(f"target {target!r}: give 'module:attribute', such as 'main:shop'")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        value: Any = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise  # the module exists, but one of its imports does not
        raise ConfigurationError(
            f"target {target!r}: no module {error.name!r} in {current_folder()} or sys.path"
        ) from None
    for part in path.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise ConfigurationError(f"target {target!r}: module {name!r} has no {path!r}{_hint(name)}") from None
    if not _is_app(value):
        kind = type(value).__name__
        raise ConfigurationError(f"target {target!r} is a {kind}: name the Outlast(...) itself{_hint(name)}")
    return cast(AppPort, value)


def _is_app(value: Any) -> bool:
    kind = type(value)  # of the class: an object with a `__getattr__` has every attribute
    return hasattr(kind, "runtime") and hasattr(value, "composer") and hasattr(value, "registry")


def _hint(name: str) -> str:
    """Return an app of the module as a hint."""
    return next((f" (try {name}:{each})" for each, value in vars(sys.modules[name]).items() if _is_app(value)), "")
