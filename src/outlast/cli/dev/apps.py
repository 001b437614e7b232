"""Imports the named ASGI app for `outlast dev`, and finds its Outlast apps."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from outlast.cli.target import failed_import, load_outlast
from outlast.core.errors import ConfigurationError
from outlast.settings import current_folder

if TYPE_CHECKING:
    from outlast.app import Outlast

__all__ = ["DevApps", "load"]


@dataclass(frozen=True, slots=True)
class DevApps:
    """The apps to run. asgi None: no API, only jobs. module: where the target is; it imports what declares the jobs."""

    asgi: Any
    apps: tuple[Outlast, ...]
    module: str


def load(target: str, jobs: str | None) -> DevApps:
    """Import the target; its jobs are those of --jobs, else of `install(app, shop)`, else of the module's only Outlast.

    Raise ConfigurationError; its cause is the exception of the user's code, if that raised one.
    """
    from outlast.app import Outlast

    module, found = _import(target)
    if isinstance(found, Outlast):
        if jobs is not None:
            raise ConfigurationError(f"dev: {target} is an Outlast(...) itself: leave out --jobs")
        return DevApps(None, (found,), module.__name__)
    if not callable(found):
        raise ConfigurationError(f"dev: {target} is a {type(found).__name__}: name the FastAPI (ASGI) app")
    if jobs is not None:
        return DevApps(found, (load_outlast(jobs),), module.__name__)
    installed, declared = _installed(found), _apps(module)
    apps = installed or tuple({id(each): each for each in declared.values()}.values())
    if not apps:
        raise ConfigurationError(
            f"dev: no Outlast(...) belongs to {target}: call install(app, shop) of outlast.fastapi, or give --jobs"
        )
    if not installed and len(apps) > 1:
        names = ", ".join(f"{module.__name__}:{name}" for name in declared)
        raise ConfigurationError(f"dev: {target} has several apps: give --jobs with one of {names}, or install() it")
    return DevApps(found, apps, module.__name__)


def _import(target: str) -> tuple[ModuleType, Any]:
    name, _, path = target.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise ConfigurationError(f"dev: no module {error.name!r} in {current_folder()} or sys.path") from None
        raise failed_import(target, error, hint="") from error
    except Exception as error:
        raise failed_import(target, error, hint="") from error
    found: Any = module
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ConfigurationError(f"dev: module {name!r} has no {path!r}{_hint(module)}") from None
    return module, found


def _hint(module: ModuleType) -> str:
    """Return the module's first FastAPI or Starlette app as a hint."""
    for name, value in vars(module).items():
        if type(value).__name__ in ("FastAPI", "Starlette"):
            return f" (try {module.__name__}:{name})"
    return ""


def _apps(module: ModuleType) -> dict[str, Outlast]:
    from outlast.app import Outlast

    return {name: value for name, value in vars(module).items() if isinstance(value, Outlast)}


def _installed(app: Any) -> tuple[Outlast, ...]:
    """Return the apps that `install` added to the ASGI app; without outlast.fastapi there are none."""
    if "outlast.fastapi" not in sys.modules:
        return ()
    from outlast.fastapi.install import installed

    return installed(app)
