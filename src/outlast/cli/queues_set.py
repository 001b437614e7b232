"""`outlast queues set`: override the declared limits and bounds of a queue in use, or return to them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from outlast.cli.common_options import CommonOptions
from outlast.cli.output import show
from outlast.cli.store_access import find_store, on_store
from outlast.core.errors import ConfigurationError
from outlast.core.exitcodes import NOT_FOUND
from outlast.core.store.broker import QueueStats
from outlast.core.store.control import Adjust
from outlast.core.text import clean

__all__ = ["limits_line", "set_"]

_OVERRIDDEN = "\n* set with `outlast queues set`, overrides the declared value; --reset NAME returns to it"


def limits_line(stats: QueueStats) -> str:
    """Return a queue's limits as one line; * marks those that an operator has set."""
    named = [
        f"{name}={value}{'*' if name in stats.changed else ''}"
        for name, value in stats.limits.items()
        if name != "max_depth" or name in stats.changed  # the declared one is in the depth column
    ]
    named += [f"{name}=none*" for name in stats.changed if name not in stats.limits and not name.endswith("burst")]
    return " ".join(named) or "-"


def set_(
    options: CommonOptions,
    *,
    name: Annotated[str, typer.Argument(metavar="QUEUE", help="The queue.")],
    concurrency: Annotated[int | None, typer.Option(metavar="N", help="Jobs running at once.")] = None,
    rate: Annotated[str | None, typer.Option(metavar="RATE", help="Jobs that start: 10/s, 100/minute, 5/30s.")] = None,
    burst: Annotated[int | None, typer.Option(metavar="N", help="Jobs that may start at once.")] = None,
    per_key_concurrency: Annotated[int | None, typer.Option(metavar="N", help="The same for each key.")] = None,
    per_key_rate: Annotated[str | None, typer.Option(metavar="RATE", help="The same for each key.")] = None,
    per_key_burst: Annotated[int | None, typer.Option(metavar="N", help="The same for each key.")] = None,
    weight: Annotated[list[str] | None, typer.Option(metavar="KEY=N", help="Jobs of the key in each round.")] = None,
    max_depth: Annotated[int | None, typer.Option(metavar="N", help="Unfinished jobs.")] = None,
    max_bytes: Annotated[int | None, typer.Option(metavar="N", help="Bytes of their arguments.")] = None,
    max_age: Annotated[str | None, typer.Option(metavar="TIME", help="How long the first job may have waited.")] = None,
    on_full: Annotated[str | None, typer.Option(metavar="reject|shed", help="What to do at a bound.")] = None,
    per_key_max_depth: Annotated[int | None, typer.Option(metavar="N", help="The same for each key.")] = None,
    per_key_max_bytes: Annotated[int | None, typer.Option(metavar="N", help="The same for each key.")] = None,
    per_key_max_age: Annotated[str | None, typer.Option(metavar="TIME", help="The same for each key.")] = None,
    no_limit: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Remove: rate, per-key-rate...")] = None,
    reset: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Use the declared value; all: of all.")
    ] = None,
) -> None:
    """Change limits of a queue in use. The change holds at once, in every process, and survives deploys."""
    limits = {
        "concurrency": concurrency,
        "rate": rate,
        "burst": burst,
        "per_key.concurrency": per_key_concurrency,
        "per_key.rate": per_key_rate,
        "per_key.burst": per_key_burst,
        "max_depth": max_depth,
        "max_bytes": max_bytes,
        "max_age": max_age,
        "on_full": on_full,
        "per_key.max_depth": per_key_max_depth,
        "per_key.max_bytes": per_key_max_bytes,
        "per_key.max_age": per_key_max_age,
    }
    changes: dict[str, Any] = {key: value for key, value in limits.items() if value is not None}
    changes |= {_name(each): None for each in no_limit or ()}
    changes |= dict(_weight(each) for each in weight or ())
    resets = {_name(each) for each in reset or ()}
    if not changes and not resets:
        raise ConfigurationError("outlast queues set: name what to change, such as --concurrency 5 (see --help)")
    access = find_store(options)
    found = on_store(access, lambda store: store.broker.stats([name])).get(name)
    if found is not None:
        if "all" in resets:
            resets = set(found.changed)
        resets |= {f"{each[:-4]}burst" for each in resets if each in ("rate", "per_key.rate")}
        on_store(access, lambda store: store.control.apply([Adjust(name, changes, tuple(sorted(resets)))]))
        found = on_store(access, lambda store: store.broker.stats([name])).get(name)
    if found is None:
        show.note(f"outlast: {clean(name)}: no queue of this name")
        raise typer.Exit(NOT_FOUND)
    if options.json:
        show.json({"name": name, "limits": found.limits, "changed": list(found.changed)})
    else:
        show.say(clean(f"{name}  {limits_line(found)}") + (_OVERRIDDEN if found.changed else ""))


def _name(option: str) -> str:
    """Return the name that `Adjust` uses: "per-key-rate" is per_key.rate, "weight=gold" weights.gold."""
    for prefix in ("weight=", "weights.", "weight."):
        if option.startswith(prefix):
            return f"weights.{option.removeprefix(prefix)}"
    plain = option.replace("-", "_")
    return f"per_key.{plain.removeprefix('per_key_')}" if plain.startswith("per_key_") else plain


def _weight(text: str) -> tuple[str, int]:
    key, equals, number = text.rpartition("=")
    if not equals or not key or not number.isdecimal():
        raise ConfigurationError(f"--weight {text}: give a key and a whole number, such as --weight gold=3")
    return f"weights.{key}", int(number)
