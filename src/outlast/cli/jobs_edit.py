"""`outlast jobs edit` and `outlast dead edit`: other arguments, another priority or time, and another life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from outlast.cli.common_options import AppOption, JsonOption, UrlOption, common_options
from outlast.cli.job_values import ArgOption, arguments_json, moment_of
from outlast.cli.output import show
from outlast.cli.output.answers import print_answers
from outlast.cli.store_access import find_store, on_store
from outlast.core.errors import BodyTooLarge, ConfigurationError
from outlast.core.exitcodes import NOT_FOUND
from outlast.core.store.control import Command, Edit, Redrive
from outlast.core.store.records import JobRecord
from outlast.declare.options import check_priority

if TYPE_CHECKING:
    from msgspec import Raw

    from outlast.admin.access import StoreAccess
    from outlast.core.policy import Priority

__all__ = ["edit"]


def edit(
    ctx: typer.Context,
    *,
    id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")],  # noqa: A002
    arg: ArgOption = None,
    args: Annotated[str | None, typer.Option("--args", metavar="JSON", help="All arguments, as a JSON object.")] = None,
    priority: Annotated[str | None, typer.Option("--priority", help="high, normal or low.")] = None,
    run_at: Annotated[
        str | None, typer.Option("--run-at", help="When it is due: 2026-05-01T09:00+02:00, or seconds since 1970.")
    ] = None,
    delay: Annotated[str | None, typer.Option("--delay", help="Due in so long from now: 5m.")] = None,
    redrive: Annotated[bool, typer.Option("--redrive", help="And make a job that has ended ready again.")] = False,
    url: UrlOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Change a job that waits, or one that is dead, cancelled or expired. Arguments that are not named stay.

    With --app they are checked against the handler. The key and the unique key stay what they were.
    """
    if priority is not None:
        check_priority(priority)
    due = moment_of(run_at, delay)
    if arg is None and args is None and priority is None and due is None:
        raise ConfigurationError(
            "edit: say what to change: --arg NAME=VALUE, --args JSON, --priority, --run-at, --delay"
        )
    if arg is not None and args is not None:
        raise ConfigurationError("edit: give --arg for some arguments, or --args for all of them")
    options = common_options(ctx, url, app, json)
    access = find_store(options)
    (record,) = on_store(access, lambda store: store.records.get([id]))
    if record is None:
        show.note(f"outlast: no job {id} in {access.shown}: it never was there, or was removed")
        raise typer.Exit(NOT_FOUND)
    whole, change = _arguments(access, record, arg, args)
    commands = _commands(id, whole, change, priority, due, redrive=redrive)
    answers = on_store(access, lambda store: store.control.apply(commands))
    answer = next((each for each in answers if not each.ok), answers[0])
    print_answers([id], [answer], json=options.json, done="is changed, and ready again" if redrive else "is changed")


def _commands(
    id_: str, whole: Raw | None, change: Raw | None, priority: str | None, due: float | None, *, redrive: bool
) -> list[Command]:
    """Return what is done in one step; a time comes last, since a redrive sets one."""
    known: dict[str, Priority] = {"high": "high", "normal": "normal", "low": "low"}
    wanted = None if priority is None else known[priority]
    if not redrive:
        return [Edit(id_, args=whole, change=change, priority=wanted, run_at=due)]
    commands: list[Command] = [Edit(id_, args=whole, change=change, priority=wanted), Redrive(id_)]
    return commands if due is None else [*commands, Edit(id_, run_at=due)]


def _arguments(
    access: StoreAccess, record: JobRecord, pairs: list[str] | None, text: str | None
) -> tuple[Raw | None, Raw | None]:
    """Return all arguments or those to be changed; raise InvalidArguments or ConfigurationError."""
    if pairs is None and text is None:
        return None, None
    kinds = {} if access.app is None else access.app.composer.arguments
    if access.app is not None and record.kind not in kinds:
        show.note(f"outlast: {record.kind} is not declared by {access.app.name}: its arguments are not checked")
    arguments = kinds.get(record.kind)
    if pairs is not None:
        found = arguments_json(pairs, arguments)
    else:
        values = _object(text or "")
        found = msgspec.Raw(msgspec.json.encode(values)) if arguments is None else arguments.bind((), values)
    if len(found) > access.settings.max_body:
        raise BodyTooLarge(record.kind, len(found), access.settings.max_body)
    return (None, found) if pairs is not None else (found, None)


def _object(text: str) -> dict[str, object]:
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"--args: give a JSON object, such as '{{\"order_id\": 8}}' ({error})") from None
