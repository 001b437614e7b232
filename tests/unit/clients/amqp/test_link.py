"""The pauses between attempts to connect grow, spread and stay bounded."""

from __future__ import annotations

from itertools import islice
from random import Random

from outlast.clients.amqp.link import LONGEST, SHORTEST, pauses


def test_pauses_grow_up_to_the_longest_and_are_spread() -> None:
    for seed in range(50):
        found = list(islice(pauses(Random(seed)), 100))
        assert SHORTEST / 2 <= found[0] <= SHORTEST
        assert all(LONGEST / 2 <= each <= LONGEST for each in found[10:])
    assert len({next(pauses(Random(seed))) for seed in range(50)}) == 50
