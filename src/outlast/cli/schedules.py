"""`outlast schedules`: what runs by the clock, in words; edit, pause, resume, run now, remove."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from outlast.cli.common_options import AppOption, CommonOptions, DefaultGroup, JsonOption, UrlOption, common_options
from outlast.cli.output import show
from outlast.cli.output.times import local_time
from outlast.cli.store_access import find_store, on_store
from outlast.core.errors import ConfigurationError
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

group = typer.Typer(cls=DefaultGroup, help="Look at what runs by the clock, and change it.")
Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Schedules.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(group, name="schedules")


@group.command("list")
def list_(ctx: typer.Context, *, url: UrlOption = None, app: AppOption = None, json: JsonOption = False) -> None:
    """Show every schedule in words, with its next five runs."""
    options = common_options(ctx, url, app, json)
    access = find_store(options)
    records = on_store(access, lambda store: store.schedules.schedules())
    now = time()
    if options.json:
        show.json({"schedules": [_document(record, now) for record in records]})
    elif not records:
        show.note(f"no schedules in {access.shown}: they appear when a worker that declares them has started")
    for record in () if options.json else records:
        _block(record, now)
    _not_there(access, records)


def _not_there(access: StoreAccess, records: list[ScheduleRecord]) -> None:
    if access.app is not None:
        missing = sorted(set(access.app.registry.schedules) - {record.name for record in records})
        if missing:
            show.note(f"declared, and no worker has started with it yet: {', '.join(missing)}")


def _block(record: ScheduleRecord, now: float) -> None:
    from outlast.scheduler import words

    try:
        said, runs = words.words(record.spec, record.name), words.next_runs(record, now)
    except ConfigurationError as error:
        said, runs = str(error), []
    show.line((record.name, "bold"), "  ", said)
    show.line("  ", _counts(record, now))
    if notes := words.remarks(record, now):
        show.line("  ", (short("; ".join(notes), 300), "bold yellow"))
    if runs:
        show.line("  next  ", ", ".join(words.local(at, record.spec, now) for at in runs))


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
        said, runs = words.words(record.spec, record.name), words.next_runs(record, now)
    except ConfigurationError as error:
        said, runs = str(error), []
    spec = record.spec
    return {
        "name": record.name,
        "app": record.app,
        "kind": record.kind,
        "queue": record.queue,
        "when": said,
        "next": runs,
        "cron": spec.cron,
        "every": spec.every,
        "tz": spec.tz,
        "jitter": spec.jitter,
        "misfire": spec.misfire,
        "misfire_limit": spec.misfire_limit,
        "overlap": spec.overlap,
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


@group.command("show")
def show_(
    ctx: typer.Context, name: Name, *, url: UrlOption = None, app: AppOption = None, json: JsonOption = False
) -> None:
    """Show all about one schedule."""
    from outlast.scheduler import words

    options = common_options(ctx, url, app, json)
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
            ("last tick", local_time(record.last_tick, now)),
            ("last job", record.last or ""),
            ("declared", when(record.seen, now)),
            ("in code", words.words(record.declared, name) if record.edited is not None else ""),
            ("remarks", ("; ".join(document["remarks"]), "bold yellow") if document["remarks"] else ""),
        )
    )
    for at in document["next"]:
        show.say(f"  {words.local(at, spec, now)}  ({when(at, now)})")


def _find(access: StoreAccess, name: str) -> ScheduleRecord:
    found = [each for each in on_store(access, lambda store: store.schedules.schedules()) if each.name == name]
    if not found:
        show.note(f"outlast: no schedule {name!r} in {access.shown}")
        raise typer.Exit(NOT_FOUND)
    return found[0]


@group.command("edit")
def edit(
    ctx: typer.Context,
    name: Name,
    *,
    cron: Annotated[str | None, typer.Option("--cron", help='Five fields, such as "0 5 * * 1-5".')] = None,
    every: Annotated[str | None, typer.Option("--every", metavar="DURATION", help="An interval, such as 5m.")] = None,
    tz: Annotated[str | None, typer.Option("--tz", metavar="ZONE", help="Such as Europe/Berlin.")] = None,
    jitter: Annotated[str | None, typer.Option("--jitter", metavar="DURATION", help="Spread over this time.")] = None,
    misfire: Annotated[str | None, typer.Option("--misfire", help="skip, latest or all.")] = None,
    misfire_limit: Annotated[int | None, typer.Option("--misfire-limit", min=1, help="At most so many.")] = None,
    overlap: Annotated[str | None, typer.Option("--overlap", help="allow, skip or queue.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Take what the code declares.")] = False,
    url: UrlOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Change when a schedule runs, from now on, until its code says something else."""
    from outlast.scheduler.ticks import Ticks

    options = common_options(ctx, url, app, json)
    fields = {
        "cron": cron,
        "every": every,
        "tz": tz,
        "jitter": jitter,
        "misfire": misfire,
        "misfire_limit": misfire_limit,
        "overlap": overlap,
    }
    wanted = {option: value for option, value in fields.items() if value is not None}
    if bool(wanted) == reset:
        raise ConfigurationError("schedules edit: say what to change, such as --cron '0 6 * * *', or --reset alone")
    spec = None
    if wanted:
        spec = _changed(_find(find_store(options), name).spec, wanted)
        Ticks(spec, name)
    _amend(options, [EditSchedule(name, spec)], "is reset to its code" if reset else "is changed", "is so already")


def _changed(spec: Spec, wanted: dict[str, Any]) -> Spec:
    """Return the spec with these fields; a cron expression takes the place of an interval, and the other way round."""
    fields = {field: getattr(spec, field) for field in Spec.__struct_fields__}
    if "cron" in wanted:
        fields["every"] = None
    elif "every" in wanted:
        fields |= {"cron": None, "tz": "UTC"}
    return Spec(**{**fields, **wanted})


@group.command("pause")
def pause(
    ctx: typer.Context, names: Names, *, url: UrlOption = None, app: AppOption = None, json: JsonOption = False
) -> None:
    """Let nothing of these schedules fire until resume. Remembered, through deploys too."""
    options = common_options(ctx, url, app, json)
    _amend(options, [PauseSchedule(name) for name in names], "is paused", "is paused already")


@group.command("resume")
def resume(
    ctx: typer.Context, names: Names, *, url: UrlOption = None, app: AppOption = None, json: JsonOption = False
) -> None:
    """Go on from now: what came due in the pause is left out."""
    options = common_options(ctx, url, app, json)
    _amend(options, [PauseSchedule(name, on=False) for name in names], "goes on", "was not paused")


@group.command("run")
def run(
    ctx: typer.Context, names: Names, *, url: UrlOption = None, app: AppOption = None, json: JsonOption = False
) -> None:
    """Run these once more, now, whatever their time, pause and overlap say."""
    options = common_options(ctx, url, app, json)
    _amend(options, [RunSchedule(name) for name in names], "runs as soon as a worker that declares it hears of this")


@group.command("remove")
def remove(
    ctx: typer.Context, names: Names, *, url: UrlOption = None, app: AppOption = None, json: JsonOption = False
) -> None:
    """Forget schedules that no live worker declares any more. Their jobs stay."""
    options = common_options(ctx, url, app, json)
    _amend(options, [RemoveSchedule(name) for name in names], "is removed")


def _amend(options: CommonOptions, changes: list[Amendment], done: str, unchanged: str = "") -> None:
    from outlast.cli.output.answers import print_answers

    answers = on_store(find_store(options), lambda store: store.schedules.amend(changes))
    names = [change.name for change in changes]
    print_answers(names, answers, json=options.json, done=done, unchanged=unchanged, noun="schedule")
