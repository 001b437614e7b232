"""Imports the user's app for a command; errors name the cause in the user's code."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from outlast.core.errors import ConfigurationError

if TYPE_CHECKING:
    from outlast.app import Outlast

__all__ = ["failed_import", "load_outlast"]


def load_outlast(target: str) -> Outlast:
    """Import "module:name" from the working directory and return that Outlast; raise ConfigurationError."""
    from outlast.app import Outlast
    from outlast.worker.target import load_app

    try:
        found = load_app(target)
    except ConfigurationError:
        raise
    except Exception as error:
        raise failed_import(target, error) from error
    if not isinstance(found, Outlast):
        raise ConfigurationError(f"target {target!r} is a {type(found).__name__}: name the Outlast(...) itself")
    return found


def failed_import(
    target: str, error: Exception, hint: str = "; OUTLAST_DEBUG=1 shows the traceback"
) -> ConfigurationError:
    """Return an error that names the file and the line at which the import of `target` failed.

    hint: the end of its text; "" where the traceback is printed anyway.
    """
    frames = traceback.extract_tb(error.__traceback__)
    ours = ("importlib", "outlast")
    last = next((frame for frame in reversed(frames) if not any(f"/{name}/" in frame.filename for name in ours)), None)
    if isinstance(error, SyntaxError) and error.filename:
        where = f" ({error.filename}:{error.lineno})"
    else:
        where = f" ({last.filename}:{last.lineno})" if last is not None and not last.filename.startswith("<") else ""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return ConfigurationError(f"target {target!r}: the import failed: {type(error).__name__}: {text}{where}{hint}")
