"""Lists jobs page by page, for `outlast jobs` and `outlast dead`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from msgspec.structs import fields, replace

from outlast.cli.common_options import CommonOptions
from outlast.cli.completion import filters, kinds, queues, states
from outlast.cli.output import show
from outlast.cli.store_access import find_store, on_store
from outlast.core.errors import ConfigurationError
from outlast.core.store.records import JobRecord, Page, Query
from outlast.core.store.store import Store
from outlast.core.text import short

__all__ = [
    "CursorOption",
    "KindOption",
    "LimitOption",
    "QueueOption",
    "StateOption",
    "Words",
    "document_of",
    "error_of",
    "list_jobs",
    "query_of",
]

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILTER]...",
        help="Such as state:dead kind:send_receipt key:acme args.order_id:7 older:2h; all must match.",
        autocompletion=filters,
    ),
]
QueueOption = Annotated[
    str | None, typer.Option("--queue", "-q", help="Only jobs of this queue.", autocompletion=queues)
]
KindOption = Annotated[
    str | None, typer.Option("--kind", help="Only jobs of this kind (the handler's name).", autocompletion=kinds)
]
StateOption = Annotated[
    list[str] | None,
    typer.Option("--state", "-s", help="Only these states; may be repeated, or a,b.", autocompletion=states),
]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most this many.")]
CursorOption = Annotated[str | None, typer.Option("--cursor", help="Continue after the previous page.")]

Row = Callable[[JobRecord, float, str], Sequence[show.Cell]]
"""Returns the cells of a job, at this wall time, with the guards that it waits for, in words."""


def query_of(
    words: Sequence[str] | None,
    *,
    queue: str | None = None,
    kind: str | None = None,
    key: str | None = None,
    state: Sequence[str] | None = None,
) -> Query:
    """Return the query of filter words and options together; raise ConfigurationError."""
    from time import time

    from outlast.core.filters import parse

    named = {"queue": queue, "kind": kind, "key": key}
    filters = [f"{name}:{value}" for name, value in named.items() if value is not None]
    filters += [f"state:{each.strip()}" for names in state or () for each in names.split(",") if each.strip()]
    return parse([*filters, *(words or ())], time())


def list_jobs(
    options: CommonOptions, query: Query, *, limit: int, cursor: str | None, heads: Sequence[str], row: Row, empty: str
) -> None:
    """Print one page of jobs: a table with these heads and a `row` for each, or JSON; `empty` if there are none."""
    from time import time

    from outlast.admin.guards import waits_of_jobs

    query = replace(query, limit=limit, cursor=_check_cursor(cursor))
    access = find_store(options)
    page = on_store(access, lambda store: _full_page(store, query))
    waits = on_store(access, lambda store: waits_of_jobs(store, page.records))
    if options.json:
        jobs = [document_of(record, waits.get(record.id, "")) for record in page.records]
        show.json({"jobs": jobs, "cursor": page.cursor})
        return
    now = time()
    show.table(
        heads,
        (row(record, now, waits.get(record.id, "")) for record in page.records),
        empty=f"{empty} in {access.shown}",
    )
    if page.cursor is not None:
        show.note(f"There are more: add --cursor {page.cursor}")


def document_of(record: JobRecord, waits_for: str) -> JobRecord | dict[str, Any]:
    """Return a job as it is printed as JSON, with the guards that hold it up, if there are any."""
    if not waits_for:
        return record
    return {field.encode_name: getattr(record, field.name) for field in fields(record)} | {"waits_for": waits_for}


def error_of(record: JobRecord) -> str:
    """Return the last failure of a job, "" without one: on a terminal only the first line, at most 200 characters."""
    if not record.failures:
        return ""
    text = f"{record.failures[-1].type}: {record.failures[-1].message}"
    return short(text, 200) if show.on_terminal() else text.strip()


async def _full_page(store: Store, query: Query) -> Page:
    """Return a full page: one call of `find` reads a limited number of jobs."""
    page = await store.records.find(query)
    while page.cursor is not None and len(page.records) < query.limit:
        more = await store.records.find(replace(query, limit=query.limit - len(page.records), cursor=page.cursor))
        page = Page([*page.records, *more.records], more.cursor)
    return page


def _check_cursor(cursor: str | None) -> str | None:
    """Return the cursor; raise ConfigurationError if no page returned it."""
    queue, colon, order = (cursor or "").rpartition(":")  # on a Cluster a page ends in a queue
    if (cursor is not None and not (order.isdecimal() or (colon and not order))) or (colon and not queue):
        raise ConfigurationError(f"--cursor {cursor}: give the cursor that the previous page printed")
    return cursor
