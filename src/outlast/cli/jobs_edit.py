"""`outlast jobs edit` and `outlast dead edit`: change arguments, priority or due time; redrive in the same step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import msgspec
import typer

from outlast.cli.common_options import CommonOptions
from outlast.cli.job_values import ArgOption, arguments_json, moment_of
from outlast.cli.output import show
from outlast.cli.output.answers import print_answers
from outlast.cli.store_access import find_job, find_store, on_store
from outlast.core.claims import MARK
from outlast.core.errors import BodyTooLarge, ConfigurationError
from outlast.core.store.control import Command, Edit, Redrive
from outlast.core.store.records import JobRecord
from outlast.declare.options import check_priority

if TYPE_CHECKING:
    from msgspec import Raw

    from outlast.admin.access import StoreAccess
    from outlast.core.policy import Priority

__all__ = ["edit"]


def edit(
    options: CommonOptions,
    *,
    id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")],  # noqa: A002
    arg: ArgOption = None,
    args: Annotated[str | None, typer.Option("--args", metavar="JSON", help="All arguments, as a JSON object.")] = None,
    priority: Annotated[str | None, typer.Option("--priority", help="high, normal or low.")] = None,
    run_at: Annotated[
        str | None, typer.Option("--run-at", help="The due time: 2026-05-01T09:00+02:00, or seconds since 1970.")
    ] = None,
    delay: Annotated[str | None, typer.Option("--delay", help="Due this long from now: 5m.")] = None,
    redrive: Annotated[bool, typer.Option("--redrive", help="Also make an ended job ready again.")] = False,
) -> None:
    """Change a waiting, dead, cancelled or expired job. Arguments that are not named do not change.

    With --app, the arguments are checked against the handler. The key and the unique key do not change.
    """
    if priority is not None:
        check_priority(priority)
    due = moment_of(run_at, delay)
    if arg is None and args is None and priority is None and due is None:
        raise ConfigurationError(
            "edit: name what to change: --arg NAME=VALUE, --args JSON, --priority, --run-at, --delay"
        )
    if arg is not None and args is not None:
        raise ConfigurationError("edit: give --arg for some arguments, or --args for all of them")
    access = find_store(options)
    whole, change = _arguments(access, find_job(access, id), arg, args)
    commands = _commands(id, whole, change, cast("Priority | None", priority), due, redrive=redrive)
    answers = on_store(access, lambda store: store.control.apply(commands))
    answer = next((each for each in answers if not each.ok), answers[0])
    print_answers([id], [answer], json=options.json, done="is changed, and ready again" if redrive else "is changed")


def _commands(
    id_: str, whole: Raw | None, change: Raw | None, priority: Priority | None, due: float | None, *, redrive: bool
) -> list[Command]:
    """Return the commands of one step; the due time comes last, since a redrive sets it too."""
    if not redrive:
        return [Edit(id_, args=whole, change=change, priority=priority, run_at=due)]
    commands: list[Command] = [Edit(id_, args=whole, change=change, priority=priority), Redrive(id_)]
    return commands if due is None else [*commands, Edit(id_, run_at=due)]


def _arguments(
    access: StoreAccess, record: JobRecord, pairs: list[str] | None, text: str | None
) -> tuple[Raw | None, Raw | None]:
    """Return all arguments and those to change, at most one of them set.

    Raise InvalidArguments, ConfigurationError, BodyTooLarge.
    """
    if pairs is None and text is None:
        return None, None
    kinds = {} if access.app is None else access.app.composer.arguments
    if access.app is not None and record.kind not in kinds:
        show.note(f"outlast: {record.kind} is not declared by {access.app.name}: its arguments are not checked")
    arguments = kinds.get(record.kind)
    if pairs is not None and MARK in record.args:
        raise ConfigurationError(
            "edit: the arguments of this job are in the object store, so that none of them can be changed: give all of "
            "them with --args"
        )
    if pairs is not None:
        found = arguments_json(pairs, arguments, record)
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
