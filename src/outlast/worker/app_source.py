"""Where a child process imports an app from, so that it finds what this process has: the jobs of all its modules."""

from __future__ import annotations

import importlib
import runpy
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any, Final

from msgspec import Struct

from outlast.core.registry import Registry
from outlast.declare.hooks import EventsMixin
from outlast.worker.target import AppPort, load_app

__all__ = ["AppSource", "find_source", "in_child_import", "load_source"]

_SCRIPTS: Final = ("__main__", "__mp_main__")  # multiprocessing's name of the same script
_SCRIPT_NAME: Final = "__outlast_main__"
_state: Final = {"importing": False}


class AppSource(Struct, frozen=True):
    """How to import an app. target: "module:attribute". path: `sys.path`.

    modules: what else has to be imported, the outermost first. script: the path of the module `__main__`, script_module
    its name when it was started with `python -m`; "" when it need not be run.
    """

    target: str
    modules: tuple[str, ...] = ()
    script: str = ""
    script_module: str = ""
    path: tuple[str, ...] = ()


def find_source(registry: Registry, *, imports: Iterable[str] = ()) -> AppSource | None:
    """Return where the module-level app with this registry is, None when it is not in a module.

    Its modules are those that hold the app, those of its handlers and its middleware, and `imports`. A script is run
    again in the child only when it declares something itself.
    """
    holders = _holders(registry)
    declaring = _declaring(registry)
    known = list(sys.modules)
    wanted = {*imports, *holders, *declaring}
    # A module moves to the end when its import has ended: those that import others come last.
    modules = tuple(name for name in reversed(known) if name in wanted and _importable(name))
    inner = next((name for name in known if name in holders and name not in _SCRIPTS), None)
    script, script_module = "", ""
    if inner is None or declaring.intersection(_SCRIPTS):
        main = sys.modules["__main__"]
        script, spec = str(getattr(main, "__file__", None) or ""), getattr(main, "__spec__", None)
        script_module = "" if spec is None else spec.name
    if inner is None:
        inner = next((name for name in _SCRIPTS if name in holders), None)
        if inner is None or not script:
            return None
        return AppSource(f"__main__:{holders[inner]}", modules, script, script_module, tuple(sys.path))
    return AppSource(f"{inner}:{holders[inner]}", modules, script, script_module, tuple(sys.path))


def load_source(source: AppSource) -> tuple[AppPort, str]:
    """Import the app in a child process; return it, and which of the other imports failed, in words.

    Raise what the import of the app's own module raises.
    """
    failed: list[str] = []
    if source.path:
        sys.path[:] = source.path
    _state["importing"] = True
    try:
        if source.script:
            try:
                _run_script(source)
            except (Exception, SystemExit) as error:
                if source.target.startswith("__main__:"):
                    raise
                failed.append(f"{source.script} ({type(error).__name__}: {error})")
        for name in source.modules:
            try:
                importlib.import_module(name)
            except (Exception, SystemExit) as error:
                failed.append(f"{name} ({type(error).__name__}: {error})")
        return load_app(source.target), ", ".join(failed)
    finally:
        _state["importing"] = False


def in_child_import() -> bool:
    """Tell whether this process is a child process that imports its app now: it must not start to work for itself."""
    return _state["importing"]


def _holders(registry: Registry) -> dict[str, str]:
    """Return the modules that hold the app, each with the name that it has there."""
    found: dict[str, str] = {}
    for name, module in list(sys.modules.items()):
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            # EventsMixin: only the app has it, and the worker may not import the app. By type, not isinstance:
            # isinstance reads `__class__` of a lazy proxy, which may raise.
            if issubclass(type(value), EventsMixin) and getattr(value, "registry", None) is registry:
                found.setdefault(name, attribute)
    return found


def _declaring(registry: Registry) -> set[str]:
    """Return the names of the modules of all handlers and middleware."""
    parts: list[Any] = [*registry.middleware]
    for each in registry.declarations.values():
        parts += (each.handler, *each.middleware)
    return {name for part in parts if isinstance(name := getattr(part, "__module__", None), str)}


def _importable(name: str) -> bool:
    """Tell whether a child process can import a module by its name: not one whose import does not end, a script."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return spec is not None and name not in _SCRIPTS and not getattr(spec, "_initializing", False)


def _run_script(source: AppSource) -> None:
    """Run the script under another name than `__main__`, and make it the module `__main__` of this process."""
    if source.script_module:
        content = runpy.run_module(source.script_module, run_name=_SCRIPT_NAME, alter_sys=True)
    else:
        content = runpy.run_path(source.script, run_name=_SCRIPT_NAME)
    module = ModuleType(_SCRIPT_NAME)
    module.__dict__.update(content)
    sys.modules["__main__"] = sys.modules[_SCRIPT_NAME] = module
