"""Sends many messages in batches. An error tells which jobs were stored before it, and which messages were not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from outlast.core.codec import are_plain, check, check_args
from outlast.core.errors import ConfigurationError, InvalidArguments, OutlastError
from outlast.core.message import Message
from outlast.core.text import counted, shown
from outlast.enqueue.handle import Handle

__all__ = ["send_all"]

BATCH: Final = 1000
"""Messages that are sent in one step."""


async def send_all(
    messages: Iterable[Message],
    send: Callable[[Sequence[Message]], Awaitable[list[Handle[Any]]]],
    latest: Sequence[Message | None],
) -> list[Handle[Any]]:
    """Send the messages, BATCH in one step; return their handles in order.

    Messages are checked, except those that come directly from a composer: `latest` has the one that was made last. Any
    error, of the iterable too, and a cancellation, gets the attributes `stored` and `unstored` (see OutlastError), and
    a note that counts them, once a message was taken.
    """
    try:
        rest: Iterator[Message] = iter(messages)
    except TypeError:
        raise InvalidArguments(
            f"enqueue_many: {shown(messages)} is not an iterable of messages: give job.message(...) for each job, and "
            "collect an async iterable in a list"
        ) from None
    handles: list[Handle[Any]] = []
    batch: list[Any] = []
    try:
        while True:
            batch, unchecked = [], []
            for each in rest:
                batch.append(each)
                if each is not latest[0]:
                    unchecked.append(each)
                if len(batch) == BATCH:
                    break
            if not batch:
                return handles
            if unchecked and not are_plain(unchecked):
                for each in unchecked:
                    _check(each, len(handles), batch)
            handles += await send(batch)
    except BaseException as error:
        _tell(error, handles, batch)
        raise


def _check(message: Message, before: int, batch: list[Message]) -> None:
    """Raise unless this is a message that the wire format carries; remove it from the batch then."""
    try:
        if not isinstance(message, Message):
            raise InvalidArguments(f"{shown(message)} is not a message: give job.message(...)")
        check(message)
        check_args(message)
    except (ConfigurationError, InvalidArguments) as error:
        index = next(index for index, each in enumerate(batch) if each is message)
        del batch[index]
        raise type(error)(f"enqueue_many: message {before + index}: {error}") from None


def _tell(error: BaseException, handles: Sequence[Handle[Any]], batch: Sequence[Any]) -> None:
    stored = tuple(handle.id for handle in handles)
    unstored = tuple(each for each in batch if isinstance(each, Message))
    if isinstance(error, OutlastError) and (error.stored or error.unstored):  # of its own batch
        stored, unstored = stored + error.stored, error.unstored
    if stored or unstored:
        vars(error).update(stored=stored, unstored=unstored)
        error.add_note(
            f"enqueue_many: {counted(len(stored), 'job')} stored (error.stored has the ids), {len(unstored):,} more "
            "taken from the iterable and not stored, or not known to be (error.unstored has the messages): to go on, "
            "send these again and then the rest of the iterable"
        )
