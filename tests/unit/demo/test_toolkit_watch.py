"""The demo tells each change of a piece of the toolkit once, and when all of them are whole again."""

from __future__ import annotations

from outlast.demo.toolkit_watch import PieceSeen, ToolkitWatch

WHOLE = [PieceSeen(name="cache", whole=True, side="whole"), PieceSeen(name="lock", whole=True, side="whole")]
OPEN = PieceSeen(name="cache", whole=False, side="open: the database is read")
CLOSED = PieceSeen(name="lock", whole=False, side="closed: no stock taken")


def test_a_piece_is_told_when_it_takes_its_side_and_all_when_they_are_whole_again() -> None:
    watch = ToolkitWatch()
    told = [*watch.look(WHOLE, 1.0)]
    watch.taken(2.0)
    told += watch.look([OPEN, WHOLE[1]], 2.1)
    told += watch.look([OPEN, CLOSED], 2.4)
    told += watch.look([OPEN, CLOSED], 2.6)
    watch.given_back(5.0)
    assert not watch.away
    told += watch.look([WHOLE[0], CLOSED], 5.2)
    told += watch.look(WHOLE, 5.5)
    told += watch.look(WHOLE, 5.8)
    told += watch.look([OPEN, WHOLE[1]], 9.0)
    told += watch.look(WHOLE, 9.5)
    assert [text for _, text in told] == [
        "cache: open: the database is read",
        "lock: closed: no stock taken",
        "the toolkit is whole again, 0.5 s after its store is back",
        "cache: open: the database is read",
        "the toolkit is whole again",
    ]
    assert watch.outages == [(2.0, 5.0)]
    assert watch.recovered == [0.5]
    assert watch.sides == {"cache": OPEN.side, "lock": CLOSED.side}
