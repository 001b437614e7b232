"""Locks in the file: a turn is synced, the rest is not; a new boot ends all leases; what has ended is removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from outlast.testing.clock import FakeClock
from outlast.toolkit import file as toolkit_file
from outlast.toolkit.file import FileSession, ToolkitFile
from outlast.toolkit.lock.file import FileLocks, tidy
from outlast.toolkit.lock.store import Ask, Holding


def ask(holder: str, key: str = "lock:a") -> Ask:
    return Ask(key, holder, 1, 10.0, True, 0)


async def test_only_a_turn_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ToolkitFile(str(tmp_path / "toolkit.db"), FakeClock())
    await file.open()
    synced: list[bool] = []
    write = file.write

    async def watched(run: Any, **how: Any) -> Any:
        synced.append(how["synced"])
        return await write(run, **how)

    monkeypatch.setattr(file, "write", watched)
    locks = FileLocks(file)
    assert (await locks.ask(ask("h"))).token
    assert (await locks.ask(ask("w"))).ticket
    assert (await locks.ask(ask("w"))).ticket, "its place is kept long enough: nothing is written"
    await locks.renew([Holding("lock:a", "h", 10.0)])
    await locks.leave(Holding("lock:a", "h"))
    assert (await locks.ask(ask("w"))).token
    assert synced == [True, False, False, False, True]
    await file.close()


async def test_a_new_boot_ends_leases_and_keeps_the_fence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens: list[int] = []
    for boot in ("one", "two"):
        monkeypatch.setattr(toolkit_file, "boot_id", lambda boot=boot: boot)
        file = ToolkitFile(str(tmp_path / "toolkit.db"), FakeClock(time=1e9 if tokens else 2e9, monotonic=5.0))
        await file.open()
        tokens.append((await FileLocks(file).ask(ask(boot))).token)
        await file.close()
    assert 0 < tokens[0] < tokens[1]


async def test_what_has_ended_is_removed_in_steps(tmp_path: Path) -> None:
    clock = FakeClock()
    file = ToolkitFile(str(tmp_path / "toolkit.db"), clock)
    await file.open()

    def fill(session: FileSession) -> None:
        for number in range(700):
            session.run("insert into lock_places values (?, ?, 1, 1, ?)", f"h{number}", f"k{number}", session.tick)

    await file.write(fill, synced=False)
    await FileLocks(file).ask(ask("live"))
    assert [await file.write(tidy, synced=False) for _ in range(2)] == [True, False]
    assert await file.read("select holder from lock_places") == [("live",)]
    await file.close()
