"""What an app may set from outside, in one frozen value; the only reader of the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from outlast.core.durations import seconds
from outlast.core.errors import ConfigurationError
from outlast.core.policy import DEFAULTS
from outlast.core.topology import variables_of

__all__ = ["Settings"]

# A description says how to mend a value that does not fit: it ends the error.
_Count = Annotated[int, Meta(ge=1, description="give a whole number, 1 or more")]
_CountOrNever = Annotated[int, Meta(ge=0, description="give a whole number, 1 or more, or 0 for never")]
_Seconds = Annotated[float, Meta(ge=0)]
_SomeSeconds = Annotated[float, Meta(gt=0, description="give more than 0 seconds")]
_Switch = Annotated[bool, Meta(description="give True or False (a variable: 1 or 0)")]
_Url = Annotated[str, Meta(description="give text such as 'sqlite:outlast.db'")]
_File = Annotated[
    str, Meta(pattern=r"^(?!sqlite:)(?s:.*[^/])?\Z", description="give the path of a file, such as 'spool.db'")
]

_OTHERS: Final = ("APP", "DEBUG")
"""Variables of the command line alone."""
_WORDS: Final = {"yes": True, "on": True, "no": False, "off": False}
"""What a variable may say of a switch, beside true and false, 1 and 0."""


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings(Struct, frozen=True, kw_only=True):
    """Where jobs are kept, and the bounds of one process. Durations are seconds; a variable may also say "30s", "5m".

    Given to `Outlast(...)`, it is all that holds, and the environment is asked only for a `url` that is left out.
    Not given, each field is read from OUTLAST_<APP>_<FIELD>, then OUTLAST_<FIELD>. `url` at last falls back to an
    outlast.db beside the nearest pyproject.toml at or above the working directory, or in that directory.
    """

    url: _Url = ""
    """"sqlite:PATH", "redis://..." (docs/redis.md) or "memory:"."""
    max_body: _Count = DEFAULTS.max_body
    """The most bytes of one job's arguments, as JSON."""
    enqueue_timeout: _SomeSeconds = 5.0
    """Seconds that an enqueue waits for the store before it raises EnqueueUnknown."""
    spool: _File = ""
    """A file that takes jobs while the store cannot be reached, and from which they are relayed; "" for none."""
    spool_limit: _Count = 100_000
    """Jobs that the file may hold; one more raises StoreFull."""
    concurrency: _Count = DEFAULTS.concurrency
    """Jobs that one worker process runs at a time."""
    threads: _Count = DEFAULTS.threads
    """Of these, plain functions, each in a thread."""
    processes: _Count = msgspec.field(default_factory=_cores)
    """Of these, `isolate="process"` handlers, each in a child process."""
    lease: _SomeSeconds = DEFAULTS.lease
    """Seconds after which the jobs of a silent machine run elsewhere."""
    drain_grace: _Seconds = DEFAULTS.drain_grace
    """Seconds that a stopping worker gives its running jobs."""
    kill_grace: _Seconds = DEFAULTS.kill_grace
    """Seconds past its timeout after which a child process that still runs is killed."""
    recycle_jobs: _CountOrNever = 0
    """Jobs after which a supervised worker process is replaced by a fresh one; 0 for never."""
    recycle_age: _Seconds = 0.0
    """Seconds after which it is; 0 for never."""
    recycle_memory: _CountOrNever = 0
    """Bytes of resident memory beyond which it is; 0 for never."""
    measure: _Switch = False
    """Measure the CPU seconds of runs in threads and on the loop; those in a process of their own always are."""

    def __post_init__(self) -> None:
        for field in _types():
            msgspec.structs.force_setattr(self, field, _converted(field, getattr(self, field), field))

    @classmethod
    def load(
        cls,
        app: str,
        argument: Settings | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> Settings:
        """Return the settings that hold for `app`, with a url; raise ConfigurationError naming a wrong variable."""
        environ = os.environ if environ is None else environ
        prefixes = _prefixes(app)
        if argument is None:
            argument = cls(**_from_environment(prefixes, environ))
        if argument.url:
            return argument
        found = (environ.get(prefix + "URL", "") for prefix in prefixes)
        url = next(filter(None, found), "") or f"sqlite:{_default_file(directory or Path.cwd())}"
        return msgspec.structs.replace(argument, url=url)

    @classmethod
    def origins(
        cls, app: str, argument: Settings | None = None, *, environ: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Return where each field of what `load` returns comes from: a variable's name, "argument" or "default"."""
        environ = os.environ if environ is None else environ
        found: dict[str, str] = {}
        for name in cls.__struct_fields__:
            variables = [prefix + name.upper() for prefix in _prefixes(app)]
            variable = next((each for each in variables if environ.get(each, "").strip()), "default")
            asked = argument is None or (name == "url" and not argument.url)
            found[name] = variable if asked else "argument"
        return found

    @classmethod
    def idle_variables(
        cls, app: str | None, argument: Settings | None = None, *, environ: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Return the OUTLAST_ variables that change nothing here, each with why. app None: every app is meant."""
        environ = os.environ if environ is None else environ
        fields = {name.upper() for name in cls.__struct_fields__}
        read = set() if app is None else set(cls.origins(app, argument, environ=environ).values())
        idle: dict[str, str] = {}
        for variable in sorted(environ):
            name = variable.removeprefix("OUTLAST_")
            if name == variable or name in _OTHERS or variable in read:
                continue
            known = next((field for field in fields if name == field or name.endswith(f"_{field}")), None)
            if known is None:
                idle[variable] = "no setting has this name"
            elif not environ[variable].strip():
                idle[variable] = "it is empty"
            elif app is not None and variable not in {prefix + known for prefix in _prefixes(app)}:
                idle[variable] = f"it is for another app than {app!r}"
            elif app is not None and argument is not None:
                idle[variable] = "the app is given Settings(...) in its code, which is all that holds"
            elif app is not None:
                idle[variable] = f"{_prefixes(app)[0]}{known} comes first"
        return idle


def _prefixes(app: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((variables_of(app), "OUTLAST_")))


def _from_environment(prefixes: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in Settings.__struct_fields__:
        for prefix in prefixes:
            variable = prefix + field.upper()
            text = environ.get(variable, "").strip()
            if text:
                values[field] = _converted(field, text, variable, text=True)
                break
    return values


@cache
def _types() -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(Settings)}


def _converted(field: str, value: Any, setting: str, *, text: bool = False) -> Any:
    """Return a value as its field's type; raise ConfigurationError that names `setting` and the fix.

    text: the value is a variable's text: "7" may be a number, "on" a switch.
    """
    hint, found = _types()[field], value
    kind = hint.__origin__
    if text and kind is float:
        with suppress(ValueError):
            found = float(value)
    elif text and kind is int and value.isdecimal():
        found = int(value)  # "007" too
    elif text and kind is bool:
        found = _WORDS.get(value.lower(), value)
    if kind is float:
        found = seconds(found, setting)
    try:
        return msgspec.convert(found, hint, strict=not text)
    except msgspec.ValidationError:
        raise ConfigurationError(f"{setting}={value!r}: {hint.__metadata__[0].description}") from None


def _default_file(directory: Path) -> Path:
    for folder in (directory, *directory.parents):
        if (folder / "pyproject.toml").is_file():
            return folder / "outlast.db"
    return directory / "outlast.db"
