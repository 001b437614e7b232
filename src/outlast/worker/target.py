"""Finds an app by "module:attribute", and the other way round."""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path
from typing import Any, Protocol, cast

from outlast.core.errors import ConfigurationError
from outlast.core.registry import Registry
from outlast.declare.hooks import EventsMixin
from outlast.worker.ports import ComposerPort, RuntimePort

__all__ = ["AppPort", "find_target", "load_app"]


class AppPort(Protocol):
    """An app as the worker's processes need it."""

    @property
    def composer(self) -> ComposerPort:
        """What needs no store."""
        ...

    async def runtime(self) -> RuntimePort:
        """Return the running loop's runtime, its store open."""
        ...

    async def close(self) -> None:
        """Close the running loop's store."""
        ...


def load_app(target: str, main: str | None = None) -> AppPort:
    """Import "module:attribute" and return the app there; raise ConfigurationError that says what was not found.

    main: path of the script that stands for the module `__main__`. Only ever called with what an operator wrote or
    what `find_target` found, never with words from the wire.
    """
    name, colon, path = target.partition(":")
    if not (name and colon and path):
        raise ConfigurationError(f"target {target!r}: give 'module:attribute', such as 'main:shop'")
    value: Any
    if name == "__main__" and main is not None:
        sys.path.insert(0, str(Path(main).parent))
        value = _Names(runpy.run_path(main, run_name="__outlast_main__"))
    else:
        if "" not in sys.path:
            sys.path.insert(0, "")
        try:
            value = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
                raise  # the module is there, and imports something that is not
            raise ConfigurationError(
                f"target {target!r}: no module {error.name!r} in {Path.cwd()} or sys.path"
            ) from None
    for part in path.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise ConfigurationError(f"target {target!r}: module {name!r} has no {path!r}") from None
    if not (hasattr(value, "composer") and hasattr(value, "registry")):
        raise ConfigurationError(f"target {target!r} is a {type(value).__name__}: name the Outlast(...) itself")
    return cast(AppPort, value)


def find_target(registry: Registry) -> tuple[str, str | None] | None:
    """Return the target, and the script's path if it is in `__main__`, of the module-level app with this registry.

    A script that imports its app from a module is left out of it: a child would run all that the script does.
    """
    script: tuple[str, str] | None = None
    for name, module in list(sys.modules.items()):
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            # By its type, not isinstance: that asks a lazy proxy for its class, which may raise.
            if issubclass(type(value), EventsMixin) and getattr(value, "registry", None) is registry:
                if name not in ("__main__", "__mp_main__"):  # the second: what multiprocessing calls the same script
                    return f"{name}:{attribute}", None
                path = getattr(module, "__file__", None)
                if path is not None:
                    script = f"__main__:{attribute}", str(path)
    return script


class _Names:
    """Attributes of a module that was run as a script."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.__dict__.update(names)
