"""The sessions of every store do what a plain model does, over random histories."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.sessions.forms import sessions_of
from outlast.toolkit.sessions.rule import rule_of
from outlast.toolkit.sessions.store import GRACE, FieldWrite, SessionChange
from outlast.toolkit.store import ToolkitStore

IDLE, ABSOLUTE, FIELDS, BYTES, PER_USER, STEPS = 100.0, 350.0, 4, 40, 2, 400
RULE = rule_of(idle=IDLE, absolute=ABSOLUTE, max_fields=FIELDS, max_bytes=BYTES, per_user=PER_USER)
NAMES = (".a", ".b", ".é", "~1", "~2")
VALUES = (b"1", b"-", b"=", b"", b"\x00\xff", b"x" * 30)
USERS = ("ann", "s:bob é")


@dataclass
class Known:
    """What is known of a session."""

    since: float
    ends: float
    until: float
    user: str | None = None
    fields: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Model:
    """The rules of `SessionStore`, in the plainest words. moved: when each replaced id is forgotten."""

    now: float
    known: dict[str, Known] = field(default_factory=dict)
    moved: dict[str, float] = field(default_factory=dict)

    def live(self, id_: str) -> Known | None:
        found = self.known.get(id_)
        return found if found is not None and found.until > self.now else None

    def load(self, id_: str) -> object:
        if self.moved.get(id_, 0) > self.now:
            return "moved"
        found = self.live(id_)
        if found is None:
            return None
        until = min(self.now + IDLE, found.ends)
        if until - found.until >= IDLE / 10:
            found.until = until
        return found.user, found.fields

    def save(self, id_: str, change: SessionChange) -> str:
        found = Known(self.now, self.now + ABSOLUTE, 0) if change.create else self.live(id_)
        if found is None:
            return "ended"
        before = {} if change.clear else found.fields
        after = dict(before)
        for write in change.writes:
            if write.checked and not change.clear and before.get(write.name) != write.expected:
                return "conflict"
            after[write.name] = write.value if write.value is not None else b"removed"
            if write.value is None:
                del after[write.name]
        sizes = [sum(len(name.encode()) + len(value) for name, value in each.items()) for each in (before, after)]
        too_much = len(after) > FIELDS or sizes[1] > BYTES
        if too_much and (len(after) > len(before) or sizes[1] > sizes[0]):
            return "full"
        made = Known(found.since, found.ends, 0, found.user, after)
        if change.user is not None:
            made.user, made.since, made.ends = change.user, self.now, self.now + ABSOLUTE
        made.until = min(self.now + IDLE, made.ends)
        if change.new_id:
            self.known.pop(id_)
            self.moved[id_] = self.now + GRACE
        kept = change.new_id or id_
        self.known[kept] = made
        if change.user is not None:
            others = [each for each in self.of_user(change.user) if each != kept]
            for each in others[: max(0, len(others) + 1 - PER_USER)]:
                del self.known[each]
        return "saved"

    def take(self, id_: str) -> dict[str, bytes]:
        found = self.live(id_)
        taken = {} if found is None else {name: each for name, each in found.fields.items() if name[0] == "~"}
        for name in taken:
            assert found is not None
            del found.fields[name]
        return taken

    def end(self, id_: str) -> bool:
        ended = self.live(id_) is not None
        self.known.pop(id_, None)
        return ended

    def of_user(self, user: str) -> list[str]:
        ids = [id_ for id_, each in self.known.items() if each.user == user and self.live(id_)]
        return sorted(ids, key=lambda id_: self.known[id_].since)


def drawn_change(rng: Random, known: Known | None, new_id: str) -> SessionChange:
    writes = {}
    for name in rng.sample(NAMES, rng.choice((0, 1, 1, 2, 3))):
        value = rng.choice((None, *VALUES))
        present = known.fields.get(name) if known is not None else None
        checked = rng.random() < 0.5
        expected = present if rng.random() < 0.8 else rng.choice((None, *VALUES))
        writes[name] = FieldWrite(name, value, checked, expected if checked else None)
    how = rng.choice(("change", "change", "rotate", "login", "other"))
    user = rng.choice(USERS) if how in ("login", "other") else None
    create = known is None and rng.random() < 0.8
    replaces = how != "change" and not create
    return SessionChange(
        rule=RULE,
        writes=tuple(writes.values()),
        create=create,
        new_id=new_id if replaces else "",
        user=user,
        clear=how == "other",
    )


@pytest.mark.parametrize("seed", range(4))
async def test_a_random_history_gives_the_same_answers(kit: Toolkit, clock: FakeClock, seed: int) -> None:
    rng, model, seen = Random(seed), Model(clock.time()), set[str]()

    async def use(step: str, *args: Any) -> Any:
        async def called(store: ToolkitStore) -> Any:
            return await getattr(sessions_of(store), step)(*args)

        return await kit.use(called)

    async def read(id_: str) -> object:
        record = await use("load", id_, RULE)
        if record is None:
            return None
        return "moved" if record.moved else (record.user, record.fields)

    # All of one part of a Cluster, as ids that replace each other are.
    ids, number = [f"a{each:063x}" for each in range(3)], 3
    for step in range(STEPS):
        at = rng.randrange(len(ids))
        id_ = ids[at]
        match rng.choices(("save", "load", "take", "end", "user", "time"), (8, 3, 1, 1, 1, 2))[0]:
            case "save":
                known = model.live(id_)
                if known is None:
                    id_ = ids[at] = f"a{number:063x}"  # a new session has a new id
                change = drawn_change(rng, known, f"a{number + 1:063x}")
                number += 2
                expected = model.save(id_, change)
                saved = await use("save", id_, change)
                assert saved.state == expected, f"step {step}: {change}"
                if expected == "saved":
                    kept = change.new_id or id_
                    now_known = model.known[kept]
                    assert saved.record is not None
                    assert (saved.record.user, saved.record.fields) == (now_known.user, now_known.fields), step
                    assert (saved.record.since, saved.record.ends, saved.record.until) == pytest.approx(
                        (now_known.since, now_known.ends, now_known.until)
                    ), step
                    if change.new_id and rng.random() < 0.7:
                        ids[at] = kept
                elif expected == "conflict" and known is not None:
                    assert saved.record is not None
                    assert saved.record.fields == known.fields
                seen.add(expected)
            case "load":
                assert await read(id_) == model.load(id_), step
            case "take":
                assert await use("take", id_, "~") == model.take(id_), step
            case "end":
                assert await use("end", id_) is model.end(id_), step
            case "user":
                user = rng.choice(USERS)
                listed = await use("of_user", user)
                assert [each for each, _ in listed] == model.of_user(user), step
                if rng.random() < 0.3:
                    kept_id = rng.choice(ids)
                    gone = [each for each in model.of_user(user) if each != kept_id]
                    for each in gone:
                        model.end(each)
                    ended = await use("end_user", user, kept_id)
                    assert ended == len(gone), step
            case "time":
                pause = rng.choice((1.0, 5.0, IDLE / 2, GRACE, IDLE))
                model.now += pause
                clock.advance(pause)
        clock.advance(0.001)  # two logins are not of one moment
        model.now = clock.time()
    assert seen == {"saved", "ended", "conflict", "full"}
