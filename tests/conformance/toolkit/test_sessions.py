"""Sessions on every store: fields of concurrent requests, rotation, timeouts, the sessions of a user, flash values."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Struct

from outlast.core.errors import InvalidArguments
from outlast.core.toolkit_errors import SessionConflict, SessionEnded, SessionFull
from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.sessions.forms import sessions_of
from outlast.toolkit.sessions.ids import digest_of_id
from outlast.toolkit.sessions.session import Session
from outlast.toolkit.sessions.sessions import Sessions
from outlast.toolkit.sessions.store import GRACE, SessionRecord
from outlast.toolkit.store import ToolkitStore
from tests.support.toolkit_sessions import begun_session, sessions_on

IDLE, ABSOLUTE = 600.0, 3600.0


def declared(kit: Toolkit, name: str = "session", **options: Any) -> Sessions:
    given = {"idle": IDLE, "absolute": ABSOLUTE, "max_fields": 8, "max_bytes": 400, "per_user": 3, **options}
    return sessions_on(kit, name, **given)


@pytest.fixture
def sessions(kit: Toolkit) -> Sessions:
    return declared(kit)


@pytest.fixture
def other_sessions(other_kit: Toolkit) -> Sessions:
    """The sessions as another process sees them."""
    return declared(other_kit)


async def read(sessions: Sessions, id: str) -> dict[str, Any]:
    session = await sessions.open(id)
    return {name: session[name] for name in session}


class TestWrittenLate:
    """No session is stored before something is written, and none is under an id that a client has chosen."""

    async def test_what_only_reads_stores_nothing(self, sessions: Sessions) -> None:
        session = await sessions.open(None)
        assert (session.get("a"), "a" in session, [*session], session.user) == (None, False, [], None)
        session.pop("a")
        session.clear()
        session.rotate()
        session.end()
        assert await session.take_flashes() == []
        assert not session.is_changed
        await session.save()
        assert (session.exists, session.issued) == (False, None)

    async def test_it_is_stored_under_a_new_id_and_read_by_another_process(
        self, sessions: Sessions, other_sessions: Sessions
    ) -> None:
        unknown = "A" * 43
        session = await sessions.open(unknown)
        session["a"] = {"b": [1, 2.5, None, "é"]}
        await session.save()
        assert session.issued is not None
        assert len(session.issued) == 43
        assert session.issued != unknown
        assert await read(other_sessions, session.issued) == {"a": {"b": [1, 2.5, None, "é"]}}
        assert not (await other_sessions.open(unknown)).exists

    async def test_what_is_set_and_removed_before_the_first_save_stores_nothing(self, sessions: Sessions) -> None:
        session = await sessions.open(None)
        session["a"] = 1
        del session["a"]
        await session.save()
        assert not session.exists

    async def test_ids_of_other_sessions_are_none_of_these(self, kit: Toolkit, sessions: Sessions) -> None:
        admins = declared(kit, "admin")
        id_ = await begun_session(sessions, "7", a=1)
        assert not (await admins.open(id_)).exists
        assert await admins.of_user("7") == []
        assert await admins.revoke_user("7") == 0
        assert (await sessions.open(id_)).user == "7"


class TestFields:
    """Of concurrent requests none loses what another has written."""

    async def test_two_requests_that_change_other_fields_keep_both(
        self, sessions: Sessions, other_sessions: Sessions
    ) -> None:
        id_ = await begun_session(sessions, a=1, b=1, c=1)
        first, second = await sessions.open(id_), await other_sessions.open(id_)
        first["a"] = 2
        del first["c"]
        second["b"] = 2
        second["d"] = 2
        await second.save()
        await first.save()
        assert await read(sessions, id_) == {"a": 2, "b": 2, "d": 2}

    async def test_a_field_that_was_read_and_changed_must_be_as_it_was_read(self, sessions: Sessions) -> None:
        id_ = await begun_session(sessions, a=1)
        first, second = await sessions.open(id_), await sessions.open(id_)
        first["a"] = first["a"] + 1
        second["a"] = second["a"] + 1
        second["b"] = 1
        await first.save()
        with pytest.raises(SessionConflict, match="'a'"):
            await second.save()
        assert (second["a"], "b" in second, second.is_changed) == (2, False, False), "it shows what is stored"
        second["a"] = second["a"] + 1
        await second.save()
        assert await read(sessions, id_) == {"a": 3}

    @pytest.mark.parametrize("change", ["add", "remove"])
    async def test_a_field_that_was_found_absent_or_is_removed_conflicts_too(
        self, sessions: Sessions, change: str
    ) -> None:
        id_ = await begun_session(sessions, a=1)
        first, second = await sessions.open(id_), await sessions.open(id_)
        if change == "add":
            for each in (first, second):
                assert "b" not in each
                each["b"] = 1 if each is first else 2
        else:
            assert first.pop("a") == second.pop("a") == 1
            first["a"] = 5
        await first.save()
        with pytest.raises(SessionConflict):
            await second.save()

    async def test_of_a_field_that_was_not_read_the_last_write_counts(self, sessions: Sessions) -> None:
        id_ = await begun_session(sessions, seen="/")
        first, second = await sessions.open(id_), await sessions.open(id_)
        first["seen"], second["seen"] = "/a", "/b"
        await second.save()
        await first.save()
        assert await read(sessions, id_) == {"seen": "/a"}

    async def test_a_value_that_is_changed_in_place_is_saved(self, sessions: Sessions) -> None:
        id_ = await begun_session(sessions, basket={"items": [1]}, other=[1])
        session = await sessions.open(id_)
        session["basket"]["items"].append(2)
        assert session["other"] == [1]
        assert session.is_changed
        await session.save()
        session["basket"]["items"].append(3)
        await session.save()
        assert (await read(sessions, id_))["basket"] == {"items": [1, 2, 3]}
        again = await sessions.open(id_)
        assert again["basket"]["items"]
        assert not again.is_changed
        made = await sessions.open(None)
        made["list"] = mine = [1]
        mine.append(2)
        await made.save()
        assert made["list"] == [1, 2]

    async def test_many_updates_at_once_lose_nothing(self, sessions: Sessions, other_sessions: Sessions) -> None:
        id_ = await begun_session(sessions, other=1)

        async def work(own: Sessions, number: int) -> None:
            session = await own.open(id_)
            assert await session.update("count", lambda count: count + 1, default=0) >= 1
            await session.update("list", lambda items: [*items, number], default=[])

        await asyncio.gather(*(work(own, number) for number in range(10) for own in (sessions, other_sessions)))
        found = await read(sessions, id_)
        assert found["count"] == 20
        assert sorted(found["list"]) == sorted([*range(10)] * 2)

    async def test_a_value_that_was_handed_out_is_looked_after_when_other_fields_were_saved(
        self, sessions: Sessions
    ) -> None:
        id_ = await begun_session(sessions, mine=[1], theirs=[1])
        first, second = await sessions.open(id_), await sessions.open(id_)
        mine, theirs = first["mine"], first["theirs"]
        second["theirs"] = [1, 2]
        await second.save()
        first["other"] = 1
        await first.save()
        mine.append(3)
        await first.save()
        assert await read(sessions, id_) == {"mine": [1, 3], "theirs": [1, 2], "other": 1}
        theirs.append(3)
        with pytest.raises(SessionConflict, match="'theirs'"):
            await first.save()
        assert (first["theirs"], first.is_changed) == ([1, 2], False)

    @pytest.mark.parametrize("meanwhile", ["before", "after", "the same"])
    @pytest.mark.parametrize("how", ["save", "update"])
    async def test_what_was_read_before_another_save_of_the_request_is_compared_too(
        self, sessions: Sessions, how: str, meanwhile: str
    ) -> None:
        id_ = await begun_session(sessions, count=1)
        first, second = await sessions.open(id_), await sessions.open(id_)
        count = first["count"]
        second["count"] = 2 if meanwhile == "the same" else 10
        if meanwhile != "after":
            await second.save()
        if how == "update":
            await first.update("other", lambda _: 1)
        else:
            first["other"] = 1
            await first.save()
        if meanwhile == "after":
            await second.save()
        first["count"] = count + 1
        with pytest.raises(SessionConflict, match="'count'"):
            await first.save()
        first["count"] = first["count"] + 1
        await first.save()
        first["count"] = first["count"] + 1
        await first.save()
        assert (await read(sessions, id_))["count"] == (4 if meanwhile == "the same" else 12)

    async def test_a_field_that_was_read_while_its_save_ran_is_compared(self, sessions: Sessions) -> None:
        id_ = await begun_session(sessions, count=1)
        session = await sessions.open(id_)
        session["count"] = session["count"] + 1

        async def change() -> None:
            session["count"] = session["count"] + 1

        await asyncio.gather(session.save(), change())
        try:
            await session.save()
        except SessionConflict:  # it was read before the answer of the store
            await session.update("count", lambda count: count + 1)
        assert await read(sessions, id_) == {"count": 3}

    async def test_a_value_of_before_is_compared_with_what_it_was(self, sessions: Sessions) -> None:
        """Also when the request has looked at its field once more, and after an error."""
        id_ = await begun_session(sessions, list=[1], count=1)
        first, second = await sessions.open(id_), await sessions.open(id_)
        mine, count = first["list"], first["count"]
        second["list"], second["count"] = [1, 2], 5
        await second.save()
        first["other"] = 1
        await first.save()
        assert "list" in first
        mine.append(3)
        with pytest.raises(SessionConflict, match="'list'"):
            await first.save()
        for _ in range(2):
            first["count"] = count + 1
            with pytest.raises(SessionConflict, match="'count'"):
                await first.save()
        assert await read(sessions, id_) == {"list": [1, 2], "count": 5, "other": 1}
        second["count"] = second["count"] + 1
        second["big"] = "x" * 390
        with pytest.raises(SessionFull):
            await second.save()
        await first.update("count", lambda count: count + 1)
        second["count"] = 6
        with pytest.raises(SessionConflict, match="'count'"):
            await second.save()

    async def test_what_was_read_before_a_cancelled_save_is_compared(self, sessions: Sessions) -> None:
        """Whether the save was done or not."""
        id_ = await begun_session(sessions, count=1)
        session, other = await sessions.open(id_), await sessions.open(id_)
        count = session["count"]
        session["count"] = count + 1
        saving = asyncio.create_task(session.save())
        await asyncio.sleep(0)
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)
        await other.update("count", lambda count: count + 10)
        session["count"] = count + 100
        with pytest.raises(SessionConflict):
            await session.save()
        assert (await read(sessions, id_))["count"] in (11, 12)

    async def test_an_update_drops_no_change_of_another_task(self, sessions: Sessions) -> None:
        id_ = await begun_session(sessions, mine=1, theirs=1)
        session, other = await sessions.open(id_), await sessions.open(id_)
        calls: list[int] = []

        def function(value: int) -> int:
            calls.append(value)
            if len(calls) == 1:  # as another task does while `update` waits for the store
                session["theirs"] = session["theirs"] + 1
            return value + 1

        other["theirs"] = 5
        await other.save()
        with pytest.raises(SessionConflict, match="theirs"):
            await session.update("mine", function)
        assert (calls, await read(sessions, id_)) == ([1], {"mine": 1, "theirs": 5})

    async def test_what_is_changed_while_a_save_finds_the_session_ended_begins_no_other(
        self, sessions: Sessions, other_sessions: Sessions
    ) -> None:
        session = await sessions.open(await begun_session(sessions, "ann", a=1))
        await other_sessions.revoke(session.handle)
        session["a"] = 2

        async def change() -> None:
            session["b"] = 3

        saved, _ = await asyncio.gather(session.save(), change(), return_exceptions=True)
        assert isinstance(saved, SessionEnded)
        for _ in range(2):
            if session.is_changed:
                with pytest.raises(SessionEnded):
                    await session.save()
        assert (session.issued, session.is_changed) == (None, False)
        session.login("ann")
        await session.save()
        assert session.issued
        assert await read(sessions, session.issued) == {}

    async def test_what_was_read_of_an_ended_session_is_no_part_of_the_next(self, sessions: Sessions) -> None:
        session = await sessions.open(await begun_session(sessions, "ann", a=1))
        assert session["a"] == 1
        session.end()
        session["a"] = 2
        await session.save()
        assert session["a"] == 2
        session.login("bob")
        session["a"] = 3
        await session.save()
        session.login("ann")
        session["a"] = 4
        await session.save()
        assert session.issued
        assert await read(sessions, session.issued) == {"a": 4}

    async def test_tasks_of_one_request_take_turns(self, sessions: Sessions) -> None:
        session = await sessions.open(None)
        session["a"] = 1
        names = ["count", "other"] * 10
        await asyncio.gather(*(session.update(name, lambda value: value + 1, default=0) for name in names))
        assert session.issued is not None
        assert await read(sessions, session.issued) == {"a": 1, "count": 10, "other": 10}

    async def test_what_is_changed_while_a_save_runs_is_of_the_next_save(self, sessions: Sessions) -> None:
        id_ = await begun_session(sessions, a=1)
        session = await sessions.open(id_)
        session["a"] = 2

        async def change() -> None:
            session["b"] = 3

        await asyncio.gather(session.save(), change())
        await session.save()
        assert await read(sessions, id_) == {"a": 2, "b": 3}

    async def test_values_have_types(self, sessions: Sessions) -> None:
        class Basket(Struct):
            items: list[int]

        session = await sessions.open(await begun_session(sessions, plain=1))
        session.set("basket", Basket([1]), type=Basket)
        await session.save()
        basket = session.get("basket", type=Basket)
        assert basket == Basket([1])
        basket.items.append(2)
        await session.save()
        assert session["basket"] == {"items": [1, 2]}
        assert session.get("plain", "none", type=Basket) == "none", "it is not of the type any more"
        for wrong in ({1, 2}, object(), {1: 2}, float("nan"), Basket([1])):
            with pytest.raises(InvalidArguments, match="give plain data"):
                session["wrong"] = wrong
        with pytest.raises(InvalidArguments, match="max_bytes"):
            session["large"] = "x" * 400
        for name in ("", "x" * 101, "\ud800", 7):
            with pytest.raises(InvalidArguments, match="name of a field"):
                session.set(name, 1)  # type: ignore[arg-type]
        session["{~.x* \n"] = "odd"
        await session.save()
        assert not session.is_changed
        assert session["{~.x* \n"] == "odd"

    async def test_a_value_that_cannot_be_kept_drops_the_changes_beside_it(self, sessions: Sessions) -> None:
        id_ = await begun_session(sessions, a=1, b=[])
        session = await sessions.open(id_)
        session["a"] = 2
        session["b"].append({1, 2})
        with pytest.raises(InvalidArguments):
            await session.save()
        assert (session["a"], session["b"]) == (1, [])
        await session.save()
        assert await read(sessions, id_) == {"a": 1, "b": []}

    async def test_a_session_holds_no_more_than_its_bounds(self, kit: Toolkit, sessions: Sessions) -> None:
        id_ = await begun_session(sessions, None, **{f"f{number}": 1 for number in range(7)})
        first, second = await sessions.open(id_), await sessions.open(id_)
        first["x"] = second["y"] = 1
        await first.save()
        with pytest.raises(SessionFull, match="max_fields=8"):
            await second.save()
        assert "y" not in await read(sessions, id_)
        first["x"] = "x" * 350
        await first.save()
        first["f1"] = "x" * 350
        with pytest.raises(SessionFull):
            await first.save()
        smaller = await declared(kit, max_fields=2, max_bytes=100).open(id_)
        del smaller["f2"]
        await smaller.save()
        assert len(await read(sessions, id_)) == 7, "what exceeds a bound that was lowered can be made smaller"


class TestRotation:
    """An id that was replaced or ended is void at once, and nothing that is written with it is kept."""

    @pytest.mark.parametrize("how", ["login", "rotate"])
    async def test_the_old_id_is_void_and_the_fields_are_kept(self, sessions: Sessions, how: str) -> None:
        old = await begun_session(sessions, basket=[1])
        session, late = await sessions.open(old), await sessions.open(old)
        session["more"] = 1
        session.login("ann") if how == "login" else session.rotate()
        await session.save()
        new = session.issued
        assert new is not None
        assert new != old
        assert await read(sessions, new) == {"basket": [1], "more": 1}
        late["basket"] = "late"
        with pytest.raises(SessionEnded):
            await late.save()
        begun_later = await sessions.open(old)
        assert (begun_later.user, [*begun_later], begun_later.exists) == (None, [], False)
        writes: list[Callable[[], None]] = [
            lambda: begun_later.set("a", 1),
            lambda: begun_later.flash(1),
            begun_later.rotate,
            begun_later.end,
            begun_later.clear,
        ]
        for write in writes:
            with pytest.raises(SessionEnded):
                write()
        assert await read(sessions, new) == {"basket": [1], "more": 1}

    async def test_one_of_two_rotations_at_once_wins(self, sessions: Sessions, other_sessions: Sessions) -> None:
        old = await begun_session(sessions, "ann", a=1)
        both = [await own.open(old) for own in (sessions, other_sessions)]
        for each in both:
            each.rotate()
        found = await asyncio.gather(*(each.save() for each in both), return_exceptions=True)
        assert sorted(map(type, found), key=str) == sorted([type(None), SessionEnded], key=str)
        assert len(await sessions.of_user("ann")) == 1

    async def test_a_login_needs_no_old_session(self, sessions: Sessions, clock: FakeClock) -> None:
        """A user whose id was replaced by another request, or has ended, can log in."""
        old = await begun_session(sessions, a=1)
        session = await sessions.open(old)
        session.rotate()
        await session.save()
        again = await sessions.open(old)
        again.login("ann")
        again["b"] = 1
        await again.save()
        assert again.issued is not None
        assert await read(sessions, again.issued) == {"b": 1}
        assert again.user == "ann"
        clock.advance(GRACE + 1)
        later = await sessions.open(old)
        later["c"] = 1
        await later.save()
        assert later.issued

    async def test_another_user_gets_no_field_of_the_one_before(self, sessions: Sessions) -> None:
        session = await sessions.open(await begun_session(sessions, "ann", card="1234"))
        session["late"] = "of ann"
        session.login("bob")
        session["own"] = 1
        assert "card" not in session
        await session.save()
        assert session.issued is not None
        assert await read(sessions, session.issued) == {"own": 1}
        assert (await sessions.of_user("ann"), len(await sessions.of_user("bob"))) == ([], 1)
        session.login("bob")
        await session.save()
        assert session["own"] == 1, "of the same user they are kept"

    async def test_an_end_ends_it_and_what_follows_begins_another(self, sessions: Sessions) -> None:
        id_ = await begun_session(sessions, "ann", a=1)
        session, late = await sessions.open(id_), await sessions.open(id_)
        session.end()
        assert (session.user, "a" in session) == (None, False)
        await session.save()
        assert session.issued == ""
        late["a"] = 2
        with pytest.raises(SessionEnded):
            await late.save()
        assert not (await sessions.open(id_)).exists
        session.flash("bye")
        await session.save()
        assert session.issued
        assert await (await sessions.open(session.issued)).take_flashes() == ["bye"]

    async def test_a_discarded_end_did_not_happen(self, sessions: Sessions) -> None:
        id_ = await begun_session(sessions, "ann", a=1)
        session = await sessions.open(id_)
        session.end()
        session.discard()
        assert (session.user, session["a"]) == ("ann", 1)
        session["a"] = 2
        await session.save()
        assert (session.issued, await read(sessions, id_)) == (None, {"a": 2})


class TestTime:
    """A session ends some time after its last use, and at its absolute end."""

    async def test_it_lives_while_it_is_used_until_its_absolute_end(self, sessions: Sessions, clock: FakeClock) -> None:
        id_ = await begun_session(sessions, a=1)
        ends = (await sessions.open(id_)).ends
        for _ in range(7):
            clock.advance(IDLE * 0.8)
            session = await sessions.open(id_)
            assert session.ends == ends
            session["a"] = 2
            await session.save()
            assert session.ends == ends
        clock.advance(ABSOLUTE - 7 * IDLE * 0.8 - 1)
        assert (await sessions.open(id_)).exists
        clock.advance(1)
        assert not (await sessions.open(id_)).exists

    async def test_it_ends_without_use(self, sessions: Sessions, clock: FakeClock) -> None:
        id_ = await begun_session(sessions, "ann", a=1)
        late = await sessions.open(id_)
        clock.advance(IDLE)
        assert not (await sessions.open(id_)).exists
        assert await sessions.of_user("ann") == []
        late["a"] = 2
        with pytest.raises(SessionEnded):
            await late.save()

    async def test_a_use_is_noted_at_most_once_in_a_tenth_of_the_idle_time(
        self, kit: Toolkit, sessions: Sessions, clock: FakeClock
    ) -> None:
        digest = digest_of_id("session", await begun_session(sessions, a=1))

        async def seen(store: ToolkitStore) -> float:
            record = await sessions_of(store).load(digest, sessions.rule)
            assert record is not None
            return record.seen

        times = []
        for _ in range(5):
            clock.advance(IDLE * 0.05)
            times.append(await kit.use(seen))
        assert len(set(times)) == 3, times
        assert times[-1] >= clock.time() - IDLE * 0.1

    async def test_a_login_begins_the_absolute_time_again_and_a_rotation_does_not(
        self, sessions: Sessions, clock: FakeClock
    ) -> None:
        session = await sessions.open(await begun_session(sessions, a=1))
        ends = session.ends
        assert ends is not None
        clock.advance(100)
        session.rotate()
        await session.save()
        assert session.ends == pytest.approx(ends)
        session.login("ann")
        await session.save()
        assert session.ends == pytest.approx(ends + 100)


class TestUsers:
    """The sessions of a user can be listed and revoked, and are bounded in number."""

    async def test_they_are_listed_and_revoked(
        self, sessions: Sessions, other_sessions: Sessions, clock: FakeClock
    ) -> None:
        ids = []
        for number in range(3):
            ids.append(await begun_session(sessions, "ann", device=number))
            clock.advance(1)
        await begun_session(sessions, "bob")
        listed = await other_sessions.of_user("ann")
        assert [each.fields for each in listed] == [{"device": number} for number in range(3)]
        assert listed[0].since < listed[1].since < listed[2].since
        assert all(each.ends == pytest.approx(each.since + ABSOLUTE) for each in listed)
        assert await other_sessions.revoke(listed[1].handle)
        assert not await other_sessions.revoke(listed[1].handle)
        assert [(await sessions.open(id_)).exists for id_ in ids] == [True, False, True]
        mine = await sessions.open(ids[2])
        assert await sessions.revoke_user("ann", keep=mine) == 1
        assert [(await sessions.open(id_)).exists for id_ in ids] == [False, False, True]
        assert await sessions.revoke_user("ann") == 1
        assert await sessions.of_user("ann") == []
        assert len(await sessions.of_user("bob")) == 1
        for wrong in ("", ids[0], "x" * 64, None):
            with pytest.raises(InvalidArguments, match="handle"):
                await sessions.revoke(wrong)  # type: ignore[arg-type]

    async def test_what_a_revoked_session_writes_is_not_kept(self, sessions: Sessions) -> None:
        id_ = await begun_session(sessions, "ann", a=1)
        late = await sessions.open(id_)
        await sessions.revoke_user("ann")
        late["a"] = 2
        with pytest.raises(SessionEnded):
            await late.save()
        assert await sessions.of_user("ann") == []
        fresh = await sessions.open(id_)
        fresh["a"] = 3
        await fresh.save()
        assert fresh.issued not in (None, id_)
        assert fresh.user is None

    async def test_a_login_beyond_the_bound_ends_the_oldest(self, sessions: Sessions, clock: FakeClock) -> None:
        ids = []
        for _ in range(8):
            ids.append(await begun_session(sessions, "ann", a=1))
            clock.advance(1)
        assert [(await sessions.open(id_)).exists for id_ in ids] == [False] * 5 + [True] * 3

    async def test_a_session_that_has_ended_takes_no_place_of_one_in_use(
        self, sessions: Sessions, clock: FakeClock
    ) -> None:
        used = await begun_session(sessions, "ann")
        clock.advance(1)
        for _ in range(2):
            await begun_session(sessions, "ann")
        for _ in range(2):
            clock.advance(IDLE * 0.6)
            assert (await sessions.open(used)).user == "ann"
        await begun_session(sessions, "ann")
        assert (await sessions.open(used)).user == "ann"
        assert len(await sessions.of_user("ann")) == 2

    async def test_the_login_itself_is_not_ended_by_the_bound(self, sessions: Sessions) -> None:
        """Also when all logins are of one moment."""
        for _ in range(8):
            assert (await sessions.open(await begun_session(sessions, "ann"))).user == "ann"
        assert len(await sessions.of_user("ann")) == 3

    async def test_users_are_any_text(self, sessions: Sessions) -> None:
        for user in ("ann:*{}\n\x00", "é" * 100):
            id_ = await begun_session(sessions, user)
            assert (await sessions.open(id_)).user == user
            assert [each.user for each in await sessions.of_user(user)] == [user]
        session = await sessions.open(None)
        for wrong in ("", "x" * 201, "\ud800", 7):
            with pytest.raises(InvalidArguments, match="user="):
                session.login(wrong)  # type: ignore[arg-type]


class TestFlashes:
    """A flash value is read once."""

    async def test_they_are_read_once_in_their_order(self, sessions: Sessions, clock: FakeClock) -> None:
        session = await sessions.open(None)
        session.flash("one")
        session.flash({"two": 2})
        await session.save()
        assert session.issued is not None
        assert [*session] == []
        clock.advance(1)
        again = await sessions.open(session.issued)
        again.flash("three")
        assert await again.take_flashes() == ["one", {"two": 2}, "three"]
        assert await again.take_flashes() == []
        await again.save()
        assert await (await sessions.open(session.issued)).take_flashes() == []

    async def test_of_many_requests_at_once_one_gets_each(self, sessions: Sessions, other_sessions: Sessions) -> None:
        session = await sessions.open(None)
        session.flash("one")
        session.flash("two")
        session["a"] = 1
        await session.save()
        requests: list[Session] = [
            await own.open(session.issued) for own in (sessions, other_sessions) for _ in range(10)
        ]
        found = await asyncio.gather(*(each.take_flashes() for each in requests))
        assert sorted(map(len, found)) == [0] * 19 + [2]
        assert await read(sessions, session.issued or "") == {"a": 1}


def test_blocking_code_does_the_same(kit_sync: Toolkit) -> None:
    sessions = declared(kit_sync)
    session = sessions.open_sync(None)
    session.login("ann")
    session.flash("hello")
    session.save_sync()
    again = sessions.open_sync(session.issued)
    assert again.update_sync("count", lambda count: count + 1, default=0) == 1
    assert again.take_flashes_sync() == ["hello"]
    handle = sessions.of_user_sync("ann")[0].handle
    assert handle == again.handle
    assert sessions.revoke_user_sync("ann", keep=again) == 0
    assert sessions.revoke_sync(handle)


async def test_a_digest_opens_nothing_and_asks_no_store(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = await begun_session(sessions, "ann", a=1)
    digest = (await sessions.of_user("ann"))[0].handle
    calls: list[str] = []
    whole = Sessions.use

    async def use(self: Sessions, operation: str, call: Any) -> Any:
        calls.append("call")
        return await whole(self, operation, call)

    monkeypatch.setattr(Sessions, "use", use)
    for wrong in (digest, "", id_[:-1], f"{id_}=", f"{id_}\n", f" {id_}", "é" * 43, "x" * 65536):
        assert not (await sessions.open(wrong)).exists
    assert calls == []
    assert (await sessions.open(id_)).exists
    assert calls == ["call"]


async def test_a_record_is_the_same_on_each_store(kit: Toolkit, sessions: Sessions, clock: FakeClock) -> None:
    digest = digest_of_id("session", await begun_session(sessions, "ann", a=1, b="é"))

    async def load(store: ToolkitStore) -> SessionRecord | None:
        return await sessions_of(store).load(digest, sessions.rule)

    now = clock.time()
    record = await kit.use(load)
    assert record is not None
    times = (record.since, record.seen, record.ends, record.until)
    assert times == pytest.approx((now, now, now + ABSOLUTE, now + IDLE))
    assert (record.user, record.fields) == ("session:ann", {".a": b"1", ".b": '"é"'.encode()})
