"""Notifications between the processes of a file, whatever its path."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from outlast.clients.sqlite.process_notifier import NotificationListener, ProcessNotifier


@pytest.mark.parametrize("length", range(60, 130, 3))
async def test_a_notification_arrives_however_long_the_path_is(tmp_path: Path, length: int) -> None:
    folder = Path("/tmp") / tmp_path.parent.name  # pytest's own is too long to try the short ones
    path = f"{folder}-{tmp_path.name}".ljust(length, "x")[:length]
    heard = asyncio.Event()
    listener = NotificationListener(ProcessNotifier(path), "schedule", heard.set)
    notifier = ProcessNotifier(path)
    listener.open()
    try:
        notifier.notify("schedule")
        await asyncio.wait_for(heard.wait(), 10)
    finally:
        listener.close()
        notifier.close()
        notifier.folder.rmdir()
