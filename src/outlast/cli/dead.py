"""`outlast dead`: the dead letters, and giving them another life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from outlast.cli import show
from outlast.cli.jobs import CursorOption, KindOption, LimitOption, QueueOption, check_cursor, show_more
from outlast.cli.place import ask, find_place
from outlast.cli.session import AppOption, DefaultGroup, JsonOption, UrlOption, session
from outlast.cli.text import counted, short, when
from outlast.core.errors import ConfigurationError
from outlast.core.protocols import Answer, JobRecord, Page, Query, Redrive

if TYPE_CHECKING:
    from outlast.brokers import Store

__all__ = ["register"]

group = typer.Typer(cls=DefaultGroup, help="Look at dead letters and redrive them.")


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(group, name="dead")


@group.command("list")
def list_(
    ctx: typer.Context,
    *,
    queue: QueueOption = None,
    kind: KindOption = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    url: UrlOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """List the dead letters with their reason and last error, the last accepted first."""
    given = session(ctx, url, app, json)
    place = find_place(given)
    query = Query(queue=queue, states=("dead",), kind=kind, limit=limit, cursor=check_cursor(cursor))
    page = ask(place, lambda store: store.find(query))
    if given.json:
        show.json({"jobs": page.records, "cursor": page.cursor})
        return
    _list(page, place.shown)
    show_more(page)


def _list(page: Page, where: str) -> None:
    from time import time

    now = time()
    heads = ("id", "kind", "reason", "attempts", "died", "error")
    rows = (
        (record.id, record.kind, record.reason or "", record.attempt, when(record.finished_at, now), _error(record))
        for record in page.records
    )
    show.table(heads, rows, empty=f"no dead letters in {where}")


def _error(record: JobRecord) -> str:
    if not record.failures:
        return ""
    last = record.failures[-1]
    return short(f"{last.type}: {last.message}", 100)


@group.command("redrive")
def redrive(
    ctx: typer.Context,
    *,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="These jobs.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every dead letter, or those of --queue and --kind.")
    ] = False,
    queue: QueueOption = None,
    kind: KindOption = None,
    url: UrlOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Make dead jobs ready again, with all their attempts."""
    if bool(ids) == everything:
        raise ConfigurationError("dead redrive: name ids, or give --all (also with --queue NAME, --kind NAME)")
    if ids and (queue or kind):
        raise ConfigurationError("dead redrive: --queue and --kind go with --all")
    given = session(ctx, url, app, json)
    place = find_place(given)
    from outlast.cli.answers import tell

    if ids:
        answers = ask(place, lambda store: store.apply([Redrive(each) for each in ids]))
        tell(ids, answers, json=given.json, done="is ready again")
        return
    done = ask(place, lambda store: _all(store, Query(queue=queue, states=("dead",), kind=kind, limit=500)))
    refused = [(name, answer) for name, answer in done if not answer.ok]
    if given.json:
        tell([name for name, _ in done], [answer for _, answer in done], json=True, done="")
        return
    show.say(f"{counted(len(done) - len(refused), 'job')} ready again")
    tell([name for name, _ in refused], [answer for _, answer in refused], json=False, done="")


async def _all(store: Store, query: Query) -> list[tuple[str, Answer]]:
    """Redrive page by page, so that a hundred thousand neither fill the memory nor hold the store for long."""
    import msgspec

    done: list[tuple[str, Answer]] = []
    while True:
        page = await store.find(query)
        ids = [record.id for record in page.records]
        done += zip(ids, await store.apply([Redrive(each) for each in ids]), strict=True)
        if page.cursor is None:
            return done
        query = msgspec.structs.replace(query, cursor=page.cursor)
