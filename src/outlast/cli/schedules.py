"""`outlast schedules`: show schedules in words; edit, pause, resume, run now, remove."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec.structs import asdict, replace

from outlast.cli.common_options import CommonOptions, DefaultGroup, command
from outlast.cli.output import show
from outlast.cli.output.answers import print_answers
from outlast.cli.store_access import find_store, on_store
from outlast.core.errors import ConfigurationError, StoreMissing
from outlast.core.exitcodes import NOT_FOUND
from outlast.core.schedule import (
    Amendment,
    EditSchedule,
    PauseSchedule,
    RemoveSchedule,
    RunSchedule,
    ScheduleRecord,
    Spec,
)
from outlast.core.text import counted, short, when

if TYPE_CHECKING:
    from outlast.admin.access import StoreAccess

__all__ = ["register"]

group = typer.Typer(cls=DefaultGroup, help="Show schedules and change them.")
Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Schedules.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(group, name="schedules")


@command(group, "list")
def list_(options: CommonOptions) -> None:
    """Show every schedule in words, with its next five runs; with --app also those that no worker has added yet."""
    access = find_store(options)
    declared = {} if access.app is None else access.app.registry.schedules
    absent: StoreMissing | None = None
    try:
        records = on_store(access, lambda store: store.schedules.schedules())
    except StoreMissing as error:
        if not declared or options.url:
            raise
        records, absent = [], error
    now = time()
    documents = [_document(record, now) for record in records]
    missing = sorted(set(declared) - {record.name for record in records})
    if options.json:
        show.json({"schedules": documents, "declared": missing})
    elif not records and not declared:
        show.note(f"no schedules in {access.shown}: a worker adds the schedules that it declares when it starts")
    for record, document in () if options.json else zip(records, documents, strict=True):
        _block(record, document, now)
    for name in () if options.json else missing:
        _declared(name, declared[name].spec)
    if absent is not None:
        raise absent


def _declared(name: str, spec: Spec) -> None:
    from outlast.scheduler import words

    show.line((name, "bold"), "  ", words.words(spec, name))
    show.line("  ", ("declared, but no worker that declares it has started", "bold yellow"))


def _block(record: ScheduleRecord, document: dict[str, Any], now: float) -> None:
    from outlast.scheduler import words

    show.line((record.name, "bold"), "  ", document["when"])
    show.line("  ", _counts(record, now))
    if document["remarks"]:
        show.line("  ", (short("; ".join(document["remarks"]), 300), "bold yellow"))
    if document["next"]:
        show.line("  next  ", ", ".join(words.local(at, record.spec, now) for at in document["next"]))


def _counts(record: ScheduleRecord, now: float) -> str:
    parts = [f"{record.kind} in {record.queue or '-'}", counted(record.fired, "run")]
    if record.skipped:
        parts.append(f"{record.skipped:,} skipped")
    if record.last_tick is not None:
        parts.append(f"last {when(record.last_tick, now)}")
    return ", ".join(parts)


def _document(record: ScheduleRecord, now: float) -> dict[str, Any]:
    from outlast.scheduler import words

    try:
        description, runs = words.words(record.spec, record.name), words.next_runs(record, now)
    except ConfigurationError as error:
        description, runs = str(error), []
    return {
        "name": record.name,
        "app": record.app,
        "kind": record.kind,
        "queue": record.queue,
        "when": description,
        "next": runs,
        **asdict(record.spec),
        "edited": record.edited is not None,
        "paused": record.paused,
        "fired": record.fired,
        "skipped": record.skipped,
        "backlog": record.backlog,
        "last": record.last,
        "last_tick": record.last_tick,
        "seen": record.seen,
        "error": record.error,
        "remarks": words.remarks(record, now),
    }


@command(group, "show")
def show_(options: CommonOptions, name: Name) -> None:
    """Show everything about one schedule."""
    from outlast.scheduler import words

    record = _find(find_store(options), name)
    now = time()
    document = _document(record, now)
    if options.json:
        show.json(document)
        return
    spec = record.spec
    show.facts(
        (
            ("schedule", name),
            ("when", document["when"]),
            ("job", f"{record.kind} in {record.queue or '-'} of app {record.app}"),
            ("cron", spec.cron or ""),
            ("misfire", f"{spec.misfire}, at most {spec.misfire_limit}" if spec.misfire == "all" else spec.misfire),
            ("overlap", spec.overlap),
            ("runs", str(record.fired)),
            ("skipped", str(record.skipped) if record.skipped else ""),
            ("last tick", show.local_time(record.last_tick, now)),
            ("last job", record.last or ""),
            ("declared", when(record.seen, now)),
            ("in code", words.words(record.declared, name) if record.edited is not None else ""),
            ("remarks", ("; ".join(document["remarks"]), "bold yellow") if document["remarks"] else ""),
        )
    )
    for at in document["next"]:
        show.say(f"  {words.local(at, spec, now)}  ({when(at, now)})")


def _find(access: StoreAccess, name: str) -> ScheduleRecord:
    for record in on_store(access, lambda store: store.schedules.schedules()):
        if record.name == name:
            return record
    show.note(f"outlast: no schedule {name!r} in {access.shown}")
    raise typer.Exit(NOT_FOUND)


@command(group, "edit")
def edit(
    options: CommonOptions,
    name: Name,
    *,
    cron: Annotated[str | None, typer.Option("--cron", help='Five fields, such as "0 5 * * 1-5".')] = None,
    every: Annotated[str | None, typer.Option("--every", metavar="DURATION", help="An interval, such as 5m.")] = None,
    tz: Annotated[str | None, typer.Option("--tz", metavar="ZONE", help="Such as Europe/Berlin.")] = None,
    jitter: Annotated[str | None, typer.Option("--jitter", metavar="DURATION", help="Spread over this time.")] = None,
    misfire: Annotated[str | None, typer.Option("--misfire", help="skip, latest or all.")] = None,
    misfire_limit: Annotated[int | None, typer.Option("--misfire-limit", min=1, help="At most this many.")] = None,
    overlap: Annotated[str | None, typer.Option("--overlap", help="allow, skip or queue.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Return to what the code declares.")] = False,
) -> None:
    """Change when a schedule runs, from now on, until the code declares another value."""
    from outlast.scheduler.ticks import Ticks

    fields = {
        "cron": cron,
        "every": every,
        "tz": tz,
        "jitter": jitter,
        "misfire": misfire,
        "misfire_limit": misfire_limit,
        "overlap": overlap,
    }
    changes = {option: value for option, value in fields.items() if value is not None}
    if bool(changes) == reset:
        raise ConfigurationError("schedules edit: name what to change, such as --cron '0 6 * * *', or --reset alone")
    spec = None
    if changes:
        spec = _changed(_find(find_store(options), name).spec, changes)
        Ticks(spec, name)
    _amend(options, [EditSchedule(name, spec)], "is reset to its code" if reset else "is changed", "is unchanged")


def _changed(spec: Spec, changes: dict[str, Any]) -> Spec:
    """Return the spec with these fields; a cron expression replaces an interval, and the other way round."""
    if "cron" in changes:
        changes = {"every": None, **changes}
    elif "every" in changes:
        changes = {"cron": None, "tz": "UTC", **changes}
    return replace(spec, **changes)


@command(group, "pause")
def pause(options: CommonOptions, names: Names) -> None:
    """Stop firing these schedules until resume. The pause survives deploys."""
    _amend(options, [PauseSchedule(name) for name in names], "is paused", "is paused already")


@command(group, "resume")
def resume(options: CommonOptions, names: Names) -> None:
    """Fire these schedules again; ticks that became due during the pause are left out."""
    _amend(options, [PauseSchedule(name, on=False) for name in names], "is resumed", "was not paused")


@command(group, "run")
def run(options: CommonOptions, names: Names) -> None:
    """Run these once now, regardless of time, pause and overlap."""
    _amend(options, [RunSchedule(name) for name in names], "runs as soon as a worker that declares it sees this")


@command(group, "remove")
def remove(options: CommonOptions, names: Names) -> None:
    """Remove schedules that no live worker declares. Their jobs stay."""
    _amend(options, [RemoveSchedule(name) for name in names], "is removed")


def _amend(options: CommonOptions, changes: list[Amendment], done: str, unchanged: str = "") -> None:
    answers = on_store(find_store(options), lambda store: store.schedules.amend(changes))
    names = [change.name for change in changes]
    print_answers(names, answers, json=options.json, done=done, unchanged=unchanged, noun="schedule")
