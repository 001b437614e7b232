"""The command tree, and the one place where an error becomes one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Final

import typer

from outlast import __version__
from outlast.cli.common_options import CommonOptions, JsonOption, UrlOption
from outlast.cli.output import show
from outlast.core.errors import ConfigurationError, OutlastError, StoreError, UnsafeStore
from outlast.core.exitcodes import CLEAN, CONFIG, FAILED, INTERRUPTED, STORE
from outlast.core.text import clean

__all__ = ["build", "code_of", "run"]

_COMMANDS: Final = (
    "dev",
    "worker",
    "queues",
    "jobs",
    "schedules",
    "dead",
    "call",
    "move",
    "backup",
    "config",
    "doctor",
    "demo",
    "version",
)
"""Each is a module of this package, which adds itself to the tree by `register`."""
_MODULES: Final = {"dev": "dev.command"}
"""Commands that are not in the module of their name."""


class _Debug:
    """Whether tracebacks are wanted; set before any command runs."""

    wanted = False


def build(names: Sequence[str] = _COMMANDS) -> typer.Typer:
    """Return the tree with these commands. Each costs its import and an adapter for every option, so one is enough
    when it is known which."""
    colourful = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    root = typer.Typer(
        name="outlast",
        help="Durable jobs that survive what fails. Start with `outlast dev main:app`; "
        "when something is odd: `outlast doctor`.",
        no_args_is_help=True,
        rich_markup_mode="rich" if colourful else None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    root.callback()(_before)
    for name in names:
        import_module(f"outlast.cli.{_MODULES.get(name, name)}").register(root)
    return root


def _named(arguments: Sequence[str]) -> Sequence[str]:
    """Return the one command that is named, all when it takes the whole tree to tell."""
    rest = iter(arguments)
    for word in rest:
        if word in ("--url", "--app"):
            next(rest, None)
        elif not word.startswith("-"):
            return (word,) if word in _COMMANDS else _COMMANDS
        elif word not in ("--json", "--debug") and not word.startswith(("--url=", "--app=")):
            break
    return _COMMANDS


def _version(wanted: bool) -> None:
    if wanted:
        show.say(f"outlast {__version__}")
        raise typer.Exit(CLEAN)


def _before(
    ctx: typer.Context,
    *,
    url: UrlOption = None,
    app: Annotated[
        str | None,
        typer.Option("--app", envvar="OUTLAST_APP", metavar="MODULE:NAME", help="As behind the command."),
    ] = None,
    json: JsonOption = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="OUTLAST_DEBUG", help="Show the traceback of an error.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keep what stands before the command."""
    _Debug.wanted = debug
    ctx.obj = CommonOptions(url=url, app=app, json=json)


def run(arguments: Sequence[str] | None) -> int:
    """Run a command line; return its exit code. An error is one line on stderr, with its fix."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    completing = "_OUTLAST_COMPLETE" in os.environ
    _Debug.wanted = False
    try:
        build(_COMMANDS if completing else _named(words))(args=words, prog_name="outlast")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else CLEAN if ended.code is None else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as failure:
        error = _of_a_word(failure, words) or failure
        if _Debug.wanted:
            traceback.print_exc()
        show.note(f"outlast: {_line(error)}")
        return code_of(error)
    return CLEAN


def _of_a_word(error: Exception, words: Sequence[str]) -> ConfigurationError | None:
    """Return what to say when a word that is not UTF-8 was meant for the store; as a file's name it is fine."""
    if isinstance(error, UnicodeEncodeError):
        for word in words:
            if error.object in word:
                return ConfigurationError(f"{word!r} is not UTF-8 text: no id, key or name reads like that")
    return None


def code_of(error: BaseException) -> int:
    """Return the exit code that stands for an error."""
    if isinstance(error, StoreError | UnsafeStore):
        return STORE
    return CONFIG if isinstance(error, ConfigurationError) else FAILED


def _line(error: Exception) -> str:
    if isinstance(error, OutlastError):
        return clean(str(error))
    return clean(f"unexpected {type(error).__name__}: {error} (OUTLAST_DEBUG=1 shows where)")
