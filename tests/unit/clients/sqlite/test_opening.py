"""Opening an SQLite file: which files are refused, with which error, and that they stay unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import apsw
import pytest

from outlast.brokers.sqlite import SqliteStore
from outlast.brokers.sqlite.statements import SCHEMA, migrations, open_store
from outlast.brokers.sqlite.tuning import Tuning
from outlast.clients.sqlite.connection import check_sqlite, open_file
from outlast.clients.sqlite.file_system import durability_of
from outlast.core.errors import StoreCorrupt, StoreError, StoreUnavailable, UnsafeStore
from outlast.testing.clock import FakeClock

EXPAND = "alter table job add column shade text; update store set oldest_code = {oldest};"
"""What a later version may do to the file."""


def steps(oldest: int) -> dict[int, str]:
    """Return the migrations of a later version, whose files code of schema `oldest` may still use."""
    return {**migrations(), SCHEMA + 1: EXPAND.format(oldest=oldest)}


def test_the_schema_number_is_that_of_the_last_migration() -> None:
    assert max(migrations()) == SCHEMA
    assert list(migrations()) == list(range(1, SCHEMA + 1))


def test_an_older_file_is_migrated(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    open_store(path, Tuning()).close()
    db = open_store(path, Tuning(), steps=steps(oldest=SCHEMA))
    assert db.pragma("user_version") == SCHEMA + 1
    assert "shade" in [row[1] for row in db.execute("pragma table_info(job)")]
    db.close()


def test_a_migration_is_atomic(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    open_store(path, Tuning()).close()
    with pytest.raises(StoreError, match=r"jobs\.db.*no such table"):
        open_store(path, Tuning(), steps={**migrations(), SCHEMA + 1: "create table x(y); drop table nowhere"})
    db = open_store(path, Tuning())
    assert db.pragma("user_version") == SCHEMA
    assert not db.table_exists("main", "x")
    db.close()


async def test_the_previous_version_works_on_a_newer_file(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    open_store(path, Tuning(), steps=steps(oldest=SCHEMA)).close()
    store = SqliteStore(path, clock=FakeClock())
    await store.open()
    await store.close()


async def test_the_previous_version_works_on_while_a_newer_one_migrates(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    store = SqliteStore(path, clock=FakeClock())
    await store.open()
    await store.stats([])
    open_store(path, Tuning(), steps=steps(oldest=SCHEMA)).close()
    assert await store.stats([]) == {}
    await store.close()


def test_a_file_that_needs_newer_code_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    open_store(path, Tuning(), steps=steps(oldest=SCHEMA + 1)).close()
    needs = rf"jobs\.db has schema {SCHEMA + 1}, which needs code of schema {SCHEMA + 1}.*upgrade outlast"
    with pytest.raises(StoreError, match=needs):
        open_store(path, Tuning())


@pytest.mark.parametrize(
    "mark", ["", "pragma user_version = 7;", "pragma application_id = 7;", "pragma journal_mode = wal;"]
)
def test_another_programs_sqlite_file_is_left_alone(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "theirs.db"
    db = apsw.Connection(str(path))
    db.execute(f"{mark} create table theirs(x); insert into theirs values(1)").fetchall()
    db.close()
    before = path.read_bytes()
    with pytest.raises(
        StoreCorrupt, match=r"theirs\.db is an SQLite file of another kind, or of another program: give Outlast a"
    ):
        open_store(str(path), Tuning())
    assert path.read_bytes() == before


def test_a_file_that_is_not_sqlites_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(StoreCorrupt, match=r"notes\.txt is not an SQLite file: point OUTLAST_URL elsewhere"):
        open_store(str(path), Tuning())
    assert path.read_bytes() == b"Dear diary, " * 1000
    assert not (tmp_path / "notes.txt-wal").exists()


def test_a_file_cut_short_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    open_store(str(path), Tuning()).close()
    path.write_bytes(path.read_bytes()[:8192])
    with pytest.raises(StoreCorrupt, match=r"jobs\.db is damaged .*restore the newest backup"):
        open_store(str(path), Tuning())
    assert path.stat().st_size == 8192


def test_an_empty_file_is_a_fresh_one(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").touch()
    db = open_store(str(tmp_path / "jobs.db"), Tuning())
    assert db.pragma("user_version") == SCHEMA
    assert db.pragma("auto_vacuum") == 2
    db.close()


def test_only_its_owner_may_read_a_fresh_file(tmp_path: Path) -> None:
    open_store(str(tmp_path / "jobs.db"), Tuning()).close()
    assert (tmp_path / "jobs.db").stat().st_mode & 0o777 == 0o600


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "nowhere" / "jobs.db"), clock=FakeClock())
    with pytest.raises(StoreUnavailable, match=r"nowhere/jobs\.db: No such file or directory: does its folder exist"):
        await store.open()
    assert not (tmp_path / "nowhere").exists()


async def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").mkdir()
    store = SqliteStore(str(tmp_path / "jobs.db"), clock=FakeClock())
    with pytest.raises(StoreUnavailable, match=r"jobs\.db cannot be opened"):
        await store.open()


async def test_it_opens_after_the_folder_was_made(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "later" / "jobs.db"), clock=FakeClock())
    with pytest.raises(StoreUnavailable):
        await store.open()
    (tmp_path / "later").mkdir()
    await store.open()
    assert await store.stats([]) == {}
    await store.close()


async def test_two_names_of_one_file_share_the_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "real")
    store = SqliteStore(str(tmp_path / "alias" / "jobs.db"), clock=FakeClock())
    assert store.path == str(tmp_path / "real" / "jobs.db")


@pytest.mark.parametrize("version", ["3.51.2", "3.46.1", "3.45.0", "2.8.17"])
def test_an_sqlite_with_the_wal_reset_bug_is_refused(version: str) -> None:
    with pytest.raises(UnsafeStore, match=rf"SQLite {version} can corrupt.*install apsw>=3\.51\.3"):
        check_sqlite(version)


@pytest.mark.parametrize("version", ["3.51.3", "3.52.0", "3.54.1", "4.0.0"])
def test_a_later_sqlite_is_used(version: str) -> None:
    check_sqlite(version)


MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
23 22 0:21 / {folder}/shm rw,nosuid shared:2 - tmpfs tmpfs rw
24 22 0:44 / {folder}/home rw,relatime shared:3 master:1 - nfs4 server:/home rw,vers=4.2
25 24 0:45 / {folder}/home/ann\040lee/disk rw - xfs /dev/vdb rw
26 22 0:46 / {folder}/shared rw - {kind} host rw
27 22 0:47 / {folder}/dünn rw - 9p host rw
28 22 0:48 / {folder}/twice rw - autofs systemd-1 rw
29 22 0:49 / {folder}/twice rw - nfs server:/twice rw
"""


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("srv", "os-crash"),
        ("shm", "process-crash"),
        ("shmoo", "os-crash"),
        ("home/ann lee/disk", "os-crash"),
        ("home/ann lee", "nfs4"),
        ("dünn", "9p"),
        ("twice", "nfs"),
    ],
)
def test_the_file_system_decides(tmp_path: Path, folder: str, expected: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.strip().replace("{folder}", str(tmp_path)).replace("{kind}", "ext4"), encoding="utf-8")
    path = str(tmp_path / folder / "jobs.db")
    if expected.endswith("crash"):
        assert durability_of(path, str(mounts)) == expected
    else:
        with pytest.raises(UnsafeStore, match=rf"jobs\.db is on {expected}, where SQLite's locks.*use a local disk"):
            durability_of(path, str(mounts))


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "9p", "virtiofs", "cifs", "smb3", "fuse.sshfs", "ceph"])
def test_what_other_hosts_share_is_refused(tmp_path: Path, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.strip().replace("{folder}", str(tmp_path)).replace("{kind}", kind), encoding="utf-8")
    with pytest.raises(UnsafeStore, match=kind):
        durability_of(str(tmp_path / "shared" / "jobs.db"), str(mounts))


def test_an_unknown_fuse_promises_nothing(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    text = MOUNTS.strip().replace("{folder}", str(tmp_path)).replace("{kind}", "fuse.mergerfs")
    mounts.write_text(text, encoding="utf-8")
    assert durability_of(str(tmp_path / "shared" / "jobs.db"), str(mounts)) == "unknown"


def test_a_link_is_judged_by_its_target(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    text = MOUNTS.strip().replace("{folder}", str(tmp_path)).replace("{kind}", "nfs")
    mounts.write_text(text, encoding="utf-8")
    (tmp_path / "jobs.db").symlink_to(tmp_path / "shared" / "jobs.db")
    with pytest.raises(UnsafeStore, match="nfs"):
        durability_of(str(tmp_path / "jobs.db"), str(mounts))


@pytest.mark.parametrize(("synchronous", "level"), [("full", 2), ("normal", 1)])
def test_a_file_syncs_as_configured(tmp_path: Path, synchronous: Literal["full", "normal"], level: int) -> None:
    path = str(tmp_path / "cache.db")
    db = open_file(path, application_id=7, migrations={1: "create table entry(x)"}, synchronous=synchronous)
    assert db.pragma("synchronous") == level
    db.close()


def test_without_a_query_for_the_oldest_code_a_newer_file_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "cache.db")
    newer = {1: "create table entry(x)", 2: "alter table entry add column y"}
    open_file(path, application_id=7, migrations=newer).close()
    with pytest.raises(
        StoreError, match=r"cache\.db has schema 2, which needs code of schema 2 or newer, not 1: upgrade"
    ):
        open_file(path, application_id=7, migrations={1: newer[1]})
