"""What live workers can do for the queues of a keyspace, and how much these have to do: the input of core.forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from outlast.brokers.redis.keyspace import KeyspaceOperations, effective, script
from outlast.clients.redis.client import Argument
from outlast.core.forecast import Backlog, Offer, Sample, measured, with_sample
from outlast.core.message import Holder
from outlast.core.unreadable import READ_ERRORS

__all__ = ["LoadOperations", "offers_in", "samples_in"]

_LOADS: Final = script("clock", "base", "live_loads", "loads")
_loads: Final = msgspec.json.Decoder(dict[str, Offer]).decode
_samples: Final = msgspec.json.Decoder(tuple[Sample, ...]).decode
_encode: Final = msgspec.json.Encoder().encode


class LoadOperations(KeyspaceOperations):
    """Keeps what holders can do for the queues of one keyspace."""

    async def tell(self, holder: Holder, queues: Sequence[str], attended: Sequence[str] = ()) -> None:
        """Keep what a holder can do; a sample of each of `queues`, and its pace for `publish`. attended: unused."""
        keyspace = self.keyspace
        assert holder.loads is not None
        live, *rows = await keyspace.run(_LOADS, keyspace.keys(queues), "tell", holder.id, _encode(holder.loads))
        names: list[str] = []
        args: list[Argument] = []
        for name, now, depth, ended, samples in rows:
            queue = name.decode()
            before = samples_in(samples)
            # Its first claim comes after this, so that it may not count as live yet.
            offers = offers_in(live, queue) or [holder.loads[queue]] if queue in holder.loads else []
            sample = Sample(float(now), depth, float(ended), sum(each.slots for each in offers))
            names.append(queue)
            args += [_encode(with_sample(before, sample)), await self._pace(queue, offers, before, sample)]
        for queue, offer in holder.loads.items():
            if not offer.slots and keyspace.holds(queue) and not any(each.slots for each in offers_in(live, queue)):
                await keyspace.command("HDEL", f"{keyspace.prefix(queue)}:c", "pace")  # no worker takes its jobs now
        if names:
            await keyspace.run(_LOADS, keyspace.keys(names), "keep", *args)

    async def _pace(self, queue: str, offers: Sequence[Offer], samples: Sequence[Sample], now: Sample) -> str:
        declared, changed = await self.keyspace.command(
            "HMGET", f"{self.keyspace.prefix(queue)}:c", "declared", "changes"
        )
        rules, _ = effective(queue, declared, changed)
        pace = measured(offers, samples, Backlog(now, 0, 0, rules.concurrency, rules.rate))
        return "" if not pace.ends else f"{pace.slots} {pace.ends:.17g}"


def offers_in(live: Sequence[bytes], queue: str) -> list[Offer]:
    """Return what live holders can do for a queue, from the reply of a script; what cannot be read is left out."""
    offers: list[Offer] = []
    for claimed, loads in zip(live[::2], live[1::2], strict=True):
        try:
            able: Mapping[str, Offer] = _loads(loads) if queue in claimed.decode().split() else {}
        except READ_ERRORS:
            continue
        if queue in able:
            offers.append(able[queue])
    return offers


def samples_in(text: bytes | None) -> Sequence[Sample]:
    """Return the samples in a text; none if it cannot be read."""
    try:
        return _samples(text) if text else ()
    except READ_ERRORS:
        return ()
