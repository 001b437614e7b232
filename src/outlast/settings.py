"""What an app may set from outside, in one frozen value; the only reader of the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from outlast.core.errors import ConfigurationError
from outlast.core.policy import DEFAULTS, seconds
from outlast.core.topology import variables_of

__all__ = ["Settings"]

_DURATIONS: Final = ("enqueue_timeout", "lease", "drain_grace", "kill_grace", "recycle_age")
_SWITCHES: Final = ("measure",)
_OTHERS: Final = ("APP", "DEBUG")
"""Variables of the command line alone."""
_COUNTS: Final = ("max_body", "spool_limit", "concurrency", "threads", "processes", "recycle_jobs", "recycle_memory")
_OFF: Final = ("recycle_jobs", "recycle_memory")
"""Counts that may be 0, for never."""


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings(Struct, frozen=True, kw_only=True):
    """Where jobs are kept, and the bounds of one process. Durations are seconds; a variable may also say "30s", "5m".

    Given to `Outlast(...)`, it is all that holds, and the environment is asked only for a `url` that is left out.
    Not given, each field is read from OUTLAST_<APP>_<FIELD>, then OUTLAST_<FIELD>. `url` at last falls back to an
    outlast.db beside the nearest pyproject.toml at or above the working directory, or in that directory.
    """

    url: str = ""
    """"sqlite:PATH", "redis://..." (docs/redis.md) or "memory:"."""
    max_body: int = DEFAULTS.max_body
    """The most bytes of one job's arguments, as JSON."""
    enqueue_timeout: float = 5.0
    """Seconds that an enqueue waits for the store before it raises EnqueueUnknown."""
    spool: str = ""
    """A file that takes jobs while the store cannot be reached, and from which they are relayed; "" for none."""
    spool_limit: int = 100_000
    """Jobs that the file may hold; one more raises StoreFull."""
    concurrency: int = DEFAULTS.concurrency
    """Jobs that one worker process runs at a time."""
    threads: int = DEFAULTS.threads
    """Of these, plain functions, each in a thread."""
    processes: int = msgspec.field(default_factory=_cores)
    """Of these, `isolate="process"` handlers, each in a child process."""
    lease: float = DEFAULTS.lease
    """Seconds after which the jobs of a silent machine run elsewhere."""
    drain_grace: float = DEFAULTS.drain_grace
    """Seconds that a stopping worker gives its running jobs."""
    kill_grace: float = DEFAULTS.kill_grace
    """Seconds past its timeout after which a child process that still runs is killed."""
    recycle_jobs: int = 0
    """Jobs after which a supervised worker process is replaced by a fresh one; 0 for never."""
    recycle_age: float = 0.0
    """Seconds after which it is; 0 for never."""
    recycle_memory: int = 0
    """Bytes of resident memory beyond which it is; 0 for never."""
    measure: bool = False
    """Measure the CPU seconds of runs in threads and on the loop; those in a process of their own always are."""

    def __post_init__(self) -> None:
        for name in _DURATIONS:
            value = seconds(getattr(self, name), name)
            if value == 0 and name in ("enqueue_timeout", "lease"):
                raise ConfigurationError(f"{name}=0: give more than 0 seconds")
            msgspec.structs.force_setattr(self, name, value)
        for name in _COUNTS:
            count = getattr(self, name)
            if type(count) is not int or count < (name not in _OFF):
                raise ConfigurationError(f"{name}={count!r}: give a whole number, {_least(name)}")
        if type(self.measure) is not bool:
            raise ConfigurationError(f"measure={self.measure!r}: give True or False")
        if not isinstance(self.url, str):
            raise ConfigurationError(f"url={self.url!r}: give text such as 'sqlite:outlast.db'")
        if not isinstance(self.spool, str):
            raise ConfigurationError(f"spool={self.spool!r}: give text, the path of a file such as 'spool.db'")
        if self.spool.endswith("/") or self.spool.startswith("sqlite:"):
            raise ConfigurationError(f"spool={self.spool!r}: give the path of a file, such as 'spool.db'")

    @classmethod
    def load(
        cls,
        app: str,
        given: Settings | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> Settings:
        """Return the settings that hold for `app`, with a url; raise ConfigurationError naming a wrong variable."""
        environ = os.environ if environ is None else environ
        prefixes = _prefixes(app)
        if given is None:
            given = cls(**_from_environment(prefixes, environ))
        if given.url:
            return given
        found = (environ.get(prefix + "URL", "") for prefix in prefixes)
        url = next(filter(None, found), "") or f"sqlite:{_default_file(directory or Path.cwd())}"
        return msgspec.structs.replace(given, url=url)

    @classmethod
    def origins(
        cls, app: str, given: Settings | None = None, *, environ: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Return where each field of what `load` returns comes from: a variable's name, "argument" or "default"."""
        environ = os.environ if environ is None else environ
        found: dict[str, str] = {}
        for name in cls.__struct_fields__:
            variables = [prefix + name.upper() for prefix in _prefixes(app)]
            variable = next((each for each in variables if environ.get(each, "").strip()), "default")
            asked = given is None or (name == "url" and not given.url)
            found[name] = variable if asked else "argument"
        return found

    @classmethod
    def idle_variables(
        cls, app: str | None, given: Settings | None = None, *, environ: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Return the OUTLAST_ variables that change nothing here, each with why. app None: every app is meant."""
        environ = os.environ if environ is None else environ
        fields = {name.upper() for name in cls.__struct_fields__}
        read = set() if app is None else set(cls.origins(app, given, environ=environ).values())
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
            elif app is not None and given is not None:
                idle[variable] = "the app is given Settings(...) in its code, which is all that holds"
            elif app is not None:
                idle[variable] = f"{_prefixes(app)[0]}{known} comes first"
        return idle


def _prefixes(app: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((variables_of(app), "OUTLAST_")))


def _from_environment(prefixes: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in Settings.__struct_fields__:
        for prefix in prefixes:
            variable = prefix + name.upper()
            text = environ.get(variable, "").strip()
            if text:
                values[name] = _parse(name, variable, text)
                break
    return values


def _parse(name: str, variable: str, text: str) -> Any:
    if name in _COUNTS:
        if not text.isdecimal() or int(text) < (name not in _OFF):
            raise ConfigurationError(f"{variable}={text!r}: give a whole number, {_least(name)}")
        return int(text)
    if name in _SWITCHES:
        if text.lower() not in ("1", "true", "yes", "on", "0", "false", "no", "off"):
            raise ConfigurationError(f"{variable}={text!r}: give 1 or 0")
        return text.lower() in ("1", "true", "yes", "on")
    if name in _DURATIONS:
        value: float | str = text
        with suppress(ValueError):
            value = float(text)
        return seconds(value, variable)
    return text


def _least(name: str) -> str:
    return "1 or more, or 0 for never" if name in _OFF else "1 or more"


def _default_file(directory: Path) -> Path:
    for folder in (directory, *directory.parents):
        if (folder / "pyproject.toml").is_file():
            return folder / "outlast.db"
    return directory / "outlast.db"
