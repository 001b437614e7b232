"""Finds an app by its target ("module:attribute"), and the target of an app."""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, cast

from outlast.core.errors import ConfigurationError
from outlast.core.registry import Registry
from outlast.declare.hooks import EventsMixin
from outlast.worker.ports import ComposerPort, RuntimePort

__all__ = ["AppPort", "find_target", "load_app"]


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


def load_app(target: str, main: str | None = None) -> AppPort:
    """Import "module:attribute" and return the app. Raise ConfigurationError that names the missing part.

    main: path of the script that is the module `__main__`. target comes from the operator or from `find_target`, never
    from a message: the import runs code.
    """
    name, colon, path = target.partition(":")
    if not (name and colon and path):
        raise ConfigurationError(f"target {target!r}: give 'module:attribute', such as 'main:shop'")
    value: Any
    if name == "__main__" and main is not None:
        sys.path.insert(0, str(Path(main).parent))
        value = SimpleNamespace(**runpy.run_path(main, run_name="__outlast_main__"))
    else:
        if "" not in sys.path:
            sys.path.insert(0, "")
        try:
            value = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
                raise  # the module exists, but one of its imports does not
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
    """Return the target of the module-level app with this registry, and the script's path if it is in `__main__`.

    If a script imports its app from a module, the target is in the module: a child process must not run the script.
    """
    script: tuple[str, str] | None = None
    for name, module in list(sys.modules.items()):
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            # EventsMixin: only the app has it, and the worker may not import the app. By type, not isinstance:
            # isinstance reads `__class__` of a lazy proxy, which may raise.
            if issubclass(type(value), EventsMixin) and getattr(value, "registry", None) is registry:
                if name not in ("__main__", "__mp_main__"):  # multiprocessing's name of the same script
                    return f"{name}:{attribute}", None
                path = getattr(module, "__file__", None)
                if path is not None:
                    script = f"__main__:{attribute}", str(path)
    return script
