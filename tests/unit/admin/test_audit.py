"""What operators do is in the journal: a sort of change once, however many jobs it changes, and no secret of a job."""

from __future__ import annotations

import getpass
import socket
from typing import Any

import pytest
from msgspec import Raw

from outlast.admin import audit
from outlast.admin.access import StoreAccess, open_or_create
from outlast.admin.audit import Audit, audited, change_of, operator
from outlast.admin.guards import command_guard
from outlast.brokers.memory import MemoryStore
from outlast.core.errors import StoreUnavailable, StoreUncertain
from outlast.core.exchanges.values import Binding, Exchange
from outlast.core.moving import Adopt, Hold, Moved, Parcel, Unhold
from outlast.core.schedule import (
    EditSchedule,
    PauseSchedule,
    RemoveSchedule,
    RunSchedule,
    ScheduleAdvance,
    ScheduleEntry,
    Spec,
)
from outlast.core.store.control import Adjust, Cancel, Edit, Pause, Prune, Purge, Redrive, RunNow
from outlast.core.store.store import Store
from outlast.core.topology import Queue, Topology
from outlast.settings import Settings
from outlast.testing.clock import FakeClock
from tests.support.jobs import message

CANARY = "s3cr3t-canary"


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore(FakeClock())


@pytest.fixture
def store(memory: MemoryStore) -> Store:
    found = Store.of(memory, "memory:")
    memory.capabilities = memory.capabilities.__class__(durability="memory", max_body=1000, shared=True)
    return found


async def told(memory: MemoryStore) -> list[str]:
    """Return the entries in words, the oldest first; all are by ann."""
    entries = await memory.journal("audit", 100)
    assert {each.who for each in entries} <= {"ann@web"}
    return [f"{each.what} {each.subject}: {each.detail}" for each in entries[::-1]]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (Pause("mail"), ("pause", "queue mail", "", "")),
        (Pause("mail", on=False), ("resume", "queue mail", "", "")),
        (
            Adjust("mail", {"max_depth": 5, "rate": "9/s"}, ("burst",)),
            ("set", "queue mail", "", "max_depth=5, rate=9/s, burst reset"),
        ),
        (
            Adjust("mail", {f"weights.{CANARY}": 3}, (f"weights.{CANARY}2",)),
            ("set", "queue mail", "", "weights=3, weights reset"),
        ),
        (Purge(id="mail.1"), ("purge", "queue mail", "mail.1", "")),
        (Purge(queue="mail", states=("dead",)), ("purge", "queue mail", "", "all jobs, dead only")),
        (Purge(key=CANARY), ("purge", "", "", "the jobs of a key")),
        (
            Edit("mail.1", args=Raw(f'"{CANARY}"'.encode()), priority="high"),
            ("edit", "queue mail", "mail.1", "args, priority"),
        ),
        (
            Edit("mail.1", change=Raw(f'"{CANARY}"'.encode()), run_at=1.0),
            ("edit", "queue mail", "mail.1", "change, run_at"),
        ),
        (Cancel("mail.1"), ("cancel", "queue mail", "mail.1", "")),
        (Redrive("mail.1"), ("redrive", "queue mail", "mail.1", "")),
        (RunNow("mail.1"), ("run now", "queue mail", "mail.1", "")),
        (Hold("mail.1", "move"), ("hold for a move", "queue mail", "mail.1", "")),
        (Moved("mail.1"), ("move out", "queue mail", "mail.1", "")),
        (Unhold("mail.1"), ("put back", "queue mail", "mail.1", "")),
        (
            Adopt(Parcel(message=message("mail.1", 1.0, args={"a": CANARY}, key=CANARY), at=1.0, rank=1), "move"),
            ("move in", "queue mail", "mail.1", ""),
        ),
        (Prune(), ("prune", "", "", "retention applied")),
    ],
)
def test_a_command_is_told_without_arguments_and_keys(command: Any, words: tuple[str, ...]) -> None:
    assert tuple(change_of(command)) == words


async def test_commands_are_in_the_journal_with_what_came_of_them(store: Store, memory: MemoryStore) -> None:
    await memory.publish([message(f"mail.{n}", memory._clock.time()) for n in range(3)])
    async with audited(store, "ann@web") as found:
        await found.control.apply([Pause("mail")])
        await found.control.apply([Pause("mail")])
        answers = await found.control.apply([Cancel("mail.0"), Cancel("mail.1"), Cancel("mail.none")])
        assert [each.ok for each in answers] == [True, True, False]
        await found.control.apply([Cancel("other.none")])
        await found.control.apply([Edit("mail.2", args=Raw(f'{{"a":"{CANARY}"}}'.encode()))])
    assert await told(memory) == [
        "pause queue mail: ",
        "cancel queue mail: 2 changed, 1 refused, first mail.0",
        "cancel queue other: 0 changed, 1 refused, other.none",
        "edit queue mail: args, mail.2",
        "pause queue mail: 0 changed",
    ]


async def test_a_command_on_many_jobs_leaves_few_entries(
    store: Store, memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(audit, "monotonic", lambda: now)
    await memory.publish([message(f"mail.{n}", memory._clock.time()) for n in range(100)])
    async with audited(store, "ann@web") as found:
        for n in range(100):
            now += 0.25
            await found.control.apply([Cancel(f"mail.{n}")])
    assert await told(memory) == [
        "cancel queue mail: mail.0",
        "cancel queue mail: 40 changed, first mail.1",
        "cancel queue mail: 40 changed, first mail.41",
        "cancel queue mail: 19 changed, first mail.81",
    ]


async def test_a_command_without_an_answer_is_told_as_unclear(store: Store, memory: MemoryStore) -> None:
    class Unsure:
        async def apply(self, commands: Any) -> Any:
            raise StoreUncertain("no answer")

    async with audited(store.having(control=Unsure()), "ann@web") as found:
        with pytest.raises(StoreUncertain):
            await found.control.apply([Cancel("mail.1"), Cancel("mail.2")])
    assert await told(memory) == ["cancel queue mail: it may have been done: StoreUncertain"]


async def test_a_change_stays_made_when_the_journal_cannot_be_written(
    store: Store, memory: MemoryStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(entries: Any) -> None:
        raise StoreUnavailable("it is away")

    monkeypatch.setattr(memory, "add_entries", away)
    await memory.declare(Topology((Queue(name="mail"),)))
    async with audited(store, "ann@web") as found:
        assert (await found.control.apply([Pause("mail")]))[0].ok
    assert [each.getMessage() for each in caplog.records] == [
        "not in the journal: pause queue mail by ann@web: it is away"
    ]
    assert (await memory.stats(["mail"]))["mail"].paused


async def test_guards_that_are_opened_by_hand_are_in_the_journal(store: Store, memory: MemoryStore) -> None:
    async with audited(store, "ann@web") as found:
        for command in ("open", "close", "reset"):
            await command_guard(found.guards, "payments", command)
        assert await found.guards.guards_changed(0, 0) > 0
    assert await told(memory) == [
        "hold open guard payments: ",
        "hold closed guard payments: ",
        "reset guard payments: ",
    ]


async def test_schedules_that_are_changed_by_hand_are_in_the_journal(store: Store, memory: MemoryStore) -> None:
    spec = Spec(cron="0 5 * * *")
    entry = ScheduleEntry(name="nightly", app="shop", kind="report", queue="q", spec=spec, version="1")
    async with audited(store, "ann@web") as found:
        assert len(await found.schedules.enlist([entry])) == 1
        assert await found.schedules.advance([ScheduleAdvance(name="none", expect=1, upto=1.0)]) == [False]
        changes: list[Any] = [PauseSchedule("nightly"), PauseSchedule("nightly", on=False), RunSchedule("nightly")]
        await found.schedules.amend([*changes, EditSchedule("nightly", None), RemoveSchedule("none")])
        assert len(await found.schedules.schedules()) == 1
        assert await found.schedules.amended(0, 0) > 0
    entries = await told(memory)
    assert [each.partition(":")[0] for each in entries] == [
        "pause schedule nightly",
        "resume schedule nightly",
        "run now schedule nightly",
        "edit schedule nightly",
        "remove schedule none",
    ]


async def test_bindings_that_are_removed_are_in_the_journal(store: Store, memory: MemoryStore) -> None:
    binding = Binding(exchange="orders", queue="billing", kind="bill", parameter="event", key="paid")
    await memory.declare(Topology((Queue(name="billing"),), exchanges=(Exchange(name="orders"),), bindings=(binding,)))
    async with audited(store, "ann@web") as found:
        assert len((await found.exchanges.bindings()).bindings) == 1
        assert await found.exchanges.publish_events([]) == []
        assert await found.exchanges.unbind([binding], ["orders"]) == 2
    assert await told(memory) == ["unbind : 1 binding, 1 exchange, 2 changed"]


async def test_a_store_without_a_journal_is_given_as_it_is(memory: MemoryStore) -> None:
    transport = Store(memory, url="amqp:")
    async with audited(transport, "ann@web") as found:
        assert found is transport


async def test_what_the_tools_open_is_audited_by_their_user(tmp_path: Any) -> None:
    access = StoreAccess(Settings(url=f"sqlite:{tmp_path}/jobs.db"), "a test")
    async with open_or_create(access) as store:
        await store.broker.declare(Topology((Queue(name="mail"),)))
        await store.control.apply([Pause("mail")])
        (found,) = await store.history.journal("audit", 10)
    assert (found.what, found.subject, found.who) == ("pause", "queue mail", operator())


def test_an_operator_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise OSError("no passwd")

    assert operator() == f"{getpass.getuser()}@{socket.gethostname()}"
    monkeypatch.setattr(getpass, "getuser", nameless)
    assert operator().partition("@")[0].isdigit()


async def test_nothing_left_is_written_twice(memory: MemoryStore) -> None:
    kept = Audit(memory, "ann@web")
    await kept.add([change_of(Pause("mail"))], [(True, 1)])
    await kept.close()
    await kept.close()
    assert len(await memory.journal("audit", 10)) == 1
