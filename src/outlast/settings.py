"""The settings of an app, in one frozen value. Only this module reads the OUTLAST_ variables."""

from __future__ import annotations

import os
import re
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
from outlast.core.prices import PRICES_PATTERN
from outlast.core.text import shown
from outlast.core.topology import variables_of
from outlast.core.urls import mask_urls, redact_url

__all__ = ["Settings", "current_folder"]

# The description is the end of the error: it says how to correct the value.
_Count = Annotated[int, Meta(ge=1, description="give a whole number, 1 or more")]
_CountOrNever = Annotated[int, Meta(ge=0, description="give a whole number, 1 or more, or 0 for never")]
_Seconds = Annotated[float, Meta(ge=0)]
_SomeSeconds = Annotated[float, Meta(gt=0, description="give more than 0 seconds")]
_KeptSeconds = Annotated[float, Meta(ge=600, description="give 600 seconds or more")]
_Switch = Annotated[bool, Meta(description="give True or False (a variable: 1 or 0)")]
_Url = Annotated[str, Meta(description="give text such as 'sqlite:outlast.db'")]
_AmqpUrl = Annotated[str, Meta(description="give text such as 'amqp://user:password@host/vhost'")]
_ToolkitUrl = Annotated[str, Meta(description="give text such as 'redis://host:6379/1' or 'sqlite:toolkit.db'")]
_File = Annotated[
    str, Meta(pattern=r"^(?!sqlite:)(?s:.*[^/])?\Z", description="give the path of a file, such as 'spool.db'")
]

_ObjectsUrl = Annotated[
    str,
    Meta(description="give text such as 's3://bucket/prefix?region=eu-west-1', 'gs://bucket/prefix' or 'file:PATH'"),
]

_Prices = Annotated[
    str,
    Meta(
        pattern=PRICES_PATTERN,
        description="give text such as 'cpu_hour=0.04 gib=0.09 currency=EUR', with a kind before a name that differs "
        "for it ('render:cpu_hour=0.4'); the names are cpu_hour, wall_hour, gib, runs_1000 and currency",
    ),
]

ADDRESSES: Final = ("url", "amqp_url", "toolkit_url", "objects_url")
"""The settings that name servers, and may hold secrets."""
_CLI_ONLY: Final = ("APP", "DEBUG")
"""Variables that only the command line reads."""
_KUBERNETES: Final = re.compile(r"(^|_)(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)$")
"""What Kubernetes sets in each container for a service whose name begins with "outlast"."""
_UNKNOWN: Final = "no setting has this name"
_REPLACED: Final = "the code passes Settings(...) to the app, which replaces the variables"
_SWITCH_WORDS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
"""Values of a switch in a variable."""


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings(Struct, frozen=True, kw_only=True):
    """The store of the jobs and the bounds of one process. Durations are seconds; a variable may also be "30s", "5m".

    `Outlast(..., settings=Settings(...))` replaces the environment, except for the addresses: without a `url` it reads
    `url` from there, and the other addresses too unless they are given. Otherwise each field is read from
    OUTLAST_<APP>_<FIELD>, then OUTLAST_<FIELD>. The default of `url` is an outlast.db beside the nearest pyproject.toml
    at or above the working directory, or else in the working directory.
    """

    url: _Url = ""
    """"sqlite:PATH", "redis://..." (docs/redis.md), "amqp://..." (docs/rabbitmq.md) or "memory:"."""
    amqp_url: _AmqpUrl = ""
    """"amqp://USER:PASSWORD@HOST/VHOST" of a RabbitMQ that routes the events of this app (docs/bridge.md); "" for none:
    the store routes them."""
    toolkit_url: _ToolkitUrl = ""
    """"sqlite:PATH", "redis://..." or "memory:" for cache, locks, limits and sessions, "memcached://..." for a cache
    alone (docs/toolkit.md); "" for the place of the jobs: the same servers, or a file beside theirs."""
    toolkit_timeout: _SomeSeconds = 1.0
    """Seconds that one call of the toolkit waits for its store before it counts as away."""
    objects_url: _ObjectsUrl = ""
    """"file:PATH", "s3://BUCKET/PREFIX", "gs://BUCKET/PREFIX" or "memory:" for large objects (docs/toolkit/objects.md);
    "" for a folder beside the file of the jobs, none where they are on a server."""
    objects_timeout: _SomeSeconds = 30.0
    """Seconds that one put or get of an object, or one part of a stream, may take before its store counts as away."""
    objects_over: _Count = DEFAULTS.max_body
    """Bytes of arguments or of a result, as JSON, above which they go to the object store by reference."""
    objects_keep: _KeptSeconds = 86400.0
    """Seconds that such an object stays when no job has it; more than any enqueue takes."""
    max_body: _Count = DEFAULTS.max_body
    """The maximum bytes of one job's arguments, as JSON."""
    enqueue_timeout: _SomeSeconds = 5.0
    """Seconds that an enqueue waits for the store before it raises EnqueueUnknown."""
    spool: _File = ""
    """A file that keeps jobs while the store is unreachable, until they are relayed to it; "" for none."""
    spool_limit: _Count = 100_000
    """The maximum jobs in the spool; one more raises StoreFull."""
    concurrency: _Count = DEFAULTS.concurrency
    """Jobs that one worker process runs at the same time."""
    threads: _Count = DEFAULTS.threads
    """The maximum of these that are plain functions, each in a thread."""
    processes: _Count = msgspec.field(default_factory=_cores)
    """The maximum of these that are `isolate="process"` handlers, each in a child process."""
    lease: _SomeSeconds = DEFAULTS.lease
    """Seconds without a sign of life from a worker after which its jobs run elsewhere."""
    drain_grace: _Seconds = DEFAULTS.drain_grace
    """Seconds that a stopping worker waits for its running jobs."""
    kill_grace: _Seconds = DEFAULTS.kill_grace
    """Seconds past the timeout after which a child process that still runs is killed."""
    recycle_jobs: _CountOrNever = 0
    """Jobs after which the supervisor replaces a worker process; 0 for never."""
    recycle_age: _Seconds = 0.0
    """Seconds after which the supervisor replaces a worker process; 0 for never."""
    recycle_memory: _CountOrNever = 0
    """Bytes of resident memory above which the supervisor replaces a worker process; 0 for never."""
    prices: _Prices = ""
    """What runs cost, for `outlast cost`: "cpu_hour=0.04 wall_hour=0.01 gib=0.09 runs_1000=0.2 currency=EUR"; a kind
    before a name sets the price of that kind ("render:cpu_hour=0.4")."""
    measure: _Switch = False
    """Measure the CPU seconds of runs in threads and on the loop; runs in child processes are always measured."""

    def __repr__(self) -> str:
        values = {field: getattr(self, field) for field in self.__struct_fields__}
        values |= {field: redact_url(values[field]) for field in ADDRESSES}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in values.items())})"

    @classmethod
    def check_name(cls, app: str) -> None:
        """Raise ConfigurationError for an app that has a variable of every app as its own, such as OUTLAST_AMQP_URL."""
        prefix = variables_of(app)
        shared = {f"OUTLAST_{field.upper()}" for field in cls.__struct_fields__}
        for variable in [] if prefix == "OUTLAST_" else [prefix + field.upper() for field in cls.__struct_fields__]:
            if variable in shared:
                raise ConfigurationError(f"Outlast({app!r}): {variable} is a setting of every app: give another name")

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
        """Return the settings of `app`, with a url; raise ConfigurationError that names a wrong variable."""
        environ = os.environ if environ is None else environ
        prefixes = _prefixes(app)
        if argument is None:
            argument = cls(**_from_environment(prefixes, environ))
        if argument.url:
            return argument
        found = {
            field: environ.get(_variable(field, prefixes, environ), "").strip()
            for field in _addresses_left_out(argument)
        }
        found["url"] = found["url"] or f"sqlite:{_default_file(directory or current_folder())}"
        return msgspec.structs.replace(argument, **found)

    @classmethod
    def origins(
        cls, app: str, argument: Settings | None = None, *, environ: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Return the source of each field that `load` returns: the name of a variable, "argument" or "default"."""
        environ = os.environ if environ is None else environ
        from_environment = cls.__struct_fields__ if argument is None else _addresses_left_out(argument)
        found = dict.fromkeys(cls.__struct_fields__, "argument")
        return found | {field: _variable(field, _prefixes(app), environ) or "default" for field in from_environment}

    @classmethod
    def idle_variables(
        cls, app: str | None, argument: Settings | None = None, *, environ: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Return the OUTLAST_ variables without effect, each with the reason. app None: without effect on any app."""
        environ = os.environ if environ is None else environ
        fields = {name.upper() for name in cls.__struct_fields__}
        read = set() if app is None else set(cls.origins(app, argument, environ=environ).values())
        idle: dict[str, str] = {}
        for variable in sorted(environ):
            name = variable.removeprefix("OUTLAST_")
            if name == variable or name in _CLI_ONLY or variable in read or _KUBERNETES.search(name):
                continue
            known = [each for each in fields if name == each or name.endswith(f"_{each}")]
            field = max(known, key=len, default=None)  # AMQP_URL ends with URL too
            if field is None:
                idle[variable] = f"{_UNKNOWN}{_nearest(name, fields)}"
            elif not environ[variable].strip():
                idle[variable] = "it is empty"
            elif app is not None and variable not in {prefix + field for prefix in _prefixes(app)}:
                idle[variable] = f"it is for another app than {app!r}"
            elif app is not None and argument is not None:
                idle[variable] = _REPLACED
            elif app is not None:
                idle[variable] = f"{_prefixes(app)[0]}{field} comes first"
        return idle

    @classmethod
    def mistaken_variables(
        cls, app: str, argument: Settings | None = None, *, environ: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Return the OUTLAST_ variables that look like a mistake when `app` starts, each with the reason.

        Those that no setting has the name of, and those that Settings(...) in the code replaces. Empty variables, those
        of other apps, and those that a variable of the app's own comes before are in order.
        """
        idle = cls.idle_variables(app, argument, environ=environ)
        return {name: why for name, why in idle.items() if why.startswith((_UNKNOWN, _REPLACED))}


def _addresses_left_out(argument: Settings) -> tuple[str, ...]:
    """Return the addresses that the environment names although the code passes Settings(...).

    None of them when the code names the store: a RabbitMQ of the environment must not route the events of a test.
    """
    return () if argument.url else tuple(field for field in ADDRESSES if not getattr(argument, field))


def _nearest(name: str, fields: set[str]) -> str:
    """Return a hint at the setting whose name is most like the end of a variable's, "" if none is like it."""
    from difflib import SequenceMatcher

    parts = name.split("_")
    best, ratio = "", 0.65
    for start in range(len(parts)):
        end = "_".join(parts[start:])
        for field in fields:
            alike = SequenceMatcher(None, end, field).ratio()
            if alike > ratio:
                best, ratio = field, alike
    return best and f"; the nearest is {best.lower()}"


def _masked(value: Any) -> Any:
    """Return a value for an error: the text of a variable may be a URL that was meant for another one."""
    if not isinstance(value, str):
        return value
    return redact_url(value) if "@" in value else mask_urls(value)


def current_folder() -> Path:
    """Return the working directory; raise ConfigurationError if it was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise ConfigurationError(
            "the working directory does not exist any more: change to another one, and start again"
        ) from None


def _prefixes(app: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((variables_of(app), "OUTLAST_")))


def _variable(field: str, prefixes: tuple[str, ...], environ: Mapping[str, str]) -> str:
    """Return the variable that sets a field, "" when none does: an empty variable sets nothing."""
    names = (prefix + field.upper() for prefix in prefixes)
    return next((each for each in names if environ.get(each, "").strip()), "")


def _from_environment(prefixes: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, Any]:
    variables = {field: _variable(field, prefixes, environ) for field in Settings.__struct_fields__}
    return {
        field: _converted(field, environ[variable].strip(), variable, text=True)
        for field, variable in variables.items()
        if variable
    }


@cache
def _types() -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(Settings)}


def _converted(field: str, value: Any, setting: str, *, text: bool = False) -> Any:
    """Return a value as the type of its field; raise ConfigurationError that names `setting` and the fix.

    text: the value comes from a variable: "7" may be a number, "on" a switch.
    """
    hint, found = _types()[field], value
    kind = hint.__origin__
    if text and kind is float:
        with suppress(ValueError):
            found = float(value)
    elif text and kind is int and value.isdecimal():
        with suppress(ValueError):  # more digits than Python reads
            found = int(value)  # "007" too
    elif text and kind is bool:
        found = _SWITCH_WORDS.get(value.lower(), value)
    if kind is float:
        found = seconds(_masked(found), setting)
    try:
        return msgspec.convert(found, hint)
    except msgspec.ValidationError:
        given = shown(_masked(value))
        raise ConfigurationError(f"{setting}={given}: {hint.__metadata__[0].description}") from None


def _default_file(directory: Path) -> Path:
    for folder in (directory, *directory.parents):
        if (folder / "pyproject.toml").is_file():
            return folder / "outlast.db"
    return directory / "outlast.db"
