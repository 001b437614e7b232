"""Which queue a command names."""

from __future__ import annotations

import pytest

from outlast.core.moving import Adopt, Hold, Moved, Parcel, Unhold
from outlast.core.store.control import (
    Adjust,
    Cancel,
    Command,
    Edit,
    Pause,
    Prune,
    Purge,
    Redrive,
    RunNow,
    queue_named,
)
from tests.support.jobs import message


@pytest.mark.parametrize(
    ("command", "queue"),
    [
        *((kind("mail.1.2"), "mail") for kind in (Cancel, Redrive, Edit, RunNow, Moved, Unhold)),
        (Hold("mail.1", "a move"), "mail"),
        (Purge(id="mail.1"), "mail"),
        (Purge(queue="mail"), "mail"),
        (Purge(queue="mail", key="ann"), "mail"),
        (Purge(key="ann"), None),
        (Purge(), None),
        (Prune(), None),
        (Pause("mail"), "mail"),
        (Adjust("mail"), "mail"),
        (Adopt(Parcel(message=message("mail.1", 0.0), at=0.0, rank=0), "a move"), "mail"),
    ],
)
def test_the_queue_of_a_command(command: Command, queue: str | None) -> None:
    assert queue_named(command) == queue


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (Purge(key="ann"), "ann"),
        (Purge(queue="mail", key="ann"), None),
        (Purge(key="ann", states=("dead",)), None),
        (Purge(id="mail.1", key="ann"), None),
        (Purge(queue="mail"), None),
    ],
)
def test_only_a_purge_of_all_jobs_of_a_key_erases_it(command: Purge, key: str | None) -> None:
    assert command.erased == key
