"""Messages on their way in, and what the server answers about each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from outlast.brokers.redis.codec import pack
from outlast.brokers.redis.link import Argument
from outlast.brokers.redis.place import Place
from outlast.brokers.redis.scripts import script
from outlast.core.message import Message
from outlast.core.settlement import ACCEPTED, Accepted, Bound, Exists, Full, Published, TooLarge

__all__ = ["answer_of", "publish"]

_PUBLISH: Final = script("base", "publish_plain", "retain", "jobs", "moves", "admit", "publish")
MOST: Final = 1000
"""Messages of one call: it holds up the server for some milliseconds."""


async def publish(place: Place, messages: Sequence[Message], max_body: int) -> list[Published]:
    """Keep the messages, those of one call in one step; the answers align with the input."""
    if len(messages) > MOST:
        answers: list[Published] = []
        for start in range(0, len(messages), MOST):
            answers += await _publish(place, messages[start : start + MOST], max_body)
        return answers
    return await _publish(place, messages, max_body)


async def _publish(place: Place, messages: Sequence[Message], max_body: int) -> list[Published]:
    answers: list[Published] = [ACCEPTED] * len(messages)
    numbers: dict[str, int] = {}
    args: list[Argument] = [place.default_limits, 3]
    sent: list[int] = []
    for index, message in enumerate(messages):
        if len(message.args) > max_body:
            answers[index] = TooLarge(len(message.args), max_body)
            continue
        queue = message.queue
        number = numbers.get(queue)
        if number is None:
            number = numbers[queue] = len(numbers) + 1
        args += (number, message.id[len(queue) + 1 :], pack(message))
        sent.append(index)
    if not sent:
        return answers
    if len(numbers) == 1:
        args[1] = 2
        del args[2::3]
    reply = await place.run(_PUBLISH, place.keys(numbers), *args, sure=True, again=True)
    for position in range(0, len(reply), 2):
        index = sent[reply[position]]
        answers[index] = answer_of(messages[index].queue, reply[position + 1])
    return answers


def answer_of(queue: str, answer: list[Any]) -> Published:
    """Return what lua/admit.lua says about one message that was not simply accepted."""
    match answer[0]:
        case b"exists":
            return Exists(f"{queue}.{answer[2].decode()}", "id" if answer[1] == b"id" else "unique")
        case b"full":
            return Full(float(answer[2]), cast("Bound", answer[1].decode()))
        case b"large":
            return TooLarge(answer[1], answer[2], answer[3].decode())
    shed = tuple(f"{queue}.{sid.decode()}" for sid in answer[2:])
    return Accepted(f"{queue}.{answer[1].decode()}" if answer[1] else None, shed)
