"""Parses the arguments and times of a job from a command line."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from msgspec import Raw

from outlast.core.codec import REDACTED
from outlast.core.durations import seconds
from outlast.core.errors import ConfigurationError, InvalidArguments

if TYPE_CHECKING:
    from outlast.core.store.records import JobRecord
    from outlast.declare.arguments import Arguments

__all__ = ["ArgOption", "arguments_json", "moment_of", "values_of"]

ArgOption = Annotated[
    list[str] | None,
    typer.Option(
        "--arg",
        "-a",
        metavar="NAME=VALUE",
        help="An argument; may be repeated. Valid JSON is JSON, all else text.",
    ),
]


def arguments_json(pairs: list[str], arguments: Arguments | None, record: JobRecord) -> Raw:
    """Return `name=value` pairs as a JSON object, checked against the handler's parameters if they are known."""
    values = values_of(pairs, arguments)
    if arguments is None:
        return Raw(msgspec.json.encode(values))
    whole = not any(value == REDACTED for value in record.args.values())
    return arguments.some(values, stored=record.args if whole else None)


def values_of(pairs: list[str], arguments: Arguments | None) -> dict[str, Any]:
    """Return `name=value` pairs by name. A value is JSON if it is valid and the parameter accepts it, else text.

    Raise ConfigurationError that names the pair.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not (equals and name):
            raise ConfigurationError(f"--arg {pair}: give NAME=VALUE")
        if name in values:
            raise ConfigurationError(f"--arg {pair}: {name} is given twice")
        values[name] = _value(name, text, arguments)
    return values


def _value(name: str, text: str, arguments: Arguments | None) -> Any:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    if arguments is None or _fits(arguments, name, value) or not _fits(arguments, name, text):
        return value
    return text


def _fits(arguments: Arguments, name: str, value: Any) -> bool:
    try:
        arguments.some({name: value})
    except InvalidArguments:
        return False
    return True


def moment_of(run_at: str | None, delay: str | None) -> float | None:
    """Return the wall time in seconds of --run-at or --delay, None for neither; raise ConfigurationError."""
    from time import time

    if run_at is not None and delay is not None:
        raise ConfigurationError("give one of --run-at and --delay")
    if delay is not None:
        return time() + seconds(delay, "--delay")
    if run_at is None:
        return None
    from outlast.declare.options import Options

    try:
        moment: float | datetime = float(run_at)
    except ValueError:
        try:
            moment = datetime.fromisoformat(run_at)
        except ValueError:
            raise ConfigurationError(
                f"--run-at {run_at}: give a time with its zone, such as 2026-05-01T09:00+02:00, or seconds since 1970"
            ) from None
    return Options(run_at=moment).due(0)
