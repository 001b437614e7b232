"""The command tree; prints an error as one line and returns its exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from outlast import __version__
from outlast.cli.common_options import CommonOptions, JsonOption, UrlOption
from outlast.cli.output import show
from outlast.core.errors import ConfigurationError, OutlastError, StoreError, UnsafeStore
from outlast.core.exitcodes import CLEAN, CONFIG, FAILED, INTERRUPTED, STORE
from outlast.core.text import clean
from outlast.core.urls import mask_urls
from outlast.settings import current_folder

__all__ = ["build", "run"]

_COMMANDS: Final = (
    "dev",
    "worker",
    "health",
    "queues",
    "jobs",
    "schedules",
    "guards",
    "exchanges",
    "route",
    "topology",
    "dead",
    "top",
    "report",
    "cost",
    "call",
    "move",
    "backup",
    "restore",
    "config",
    "doctor",
    "observe",
    "demo",
    "version",
)
"""Modules of this package; `register` of each adds its commands to the tree."""
_MODULES: Final = {"dev": "dev.command"}
"""Modules of commands that have another name."""


_NARROWEST: Final = 20
"""The fewest columns that are used."""


class _Debug:
    """Whether to print tracebacks; set before any command runs."""

    enabled = False


class _Tree(TyperGroup):
    """The commands. What an error quotes of the line must not control the terminal: typer escapes ASCII only."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Parse the options before the command."""
        with _errors_cleaned():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Find, parse and run the command."""
        with _errors_cleaned():
            return super().invoke(ctx)


@contextmanager
def _errors_cleaned() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message") and isinstance(message := getattr(error, "message", None), str):
            vars(error)["message"] = clean(message)
        raise


def build(names: Sequence[str] = _COMMANDS) -> typer.Typer:
    """Return the tree with these commands. Each costs its import and an adapter for every option."""
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    root = typer.Typer(
        name="outlast",
        cls=_Tree,
        help="A durable job queue for FastAPI. Start with `outlast dev main:app`; find problems with `outlast doctor`.",
        no_args_is_help=True,
        rich_markup_mode="rich" if coloured else None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    root.callback()(_root_options)
    for name in names:
        import_module(f"outlast.cli.{_MODULES.get(name, name)}").register(root)
    return root


def _named_commands(arguments: Sequence[str]) -> Sequence[str]:
    """Return the one command that is named; all commands if only the whole tree can find it."""
    rest = iter(arguments)
    for word in rest:
        if word in ("--url", "--app"):
            next(rest, None)
        elif not word.startswith("-"):
            return (word,) if word in _COMMANDS else _COMMANDS
        elif word not in ("--json", "--debug") and not word.startswith(("--url=", "--app=")):
            break
    return _COMMANDS


def _print_version(requested: bool) -> None:
    if requested:
        show.say(f"outlast {__version__}")
        raise typer.Exit(CLEAN)


def _root_options(
    ctx: typer.Context,
    *,
    url: UrlOption = None,
    app: Annotated[
        str | None,
        typer.Option("--app", envvar="OUTLAST_APP", metavar="MODULE:NAME", help="The same as after the command."),
    ] = None,
    json: JsonOption = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="OUTLAST_DEBUG", help="Show the traceback of an error.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keep the options before the command."""
    _Debug.enabled = debug
    ctx.obj = CommonOptions(url=url, app=app, json=json)


def run(arguments: Sequence[str] | None) -> int:
    """Run a command line; return its exit code. An error is one line on stderr that names the fix."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if os.environ.get("COLUMNS", "").isdecimal() and int(os.environ["COLUMNS"]) < _NARROWEST:
        os.environ["COLUMNS"] = str(_NARROWEST)  # less, and nothing would be printed
    completing = "_OUTLAST_COMPLETE" in os.environ
    _Debug.enabled = False
    try:
        build(_COMMANDS if completing else _named_commands(words))(args=words, prog_name="outlast")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else CLEAN if exit_.code is None else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as failure:
        error = _bad_word(failure, words) or _no_folder(failure) or failure
        if _Debug.enabled:
            show.note(mask_urls(traceback.format_exc().rstrip()))
        show.note(f"outlast: {_line(error)}")
        return _exit_code(error)
    return CLEAN


def _bad_word(error: Exception, words: Sequence[str]) -> ConfigurationError | None:
    """Return the error for a word that is not UTF-8 and was sent to the store; such a file name is allowed."""
    if isinstance(error, UnicodeEncodeError):
        for word in words:
            if error.object in word:
                return ConfigurationError(f"{word!r} is not UTF-8 text: ids, keys and names are")
    return None


def _no_folder(error: Exception) -> ConfigurationError | None:
    """Return the error for a working directory that was removed, where this is what failed."""
    if isinstance(error, FileNotFoundError):
        try:
            current_folder()
        except ConfigurationError as gone:
            return gone
    return None


def _exit_code(error: BaseException) -> int:
    """Return the exit code of an error."""
    if isinstance(error, StoreError | UnsafeStore):
        return STORE
    return CONFIG if isinstance(error, ConfigurationError) else FAILED


def _line(error: Exception) -> str:
    if isinstance(error, OutlastError):
        return clean(str(error))
    return clean(f"unexpected {type(error).__name__}: {mask_urls(str(error))} (OUTLAST_DEBUG=1 shows the traceback)")
