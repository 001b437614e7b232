"""Turns the facts about an SQLite file into findings, by pure functions, and orders them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from outlast.brokers.kind import Inspection
from outlast.brokers.sqlite.inspection import Contents, Site, examine, look_around
from outlast.core.clock import Clock
from outlast.core.errors import OutlastError
from outlast.core.findings import Finding
from outlast.core.text import duration, size

__all__ = ["inspect", "of_clock", "of_disk", "of_files", "of_log", "of_sockets"]

LOW_DISK: Final = 256 << 20
TIGHT_DISK: Final = 1 << 30
LONG_LOG: Final = 256 << 20
SKEW: Final = 5.0


def inspect(path: str, clock: Clock, *, why: str, pages: bool) -> Inspection:
    """Examine the file system, then the file. why: the setting that names the file; pages: check every page."""
    site = look_around(path)
    found = [*_of_site(site, why)]
    if site.unsafe or not site.exists or site.wrong_log:
        return Inspection(found, usable=False)
    try:
        contents = examine(path, clock, whole=pages)
    except OutlastError as error:
        return Inspection([*found, Finding("file", "error", str(error), "see the message")], usable=False)
    found += _of_contents(contents, clock.time(), pages=pages)
    return Inspection(found, usable=not contents.faults, stale=contents.stale, subject="file")


def _of_site(site: Site, why: str) -> Iterator[Finding]:
    if site.unsafe:
        yield Finding("file system", "error", site.unsafe, "move the file to a local disk")
        return
    if site.durability == "process-crash":
        fix = "fine for tests; else move the file to a disk"
        yield Finding("file system", "warning", "in memory (tmpfs): jobs do not survive a reboot", fix)
    else:
        yield Finding("file system", "ok", f"an accepted job survives: {site.durability}")
    yield of_disk(site.free)
    if not site.exists:
        fix = "enqueue a first job, or name the right one with --url, --app or OUTLAST_URL"
        yield Finding("store", "error", f"no store at {site.path} ({why})", fix)
        return
    yield Finding("store", "ok", f"{site.path} ({why})")
    yield from of_files(mode=site.mode, foreign=site.foreign, writable=site.writable, path=site.path)
    if site.wrong_log:
        fix = "stop all processes; then start a worker, or bring a backup back: outlast restore BACKUP"
        yield Finding("write-ahead log", "error", site.wrong_log, fix)
        return
    yield of_log(site.log_size)
    yield of_sockets(site.sockets)


def _of_contents(contents: Contents, now: float, *, pages: bool) -> Iterator[Finding]:
    if contents.faults:
        fix = "stop all processes, keep the file and its -wal, restore a backup, or recover with sqlite3's .recover"
        yield Finding("integrity", "error", "; ".join(contents.faults), fix)
        return
    yield Finding("integrity", "ok", "every page is sound" if pages else "opens; its pages were not checked")
    if contents.journal_mode == "wal":
        yield Finding("journal", "ok", f"wal, schema {contents.schema}")
    else:
        fix = "start a worker: it sets the mode; and keep other tools from changing it"
        yield Finding("journal", "error", f"journal_mode is {contents.journal_mode}, not wal", fix)
    yield from of_records(contents.damaged)
    yield of_clock(contents.newest, now)


def of_disk(free: int) -> Finding:
    """Judge the free bytes of the file's disk."""
    if free < LOW_DISK:
        return Finding("disk space", "error", f"{size(free)} free", "free some space: at 0 no job is accepted any more")
    if free < TIGHT_DISK:
        return Finding("disk space", "warning", f"{size(free)} free", "free some space soon")
    return Finding("disk space", "ok", f"{size(free)} free")


def of_files(*, mode: int, foreign: Iterable[str], writable: bool, path: str) -> Iterator[Finding]:
    """Judge the permissions of the file and of the files beside it."""
    others = ", ".join(foreign)
    if not writable:
        fix = "run as its owner, or chown it"
        yield Finding("permissions", "error", f"this user may not write {path} or its folder", fix)
    elif others:
        fix = "chown it to the file's owner: a command was run as another user"
        yield Finding("permissions", "error", f"{others} belongs to another user than {path}", fix)
    elif mode & 0o007:
        fix = f"chmod o-rwx {path}"
        yield Finding("permissions", "warning", f"every user of this machine may read the jobs in {path}", fix)
    else:
        yield Finding("permissions", "ok", f"mode {mode & 0o777:03o}, writable")


def of_log(length: int) -> Finding:
    """Judge the length of the write-ahead log."""
    if length > LONG_LOG:
        fix = "a process reads without end, or none runs: find it with fuser, and restart the oldest"
        return Finding("write-ahead log", "warning", size(length), fix)
    return Finding("write-ahead log", "ok", size(length))


def of_records(damaged: Sequence[str]) -> Iterator[Finding]:
    """Tell of jobs with damaged values that no call has met yet, by the ids of some."""
    if damaged:
        fix = "see it with outlast jobs show ID, remove it with outlast jobs purge; a call that it stops sets it aside"
        yield Finding("records", "error", f"damaged: {', '.join(damaged)}", fix)


def of_sockets(refusal: str) -> Finding:
    """Judge the folder in which processes notify each other. refusal: why it is not used, "" when it is."""
    if refusal:
        text = f"{refusal}: it is not used, and workers find new jobs by a poll every second"
        return Finding("notifications", "warning", text, "remove that folder, and restart the processes")
    return Finding("notifications", "ok", "between the processes of this machine")


def of_clock(newest: float | None, now: float) -> Finding:
    """Judge this machine's wall clock by the newest job."""
    if newest is not None and newest > now + SKEW:
        fix = "the clock of this machine, or of the one that enqueued it, is wrong: run an NTP client on both"
        return Finding("clock", "error", f"a job was accepted {duration(newest - now)} in the future", fix)
    return Finding("clock", "ok", "not behind the jobs")
