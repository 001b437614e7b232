"""The claim check: large arguments and results go to the object store, and a reference travels in their place."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from secrets import token_hex
from time import clock_gettime
from typing import TYPE_CHECKING, Final

from msgspec import Raw, Struct, structs

from outlast.core.claims import Claim, Part, claim_in, claim_json, claim_key, stands_for_another
from outlast.core.clock import Clock
from outlast.core.errors import ConfigurationError, InvalidArguments, StoreError
from outlast.core.message import Message
from outlast.core.settlement import Finish, Full, Published, Reschedule, Settlement, TooLarge
from outlast.core.toolkit_errors import ObjectDamaged, ObjectNotFound, ToolkitAway

if sys.platform == "linux":
    from time import CLOCK_BOOTTIME

if TYPE_CHECKING:
    from outlast.toolkit.objects.link import ObjectLink

__all__ = ["Claims", "Deposit"]

CLOCK: Final[int | None] = CLOCK_BOOTTIME if sys.platform == "linux" else None
_logger = logging.getLogger("outlast.toolkit")

LATE: Final = 5.0
"""Seconds that a sweep takes at most between its last look for a job and the deletion of its object."""
AT_ONCE: Final = 8
"""Objects of one call that are put at the same time."""


class Deposit(Struct, frozen=True):
    """An object that was put for a message or a settlement that is not stored yet."""

    key: str
    body: bytes


class Claims:
    """The claim check of an app, for all event loops and threads of a process.

    over: bytes above which arguments and results go to the object store. keep: seconds that an object of no job stays.
    Without a place for objects nothing goes there, and bodies stay in the store of the jobs.
    """

    def __init__(self, url: str, *, clock: Clock, timeout: float, over: int, keep: float) -> None:
        self.url: Final = url
        self.over: Final = over
        self.keep: Final = keep
        self._clock = clock
        self._timeout = timeout
        self._link: ObjectLink | None = None

    @property
    def active(self) -> bool:
        """Whether there is a place for objects."""
        return bool(self.url)

    @property
    def link(self) -> ObjectLink:
        """The way to the objects; raise ConfigurationError where no setting leads to any."""
        if self._link is None:
            if not self.url:
                raise ConfigurationError(
                    "objects_url (Settings or OUTLAST_OBJECTS_URL) is not set, and no folder of this host is a place "
                    "for the objects of jobs on a server: give 's3://BUCKET/PREFIX?region=...', 'gs://BUCKET/PREFIX', "
                    "or 'file:PATH' where one host is all there is"
                )
            from outlast.toolkit.objects.link import ObjectLink  # an app without large objects does not need it

            self._link = ObjectLink(self.url, clock=self._clock, timeout=self._timeout)
        return self._link

    # In

    def any_heavy(self, messages: Sequence[Message]) -> bool:
        """Tell whether arguments of these messages go to the object store."""
        if not self.url:
            return False
        over = self.over
        for each in messages:  # noqa: SIM110 - each publish pays for it: a generator takes three times as long
            if len(each.args) > over:
                return True
        return False

    def is_heavy(self, settlement: Settlement) -> bool:
        """Tell whether something of a settlement goes to the object store."""
        if type(settlement) is Finish and settlement.result is not None:
            result = settlement.result
            if (self.url and len(result) > self.over) or stands_for_another(result):
                return True
        return isinstance(settlement, Finish | Reschedule) and bool(settlement.then) and self.any_heavy(settlement.then)

    async def check_in(self, messages: Sequence[Message]) -> tuple[list[Message], list[Deposit | None]]:
        """Put the heavy arguments; return the messages as they are to be published, and what was put for each.

        Raise ToolkitAway: then nothing is to be published.
        """
        if not self.any_heavy(messages):
            return list(messages), []
        turns = asyncio.Semaphore(AT_ONCE)

        async def light(message: Message) -> tuple[Message, Deposit | None]:
            if len(message.args) <= self.over:
                return message, None
            async with turns:
                args, deposit = await self._put(message.id, message.args, "args")
            return structs.replace(message, args=args), deposit

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(light(each)) for each in messages]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        made = [each.result() for each in tasks]
        return [message for message, _ in made], [deposit for _, deposit in made]

    async def check_in_settlement(self, settlement: Settlement) -> Settlement:
        """Put what is heavy of a settlement; return it as the store is to keep it. Raise as `check_in` does."""
        if not isinstance(settlement, Finish | Reschedule):
            return settlement
        if settlement.then and self.any_heavy(settlement.then):
            then, _ = await self.check_in(settlement.then)
            settlement = structs.replace(settlement, then=tuple(then))
        if isinstance(settlement, Finish) and settlement.result is not None and self.is_heavy(settlement):
            result, _ = await self._put(settlement.fence.id, settlement.result, "result")
            settlement = structs.replace(settlement, result=result)
        return settlement

    async def _put(self, job_id: str, body: Raw, part: Part) -> tuple[Raw, Deposit]:
        from outlast.toolkit.objects.objects import digest_of

        data = bytes(body)
        claim = Claim(f"{part}-{token_hex(8)}", len(data), await digest_of(data))
        deposit = Deposit(claim_key(job_id, claim.name), data)
        await self._put_again(deposit)
        return claim_json(claim), deposit

    async def _put_again(self, deposit: Deposit) -> None:
        try:
            await self.link.use("put", lambda place: place.put(deposit.key, deposit.body, "application/json"))
        except InvalidArguments as error:  # no caller has given the key: the place is in disorder, and may be mended
            raise ToolkitAway(self.link.place.shown, str(error)) from None

    async def publish_done(
        self, deposits: Sequence[Deposit | None], answers: Sequence[Published], began: float
    ) -> None:
        """Delete the objects of refused messages. answers: of the publish, none if they are not known. Never raises.

        Put the others again if the publish took so long, in a process that stood still, that a sweep may have removed
        them. began: `moment` of before the first put.
        """
        late = self.is_late(began)
        for index, deposit in enumerate(deposits):
            answer = answers[index] if answers else None
            try:
                if deposit is not None and isinstance(answer, Full | TooLarge):
                    # Of no other answer: "Exists" may tell of this message, which a repeated call has stored before.
                    await self._delete(deposit.key)
                elif deposit is not None and late:
                    await self._put_again(deposit)
            except StoreError as error:
                if late:
                    _logger.warning("large arguments could not be put again after a long publish: %s", error)

        if late and any(deposits):
            await asyncio.sleep(LATE)  # a sweep that has not seen the job may be about to delete: once more after it
            for deposit in deposits:
                with suppress(StoreError):
                    if deposit is not None:
                        await self._put_again(deposit)

    async def take_back(self, deposits: Sequence[Deposit | None]) -> None:
        """Delete the objects of messages that are surely not stored. Never raises: a sweep deletes what stays."""
        with suppress(StoreError):
            for deposit in deposits:
                if deposit is not None:
                    await self._delete(deposit.key)

    def is_late(self, began: float) -> bool:
        """Tell whether what was put since `began` (of `moment`) is so old that a sweep may soon remove it."""
        return self.moment() - began > self.keep / 2

    async def _delete(self, key: str) -> None:
        await self.link.use("delete", lambda place: place.delete(key))

    def moment(self) -> float:
        """Return seconds that, on Linux, also pass while this host sleeps."""
        return self._clock.monotonic() if CLOCK is None else clock_gettime(CLOCK)

    # Out

    async def check_out(self, job_id: str, body: Raw) -> Raw:
        """Return the bytes that a body stands for, the body itself if it stands for none.

        Raise ToolkitAway, ObjectNotFound, ObjectDamaged, and ConfigurationError where no setting leads to the objects.
        """
        claim = claim_in(body)
        if claim is None:
            return body
        from outlast.toolkit.objects.objects import digest_of

        key = claim_key(job_id, claim.name)
        try:
            data = await self.link.use("get", lambda place: place.get(key, claim.size))
        except ObjectNotFound:
            raise ObjectNotFound(
                key,
                f"it is not in {self.link.place.shown}: it was deleted, or put elsewhere; all processes need the same "
                "objects_url, and a folder is the same on one host only",
            ) from None
        if len(data) != claim.size:
            raise ObjectDamaged(key, f"it has {len(data)} bytes, and {claim.size} were put")
        if (found := await digest_of(data)) != claim.sha256:
            raise ObjectDamaged(key, f"its SHA-256 is {found}, not {claim.sha256}, which was put")
        return Raw(data)
